"""What is there and cannot be read is not gone: nothing is decided, and a person is called."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from operators.api.packages import MachinePackageVersion
from operators.api.pools import MachinePool
from operators.cluster_operator.cluster import kinds as cluster_kinds
from operators.cluster_operator.rollout import kinds
from operators.cluster_operator.rollout.controller import RolloutController
from operators.cluster_operator.rollout.journal import Journal
from operators.cluster_operator.rollout.measuring import Measurer
from operators.cluster_operator.rollout.observe import Observer, Seen
from operators.cluster_operator.rollout.pools_look import PoolGround, pool_ground
from operators.cluster_operator.rollout.probing import ProbeBook
from operators.cluster_operator.rollout.staging_pools import PoolStager
from operators.domain.rollout.forecast import Catalogue
from operators.domain.rollout.plan import Candidate, FrozenPlan, PlannedStage
from operators.domain.rollout.pools import PoolSeen
from operators.domain.rollout.story import Event, Outcome, Record, Story
from operators.errors import ErrorCode, KokError
from operators.ports.kube import Key, Kind, Manifest, Ref
from operators.ports.metrics import NoMetrics
from tests.unit.operators.domain.rollout.builders import OLD, frozen, rollout

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
METADATA: dict[str, Any] = {"name": "c0", "namespace": "prod", "labels": {"env": "prod"}}
GOOD: Manifest = {"kind": "Cluster", "metadata": METADATA, "spec": {"packageVersion": OLD, "endpoint": {"host": "c0.example.com"}}}
SPOILT: Manifest = {**GOOD, "spec": {**GOOD["spec"], "packageVersion": 7}}
RELEASE: Manifest = {"kind": "ClusterRelease", "metadata": METADATA, "spec": {"current": {"by": "nobody"}}}


class Cache:
    """What the operator knows: one rollout, and a Cluster or none."""

    def __init__(self, cluster: Manifest | None, release: Manifest | None = None) -> None:
        self.cluster, self.release = cluster, release

    def get(self, ref: Ref) -> Manifest | None:
        return rollout().manifest() if ref.kind == kinds.ROLLOUT.kind else self.release

    def list(self, kind: Kind) -> list[Manifest]:
        return [self.cluster] if kind == cluster_kinds.CLUSTER and self.cluster else []


class Nothing:
    """An API server that does not answer: nobody new is started then, which is not what is looked at here."""

    async def get(self, *_: object, **__: object) -> Any:
        raise KokError(ErrorCode.Unreachable, "no answer")

    list = get


async def observed(cache: Cache, *records: Record) -> Seen:
    plan = frozen(rollout())

    async def read(made: object) -> Journal:
        return Journal(plan, records)

    async def bad_marks() -> tuple[()]:
        return ()

    world: Any = SimpleNamespace(meta=Nothing(), cache=cache, own_namespace="kok-system", now=lambda: NOW)
    journals: Any = SimpleNamespace(read=read, bad_marks=bad_marks)
    seen = await Observer(
        world, journals, ProbeBook(world.now, lambda key: None), Measurer(NoMetrics(), every=0.0), PoolStager(world)
    ).observe(Key("rollout", "", "train"))
    assert seen
    return seen


@pytest.mark.parametrize("cache", [Cache(SPOILT), Cache(GOOD, RELEASE)], ids=["the Cluster", "its release"])
async def test_should_decide_nothing_and_call_a_person_when_a_member_cannot_be_read(cache: Cache) -> None:
    seen = await observed(cache)
    assert seen.view is None
    world: Any = SimpleNamespace(meta=Nothing(), own_namespace="kok-system", now=lambda: NOW)
    shows = RolloutController(world, ProbeBook(world.now, lambda key: None), Measurer(NoMetrics(), every=0.0))
    write = shows.status_of(seen, shows.next_step(seen), None)
    assert write
    stalled = next(each for each in write.wanted["conditions"] if each["type"] == "Stalled")
    assert (stalled["status"], "member prod/c0 is there, but cannot be read" in stalled["message"]) == ("True", True)


async def test_should_go_on_without_a_member_that_is_gone() -> None:
    seen = await observed(Cache(None))
    assert seen.view, seen.broken
    assert "prod/c0" not in seen.view.members


async def test_should_not_call_anybody_about_a_rollout_that_has_ended() -> None:
    seen = await observed(Cache(SPOILT), Record(Event.Ended, NOW, outcome=Outcome.Good))
    assert seen.view, seen.broken


async def test_should_ask_of_late_pools_whether_they_can_go() -> None:
    """The observer's own question; what the answer is made of stands in the domain's tests."""
    pool: dict[str, Any] = {"kind": "MachinePool", "metadata": {**METADATA, "name": "late"}}
    spec = {"clusterName": "c0", "hosts": [{"name": "m1", "address": "10.0.0.1"}], "packages": {"explicit": ["kubelet-1"]}}
    package = {"kind": "MachinePackageVersion", "metadata": {"name": "kubelet-2"}, "spec": {"component": "kubelet", "version": "2"}}
    old = {"kind": "MachinePackageVersion", "metadata": {"name": "kubelet-1"}, "spec": {"component": "kubelet", "version": "1"}}
    machines = {each["metadata"]["name"]: MachinePackageVersion.parse(each) for each in (package, old)}  # type: ignore[index]
    change = {"machinePackageVersion": "kubelet-2"}
    made = rollout({"name": "rest", "rest": True}, change=change)
    plan = FrozenPlan("kubelet-2", (PlannedStage("rest", ()),), {})
    world: Any = SimpleNamespace(meta=Nothing(), cache=Cache(None), own_namespace="kok-system", now=lambda: NOW)
    probes, measurer = ProbeBook(world.now, lambda key: None), Measurer(NoMetrics(), every=0.0)
    observer = Observer(world, SimpleNamespace(), probes, measurer, PoolStager(world))  # type: ignore[arg-type]
    for effect, late in (("Drain", ("prod/late",)), ("Restart", ())):
        wish = {**spec, "update": {"maxEffect": effect}}
        known = PoolSeen(MachinePool.parse({**pool, "spec": wish}), None, "prod/c0", None, None)
        ground = PoolGround({"prod/late": known}, "kubelet", Catalogue({}, machines), {})
        candidate = Candidate("prod/late", "kubelet-1", {"env": "prod"}, "", "prod/c0")
        seen = Seen(made, {}, (candidate,), NOW, ground=ground)
        assert tuple(each.key for each in await observer._late(seen, plan, Story())) == late


async def test_should_tell_a_pool_that_cannot_be_read_from_one_that_is_gone() -> None:
    hosts = [{"name": "m1", "address": "10.0.0.1"}]
    spec: dict[str, Any] = {"clusterName": "demo", "hosts": hosts, "packages": {"explicit": []}}
    good = {"kind": "MachinePool", "metadata": {"name": "good", "namespace": "prod"}, "spec": spec}
    MachinePool.parse(good)
    spoilt = {**good, "metadata": {"name": "spoilt", "namespace": "prod"}, "spec": {**spec, "hosts": 7}}

    async def none(*_: object, **__: object) -> Any:
        return SimpleNamespace(items=[])

    world: Any = SimpleNamespace(meta=SimpleNamespace(list=none), cache=SimpleNamespace(list=lambda kind: [good, spoilt]))
    ground = await pool_ground(world, "kubelet-2", {})
    assert (set(ground.pools), set(ground.unreadable)) == ({"prod/good"}, {"prod/spoilt"})
