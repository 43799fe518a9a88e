"""Vital signs read from a real API server, and rollouts that are judged by them where nobody has a Prometheus."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest

from operators.adapters.kube import KubeClient
from operators.cluster_operator.cluster import kinds as cluster_kinds
from operators.cluster_operator.rollout.gauging import vitals_from
from operators.domain.rollout.verdict import Counts
from operators.domain.rollout.vitals import Vitals
from operators.ports.kube import Key, Preconditions, Ref, Subresource
from tests.integration.rollout.fleet import NEW, OLD, Fleet, RolloutOperator

SCHEDULER_FAILED = {"status": {"conditions": [{"type": "PodScheduled", "status": "False", "reason": "SchedulerError"}]}}
pytestmark = pytest.mark.usefixtures("crds")


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are read at every look."""
    monkeypatch.setattr("operators.cluster_operator.rollout.probing.GAUGE_EVERY", timedelta())


async def test_should_read_a_real_api_server(kube: KubeClient) -> None:
    world: Any = SimpleNamespace(now=lambda: datetime.now(UTC))
    node = f"n-{uuid4().hex[:8]}"
    await kube.create({"apiVersion": "v1", "kind": "Node", "metadata": {"name": node}})
    before = await vitals_from(kube, world)
    assert (before.problem, before.is_denied) == ("", False)
    for _ in range(20):
        await kube.read_path("/api/v1/namespaces/default/pods")
    pod = {"metadata": {"name": node, "namespace": "default"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    made = await kube.create({"apiVersion": "v1", "kind": "Pod", **pod})
    await kube.patch_json(Ref.of(made), SCHEDULER_FAILED, subresource=Subresource.Status)
    after = await vitals_from(kube, world)
    assert after.stuck == before.stuck + 1
    await kube.delete(Ref.of(made), preconditions=Preconditions(grace_seconds=0))
    assert (await vitals_from(kube, world)).stuck == before.stuck
    assert after.server == before.server
    assert after.answers.total >= before.answers.total + 20
    assert 0 < after.answers.good <= after.answers.total
    assert after.nodes.total >= 1
    assert after.nodes.good < after.nodes.total, "a node of which no kubelet ever said anything is not ready"
    await kube.delete(cluster_kinds.Kind("v1", "Node").ref(node))


@dataclass
class Planes:
    """What planes say: a hundred requests between two looks, of which some fail, by version."""

    fleet: Fleet
    kube: KubeClient
    errors: dict[str, int] = field(default_factory=dict)
    silent: set[str] = field(default_factory=set)
    counts: dict[str, Counts] = field(default_factory=dict)

    async def read(self, key: Key) -> Vitals:
        cluster, now = f"{key.namespace}/{key.name}", datetime.now(UTC)
        found = await self.kube.get(cluster_kinds.RELEASE.ref(key.name, key.namespace))
        version = found["spec"]["current"]["packageVersion"] if found and cluster in self.fleet.clusters else ""
        if version in self.silent:
            return Vitals(now, problem="the connection was refused")
        total = self.counts.get(cluster, Counts(1000, 1000)) + Counts(100 - self.errors.get(version, 0), 100)
        self.counts[cluster] = total
        return Vitals(now, version, total, Counts(total.total // 10, total.total // 10), Counts(3, 3))


async def begun(kube: KubeClient) -> tuple[Planes, RolloutOperator, str]:
    fleet, name = await Fleet.of(kube, 2), f"train-{uuid4().hex[:8]}"
    await fleet.planes_follow()
    planes = Planes(fleet, kube)
    stages: list[dict[str, Any]] = [
        {"name": "canary", "clusters": [fleet.clusters[0]], "soakSeconds": 5},
        {"name": "rest", "rest": True, "soakSeconds": 2},
    ]
    await kube.create(fleet.manifest(name, *stages))
    return planes, RolloutOperator(fleet, gauge=planes.read), name


async def test_should_take_back_a_version_whose_api_server_makes_errors_though_it_makes_pods(kube: KubeClient, often: None) -> None:
    planes, operator, name = await begun(kube)
    planes.errors[NEW] = 40
    shown = await operator.until(name, "Bad")
    assert re.search(
        r"API server answers 100\.00% -> \d\d\.\d\d% \(.*\), n=\d+: -\d+\.\d\d% against the control .* more than 5\.00% worse",
        shown["message"],
    )
    assert await planes.fleet.touched() == [planes.fleet.clusters[0]]
    assert set((await planes.fleet.versions()).values()) == {OLD}


@pytest.mark.slow  # a control
async def test_should_end_good_with_the_numbers_of_every_sign(kube: KubeClient, often: None) -> None:
    """The control: the same planes, without errors."""
    _, operator, name = await begun(kube)
    shown = await operator.until(name, "Good")
    for words in ("pod creation 100.00%", "API server answers 100.00%", "pod bindings 100.00%", "nodes ready 100.00%"):
        assert words in shown["stages"][0]["message"]


async def test_should_hold_when_a_changed_plane_says_nothing_any_more(
    kube: KubeClient, often: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("operators.domain.rollout.vitals.STALE", timedelta(seconds=2))
    planes, operator, name = await begun(kube)
    await operator.until(name, "Soaking")
    planes.silent.add(NEW)
    shown = await operator.until(name, "Holding")
    assert "API server answers: no data (" in shown["message"]
    assert "the connection was refused" in shown["message"]
    assert await planes.fleet.touched() == [planes.fleet.clusters[0]], "neither on nor back"
    planes.silent.clear()
    await operator.until(name, "Good")
