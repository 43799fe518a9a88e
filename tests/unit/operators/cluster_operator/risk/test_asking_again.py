"""Whoever asks again for an act finds its newest attempt by name: quick, and right also when somebody else went on with it, or took it away."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from operators.adapters import grants_kube
from operators.adapters.grants_kube import GRANTS, KubeGrants
from operators.api.risk import Operation, Target
from operators.ports.grants import Grant, GrantRequest, Waiting
from operators.ports.kube import Kind, Listing
from tests.unit.operators.cluster_operator.risk.memory_kube import MemoryKube
from tests.unit.operators.domain.risk.builders import NOON

LATER = NOON + timedelta(seconds=60)


class CountingKube(MemoryKube):
    """Says how often it was asked for lists, which are slow."""

    lists = 0

    async def list(self, kind: Kind, **rest: Any) -> Listing:
        self.lists += 1
        return await super().list(kind, **rest)

    def answer(self, name: str, decision: str) -> None:
        """As the risk centre does."""
        found = self.objects[GRANTS.ref(name, "demo")]
        status = {"decision": decision, "message": "as the test says", "decidedAt": stamp(NOON), "retryAfterSeconds": 5}
        self.put({**found, "status": status | {"expiresAt": stamp(NOON + timedelta(hours=1))}})

    def names(self) -> list[str]:
        return sorted(ref.name for ref in self.objects)


def stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def request(host: str = "a") -> GrantRequest:
    target = Target(kind="Machine", name=host, cluster="demo", pool="workers")
    return GrantRequest("demo", Operation.Drain, target, f"uid-{host}", "machine-operator/demo", "update", "drain", 0, "test")


def grants(kube: MemoryKube, now: datetime = NOON) -> KubeGrants:
    return KubeGrants(kube, now=lambda: now)  # type: ignore[arg-type]


async def test_should_list_once_however_often_it_asks() -> None:
    kube = CountingKube()
    ours = grants(kube)
    for _ in range(3):
        assert isinstance(await ours.ask(request()), Waiting)
    (name,) = kube.names()
    kube.answer(name, "Granted")
    assert isinstance(await ours.ask(request()), Grant)
    assert (kube.lists, kube.names()) == (1, [name])


async def test_should_find_the_attempt_that_another_process_made_meanwhile() -> None:
    kube = CountingKube()
    ours, heir = grants(kube, LATER), grants(kube, LATER)
    await ours.ask(request())
    (first,) = kube.names()
    kube.answer(first, "Denied")
    await heir.ask(request())
    first, second = kube.names()
    kube.answer(second, "Granted")
    answer = await ours.ask(request())
    assert isinstance(answer, Grant)
    assert (answer.op_id, kube.names()) == (second, [first, second]), "found, not made once more"


async def test_should_look_for_all_attempts_again_when_the_one_it_knew_is_gone() -> None:
    kube = CountingKube()
    ours, heir = grants(kube, LATER), grants(kube, LATER)
    await ours.ask(request())
    (first,) = kube.names()
    kube.answer(first, "Denied")
    await heir.ask(request())
    del kube.objects[GRANTS.ref(first, "demo")]
    (second,) = kube.names()
    kube.answer(second, "Granted")
    answer = await ours.ask(request())
    assert isinstance(answer, Grant)
    assert (answer.op_id, kube.lists) == (second, 3)


async def test_should_remember_no_more_than_it_has_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grants_kube, "KNOWN_ACTS", 2)
    kube = CountingKube()
    ours = grants(kube)
    for host in ("a", "b", "c", "c", "b", "a"):
        await ours.ask(request(host))
    assert (kube.lists, len(kube.names())) == (4, 3)
