"""Waiting says what it waits for, but not a line for every change."""

from __future__ import annotations

from typing import Any

import pytest

from meta_cluster.bootstrap.install import Installer, progress_line
from operators.errors import ErrorCode, KokError
from operators.ports.kube import Kind, Listing, Ref

REF = Ref("apps/v1", "Deployment", "kok-system", "x")


def changing(times: int) -> Any:
    """Something that gives another reason each time it is asked, and none after `times`."""
    asked = 0

    async def reason(ref: Ref) -> str:
        nonlocal asked
        asked += 1
        return f"reason {asked}" if asked <= times else ""

    return reason


async def test_should_tell_the_first_reason_and_then_keep_quiet() -> None:
    lines: list[str] = []
    installer = Installer(None, lines.append, poll=0.0, quiet=60.0)  # type: ignore[arg-type]
    await installer._wait(changing(5), [REF], "x")
    assert lines == ["waiting for x (usual at first): reason 1"]


async def test_should_rewrite_every_reason_on_a_terminal() -> None:
    lines: list[str] = []
    rewritten: list[str] = []
    installer = Installer(None, lines.append, poll=0.0, rewrite=rewritten.append)  # type: ignore[arg-type]
    await installer._wait(changing(3), [REF], "x")
    assert lines == []
    assert rewritten == [f"waiting for x (usual at first): reason {number}" for number in (1, 2, 3)]


async def test_should_end_with_the_reason_when_patience_ends() -> None:
    installer = Installer(None, lambda line: None, poll=0.0, patience=0.0)  # type: ignore[arg-type]
    with pytest.raises(KokError, match="reason") as failure:
        await installer._wait(changing(10**6), [REF], "x")
    assert failure.value.code is ErrorCode.Timeout


class Cluster:
    """Answers what the installer asks of a Deployment whose only pod has no volume yet."""

    said = "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims. not found"

    async def get(self, ref: Ref) -> dict[str, Any]:
        return {
            "metadata": {},
            "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "x"}}},
            "status": {"updatedReplicas": 1, "replicas": 1},
        }

    async def list(self, kind: Kind, **_: Any) -> Listing:
        condition = {"type": "PodScheduled", "status": "False", "message": self.said}
        pod = {"metadata": {"name": "x-1"}, "status": {"conditions": [condition]}}
        event = {"metadata": {}, "involvedObject": {"name": "x-1"}, "type": "Warning", "reason": "FailedScheduling", "message": self.said}
        return Listing((pod,) if kind.kind == "Pod" else (event,), "1")


async def test_should_say_once_why_a_pod_is_not_ready_and_in_one_line() -> None:
    installer = Installer(Cluster(), lambda line: None)  # type: ignore[arg-type]
    reason = await installer._not_ready(REF)
    assert reason.startswith("x: pod x-1 cannot be scheduled: 0/1 nodes")
    assert reason.count("PersistentVolumeClaims") == 1
    assert len(progress_line("operators to be ready", reason)) <= 100
