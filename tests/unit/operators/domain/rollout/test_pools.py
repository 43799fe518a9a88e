"""Pools as members of a rollout of a machine package: who is taken, what holds them, when they are healthy, what is refused."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from operators.api.cluster_release import ClusterRelease
from operators.api.packages import MachinePackageVersion
from operators.api.pools import MachinePool, MachinePoolRelease
from operators.api.rollout import FleetRollout
from operators.domain.rollout.forecast import Catalogue
from operators.domain.rollout.plan import FrozenPlan, PlannedMember, Refused, freeze
from operators.domain.rollout.pools import PoolSeen, can_go, candidate_of, facts_of, forecast, wished_of
from operators.domain.rollout.state import StageWork
from operators.domain.rollout.story import Event, Record, Story
from operators.domain.rollout.view import Hold, MemberFacts, RolloutView, Self
from operators.domain.rollout.windows import WindowState
from tests.unit.operators.domain.rollout.builders import PASS, START
from tests.unit.operators.domain.rollout.world import BASELINE

OLD, NEW, BASE = "kubelet-1", "kubelet-2", "containerd-1"
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def package(name: str, component: str, **spec: Any) -> MachinePackageVersion:
    fields = {"component": component, "version": name.rpartition("-")[2], **spec}
    return MachinePackageVersion.parse({"kind": "MachinePackageVersion", "metadata": {"name": name}, "spec": fields})


CATALOGUE = Catalogue(
    {},
    {
        BASE: package(BASE, "containerd"),
        OLD: package(OLD, "kubelet"),
        NEW: package(NEW, "kubelet", effect={"version": "Drain"}),
    },
)


def pool(name: str = "workers", *, ready: str = "True", stalled: str = "", message: str = "", **spec: Any) -> MachinePool:
    hosts = [{"name": "m1", "address": "10.0.0.1"}, {"name": "m2", "address": "10.0.0.2"}]
    wish = {"clusterName": "demo", "hosts": hosts, "packages": {"explicit": [BASE, OLD]}} | spec
    since = "2026-03-01T11:00:00Z"
    conditions = [{"type": "Ready", "status": ready, "reason": "Open", "message": message, "lastTransitionTime": since}]
    if stalled:
        conditions.append({"type": "Stalled", "status": "True", "reason": stalled, "message": message, "lastTransitionTime": since})
    metadata = {"name": name, "namespace": "prod", "generation": 1, "labels": {"tier": "web"}}
    status = {"observedGeneration": 1, "message": message, "conditions": conditions}
    return MachinePool.parse({"kind": "MachinePool", "metadata": metadata, "spec": wish, "status": status})


def release(kubelet: str = OLD, opened: bool = True, **order: Any) -> MachinePoolRelease:
    hosts = [
        {
            "name": name,
            "packages": [BASE, kubelet],
            "at": "2026-03-01T10:00:00Z",
            **({"openedAt": "2026-03-01T10:30:00Z"} if opened else {}),
        }
        for name in ("m1", "m2")
    ]
    base = {"component": "kubelet", "package": NEW, "insteadOf": OLD, "by": "Rollout", "rollout": "train", "at": "2026-03-01T10:10:00Z"}
    orders = [base | order] if order else []
    metadata = {"name": "workers", "namespace": "prod"}
    return MachinePoolRelease.parse({"kind": "MachinePoolRelease", "metadata": metadata, "spec": {"hosts": hosts, "orders": orders}})


def seen(made: MachinePool | None = None, stored: MachinePoolRelease | None = None) -> PoolSeen:
    return PoolSeen(made or pool(), stored or release(), "prod/demo", None, None)


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (pool(), ""),
        (pool(packages={"explicit": [BASE]}), "no package of component kubelet"),
        (pool(update={"paused": True}), "paused"),
        (pool(update={"partition": 1}), "partition"),
        (pool(hosts=[]), "no hosts"),
        (pool(ready="False", message="m2: unreachable"), "m2: unreachable"),
        (pool(packages={"explicit": [BASE, "kubelet-9"]}), "kubelet-9 is not in the meta cluster"),
    ],
    ids=["well", "without it", "paused", "held back", "empty", "sick", "wrong"],
)
def test_should_take_only_pools_that_can_be_changed(made: MachinePool, words: str) -> None:
    found = candidate_of(seen(made), "kubelet", CATALOGUE)
    assert words in found.trouble
    assert bool(words) == bool(found.trouble)
    assert found.cluster == "prod/demo"


@pytest.mark.parametrize(
    ("stored", "hold", "version", "healthy"),
    [
        (release(), Hold.Free, OLD, True),
        (release(NEW, by="Rollout"), Hold.Forward, NEW, True),
        (release(NEW, opened=False, by="Rollout"), Hold.Forward, NEW, False),
        (release(OLD, by="Rollout"), Hold.Forward, NEW, False),
        (release(OLD, by="Undo", package=OLD), Hold.Back, OLD, True),
        (release(NEW, rollout="autumn"), Hold.Rival, NEW, True),
        (release(NEW, rollout="ended"), Hold.Free, NEW, True),
        (release(NEW, by="Rollout", rolloutUID="u1"), Hold.Forward, NEW, True),
        (release(NEW, by="Rollout", rolloutUID="u0"), Hold.Free, NEW, True),
        (release(OLD, insteadOf="kubelet-0"), Hold.Free, OLD, True),
    ],
    ids=[
        "untouched",
        "there",
        "not in service yet",
        "ordered",
        "back",
        "another's",
        "an ended one's",
        "its own",
        "a namesake's",
        "a person wished another since",
    ],
)
def test_should_see_where_a_member_stands(stored: MachinePoolRelease, hold: Hold, version: str, healthy: bool) -> None:
    facts = facts_of(Self("train", "u1"), seen(stored=stored), "kubelet", CATALOGUE, {"autumn"})
    assert (facts.hold, facts.version, facts.healthy) == (hold, version, healthy)


def test_should_fail_at_once_when_the_pool_gave_up_and_not_wait_for_the_deadline() -> None:
    made = pool(ready="False", stalled="UpdateStopped", message="1 hosts wait: m1 failed with these packages: exit 1")
    facts = facts_of(Self("train", "u1"), seen(made, release(OLD, by="Rollout")), "kubelet", CATALOGUE, ())
    assert "m1 failed" in facts.gave_up
    assert phase_of(facts) == "Failed"
    assert phase_of(replace(facts, gave_up="")) == "InHand", "the control: without it the deadline counts"


def phase_of(facts: MemberFacts) -> str:
    made = rollout()
    plan = freeze(made, [candidate_of(seen(), "kubelet", CATALOGUE)])
    assert isinstance(plan, FrozenPlan), plan
    started = (Record(Event.StageStarted, START, "all"),)
    view = RolloutView(made.spec, plan, started, {"prod/workers": facts}, PASS, WindowState(True), facts.since, facts.since, BASELINE)
    return StageWork(view, Story(), plan.stages[0], made.spec.stages[0]).phases["prod/workers"].value


def rollout(**spec: Any) -> FleetRollout:
    fields = {"change": {"machinePackageVersion": NEW}, "selector": {"pools": ["prod/workers"]}, "stages": [{"name": "all", "rest": True}]}
    return FleetRollout.parse({"kind": "FleetRollout", "metadata": {"name": "train", "uid": "u1"}, "spec": fields | spec})


@pytest.mark.parametrize(
    ("selector", "matches"),
    [
        ({"pools": ["prod/workers"]}, True),
        ({"pools": ["prod/others"]}, False),
        ({"clusters": ["prod/demo"]}, True),
        ({"clusters": ["test/demo"]}, False),
        ({"matchLabels": {"tier": "web"}}, True),
        ({"matchLabels": {"tier": "web"}, "clusters": ["test/demo"]}, False),
    ],
)
def test_should_select_pools_by_name_by_cluster_and_by_label(selector: dict[str, Any], matches: bool) -> None:
    plan = freeze(rollout(selector=selector), [candidate_of(seen(), "kubelet", CATALOGUE)])
    assert isinstance(plan, Refused) != matches
    if isinstance(plan, FrozenPlan):
        assert [(member.key, member.origin) for member in plan.members] == [("prod/workers", OLD)]


def test_should_foresee_the_effect_and_the_leave_and_refuse_what_the_pool_forbids() -> None:
    found = forecast(seen(), CATALOGUE.machines[NEW], CATALOGUE)
    assert found.words == "2 machines: kubelet-1 -> kubelet-2 (drain first)"
    assert {operation.value: count for operation, count in found.needs.items()} == {"ApplyPackage": 2}
    assert not found.refused
    forbidden = forecast(seen(pool(update={"maxEffect": "Restart"})), CATALOGUE.machines[NEW], CATALOGUE)
    assert "update.maxEffect allows Restart" in forbidden.refused


def test_should_take_no_pool_that_came_later_if_it_would_have_been_refused() -> None:
    late = [PlannedMember(f"prod/{name}", OLD) for name in ("workers", "strict", "gone")]
    pools = {"prod/workers": seen(), "prod/strict": seen(pool("strict", update={"maxEffect": "Restart"}))}
    assert [each.key for each in can_go(late, NEW, pools, CATALOGUE)] == ["prod/workers"]
    assert can_go(late, NEW, pools, Catalogue({}, {})) == ()


def test_should_follow_the_cluster_where_the_pool_does() -> None:
    plane = {"kind": "ClusterRelease", "metadata": {"name": "demo", "namespace": "prod"}}
    current = {"packageVersion": "k8s-1", "by": "Spec", "at": "2026-03-01T10:00:00Z"}
    following = PoolSeen(
        pool(packages={"follow": "Cluster"}), release(), "prod/demo", ClusterRelease.parse({**plane, "spec": {"current": current}}), None
    )
    wished = wished_of(following, "kubelet", CATALOGUE)
    assert (wished.wish, "ClusterPackageVersion k8s-1 is not in the meta cluster" in wished.problem) == ("", True)


@pytest.mark.parametrize(
    ("made", "component", "catalogue", "words"),
    [
        (pool(packages={"explicit": [BASE, "kubelet-9"]}), "kubelet", CATALOGUE, "kubelet-9 is not in the meta cluster"),
        (pool(packages={"follow": "Cluster"}), "kubelet", CATALOGUE, "the ClusterRelease of prod/demo is not in the meta cluster"),
        (pool(), "kubelet", Catalogue({}, {}), "is not in the meta cluster"),
        (pool(), "", CATALOGUE, "its component is not known"),
        (pool(), "kubelet", Catalogue({}, {BASE: CATALOGUE.machines[BASE], OLD: CATALOGUE.machines[OLD]}), "kubelet-2, which was ordered"),
    ],
    ids=[
        "a wished package is gone",
        "the cluster's release is gone",
        "all packages are gone",
        "the rollout's package is gone",
        "the ordered package is gone",
    ],
)
@pytest.mark.parametrize(("by", "hold"), [("Rollout", Hold.Forward), ("Undo", Hold.Back)])
def test_should_take_nothing_for_taken_back_while_data_is_missing(
    made: MachinePool, component: str, catalogue: Catalogue, words: str, by: str, hold: Hold
) -> None:
    facts = facts_of(Self("train", "u1"), seen(made, release(NEW, by=by)), component, catalogue, ())
    assert (facts.hold, facts.version, facts.healthy) == (hold, NEW, False)
    assert words in facts.trouble
