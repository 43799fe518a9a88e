"""A rollout that waits writes next to nothing, however often it looks and however much the numbers move."""

from __future__ import annotations

from uuid import uuid4

import pytest

from operators.adapters.kube import KubeClient
from operators.cluster_operator.rollout import kinds
from tests.integration.kube_proxies import RecordingKube
from tests.integration.rollout.fleet import Fleet, RolloutOperator

pytestmark = pytest.mark.usefixtures("crds")
PASSES = 30
AT_MOST = 3
"""Writes of status in that time (numbers are due twice a minute), and as many events."""


async def quiet(kube: KubeClient, fleet: Fleet, name: str, *, ahead: float = 0.0) -> tuple[int, int]:
    """Statuses and events that PASSES looks of a process write, with ten samples of each cluster between two looks."""
    record = RecordingKube(kube)
    operator = RolloutOperator(fleet, record)
    operator.ahead(ahead)
    for _ in range(2):
        await operator.one_round(name)  # with nothing in its memory it has no samples yet, and says so
    record.writes.clear()
    for _ in range(PASSES):
        await operator.one_round(name)
    statuses = [each for each in record.writes if each.verb == "patch_status" and each.ref.name == name]
    return len(statuses), len([each for each in record.writes if each.ref.kind == "Event"])


async def phase(kube: KubeClient, name: str) -> str:
    found = await kube.get(kinds.ROLLOUT.ref(name))
    assert found
    return str(found["status"]["phase"])


async def test_should_write_next_to_nothing_while_it_soaks_and_while_it_holds(kube: KubeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    fleet, name = await Fleet.of(kube, 2), f"train-{uuid4().hex[:8]}"
    await fleet.planes_follow()
    canary = {"name": "canary", "clusters": [fleet.clusters[0]], "soakSeconds": 300}
    await kube.create(fleet.manifest(name, canary, {"name": "rest", "rest": True}))
    operator = RolloutOperator(fleet)
    await operator.until(name, "Soaking")
    statuses, events = await quiet(kube, fleet, name)
    assert max(statuses, events) <= AT_MOST, "while it soaks"
    fleet.all_fail = True
    operator.ahead(310)
    await operator.until(name, "Holding")
    statuses, events = await quiet(kube, fleet, name, ahead=310)
    assert max(statuses, events) <= AT_MOST, "while it holds"
    assert await phase(kube, name) == "Holding"
    monkeypatch.setattr("operators.domain.rollout.status.calm", lambda shown, wanted, now: wanted)
    assert (await quiet(kube, fleet, name, ahead=310))[0] > AT_MOST, "the control: the numbers do move"
