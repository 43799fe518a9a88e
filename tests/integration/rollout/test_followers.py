"""A Cluster is through with a change of planes when the hosts that follow it are, forward and back: nobody else is begun before, and no end is told."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from operators.adapters.kube import KubeClient
from operators.cluster_operator.cluster import kinds as cluster_kinds
from operators.cluster_operator.rollout import kinds
from operators.domain.rollout import followers
from operators.domain.rollout.view import MemberFacts
from tests.integration.rollout.fleet import OLD, PAUSE, Fleet, RolloutOperator, a_pool_that_follows

pytestmark = pytest.mark.usefixtures("crds")
BEFORE, NOW = "2026-01-01T00:00:00Z", "2040-01-01T00:00:00Z"
FOLLOWS = "pool workers brings it to its hosts"


async def begun(kube: KubeClient) -> tuple[Fleet, RolloutOperator, str, str]:
    """Two Clusters; the canary has a pool of one host that follows, and was well."""
    fleet, tag = await Fleet.of(kube, 2), f"s{uuid4().hex[:6]}"
    await fleet.planes_follow()
    version, name = await a_pool_that_follows(fleet, tag), f"train-{tag}"
    await pool_is(fleet, {"type": "Ready", "status": "True", "reason": "Open", "message": "", "lastTransitionTime": BEFORE})
    await kube.create(fleet.manifest(name, change={"clusterPackageVersion": version}))
    return fleet, RolloutOperator(fleet), name, tag


def place_of(fleet: Fleet) -> str:
    return fleet.clusters[0].partition("/")[0]


async def pool_is(fleet: Fleet, *conditions: dict[str, Any]) -> None:
    await fleet.kube.patch_status(cluster_kinds.POOL.ref("workers", place_of(fleet)), {"conditions": list(conditions)})


async def host_has(fleet: Fleet, packages: list[str], before: list[str], **fields: Any) -> None:
    """What its Machine-Operator would have written."""
    host = {"name": "m1", "packages": packages, "before": before, "at": NOW, **fields}
    await fleet.kube.patch_json(cluster_kinds.POOL_RELEASE.ref("workers", place_of(fleet)), {"spec": {"hosts": [host]}})


async def rounds(operator: RolloutOperator, name: str, count: int = 6) -> dict[str, Any]:
    for _ in range(count):
        await operator.fleet.planes_follow()
        await operator.one_round(name)
        await asyncio.sleep(PAUSE)
    return dict((await operator.fleet.kube.get(kinds.ROLLOUT.ref(name)) or {}).get("status") or {})


async def test_should_judge_a_canary_with_its_hosts_and_tell_no_end_before_they_are_back(kube: KubeClient) -> None:
    fleet, operator, name, tag = await begun(kube)
    await operator.until(name, "Changing")
    shown = await rounds(operator, name)
    assert shown["message"] == f"stage canary: in hand {fleet.clusters[0]} ({FOLLOWS})"
    await host_has(fleet, [f"tool-2-{tag}"], [f"tool-1-{tag}"])
    assert FOLLOWS in (await rounds(operator, name))["message"], "authorised is not in service"
    assert (await fleet.versions())[fleet.clusters[1]] == OLD, "nobody else was begun"
    assert FOLLOWS in (await rounds(RolloutOperator(fleet), name))["message"], "a new process sees the same"
    await host_has(fleet, [f"tool-2-{tag}"], [f"tool-1-{tag}"], openedAt=NOW)
    await operator.until(name, "Good")

    await kube.patch_json(kinds.ROLLOUT.ref(name), {"spec": {"order": "Undo"}})
    await operator.until(name, "GoingBack")
    shown = await rounds(operator, name, 12)
    assert shown["message"] == f"{fleet.clusters[0]} is back, its hosts are not: {FOLLOWS}"
    assert set((await fleet.versions()).values()) == {OLD}, "planes wait for no hosts"
    await host_has(fleet, [], [f"tool-2-{tag}"], openedAt=NOW)
    await operator.until(name, "Undone")


async def test_should_take_back_a_version_with_which_a_host_does_not_come_up(kube: KubeClient) -> None:
    fleet, operator, name, tag = await begun(kube)
    await operator.until(name, "Changing")
    await rounds(operator, name)
    await host_has(fleet, [f"tool-2-{tag}"], [f"tool-1-{tag}"])
    closed = {"type": "Ready", "status": "False", "reason": "Closed", "message": "m1: no space", "lastTransitionTime": NOW}
    await pool_is(fleet, closed, {**closed, "type": "Stalled", "status": "True", "reason": "UpdateStopped"})
    await operator.until(name, "GoingBack")
    assert "m1: no space" in (await rounds(operator, name))["message"]
    await host_has(fleet, [], [f"tool-2-{tag}"], openedAt=NOW)
    await operator.until(name, "Bad")
    assert await fleet.touched() == fleet.clusters[:1]


async def test_should_notice_a_rollout_that_looks_at_planes_alone(kube: KubeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control of the above."""

    def plane_alone(facts: MemberFacts, *_: object) -> MemberFacts:
        return facts

    monkeypatch.setattr("operators.cluster_operator.rollout.following.followed", plane_alone)
    assert followers.followed is not plane_alone
    _, operator, name, _ = await begun(kube)
    await operator.until(name, "Good")
