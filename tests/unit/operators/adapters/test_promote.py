"""Promoting twice: etcd asks whether a member is in sync before it asks whether it still is a learner."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest

from operators.adapters.etcd import NOT_A_LEARNER, NOT_IN_SYNC, HttpEtcd
from operators.errors import ErrorCode, KokError
from operators.ports.etcd import Member, MemberList


@pytest.mark.parametrize(
    ("words", "is_learner", "is_done"),
    [
        (NOT_A_LEARNER, False, True),
        (f"{NOT_A_LEARNER} {NOT_IN_SYNC}", True, False),
        (f"{NOT_A_LEARNER} {NOT_IN_SYNC}", False, True),
        ("member not found", False, False),
    ],
    ids=["promoted before", "a learner that lags", "promoted just now, and it lags", "gone"],
)
async def test_should_promote_once(words: str, is_learner: bool, is_done: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*_: Any) -> Any:
        raise KokError(ErrorCode.EtcdRefused, f"etcd member demo-etcd-0 refuses: etcdserver: {words}")

    async def members(_: Any) -> MemberList:
        return MemberList("c", (Member(id=7, name="demo-etcd-1", peer_url="https://x:2380", is_learner=is_learner),))

    monkeypatch.setattr(HttpEtcd, "_change", refuse)
    monkeypatch.setattr(HttpEtcd, "member_list", members)
    with nullcontext() if is_done else pytest.raises(KokError):
        await object.__new__(HttpEtcd).promote(7)
