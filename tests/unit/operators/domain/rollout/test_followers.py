"""A Cluster is through with a change of planes when the hosts that follow it are; nobody fails by time for that, and only its own doing is blamed."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from operators.api.cluster_release import ClusterRelease
from operators.api.packages import ClusterPackageVersion
from operators.api.pools import MachinePool, MachinePoolRelease
from operators.api.rollout import MemberPhase, Order
from operators.domain.rollout.followers import THROUGH, Follower, followed, follower_of
from operators.domain.rollout.forecast import Catalogue
from operators.domain.rollout.nodes import TRIES, NodeChange, NodeTries
from operators.domain.rollout.pools import PoolSeen
from operators.domain.rollout.state import StageWork, next_step
from operators.domain.rollout.story import Event, Outcome
from operators.domain.rollout.view import Hold, MemberFacts, Note, State, Wait
from tests.unit.operators.domain.rollout.builders import START, rollout
from tests.unit.operators.domain.rollout.test_pools import CATALOGUE as MACHINES
from tests.unit.operators.domain.rollout.test_pools import NEW as KUBELET_2
from tests.unit.operators.domain.rollout.test_pools import OLD as KUBELET_1
from tests.unit.operators.domain.rollout.world import World

BEFORE, AT, LATER = "2026-03-01T11:00:00Z", "2026-03-01T12:01:00Z", "2026-03-01T12:02:00Z"
FORWARD = MemberFacts(Hold.Forward, "v2", START, healthy=True)
BACK = replace(FORWARD, hold=Hold.Back)
WORDS = "pool workers brings it to its hosts"
IMAGE = {"image": "registry.kok.dev/x:1"}
V2 = ClusterPackageVersion.parse(
    {
        "kind": "ClusterPackageVersion",
        "metadata": {"name": "v2"},
        "spec": {
            "kubernetesVersion": "1.35.4",
            "planeRevision": "r1",
            "components": {
                **dict.fromkeys(("apiserver", "controllerManager", "scheduler", "machineOperator"), IMAGE),
                "etcd": {"version": "3.6.8", **IMAGE},
            },
            "addons": {"coredns": IMAGE, "kubeProxy": IMAGE, "cni": {"name": "flannel", **IMAGE}},
            "machinePackages": [KUBELET_2],
        },
    }
)
CATALOGUE = Catalogue({"v2": V2}, MACHINES.machines)


def pool(*conditions: tuple[str, str, str, str], deleting: bool = False, **spec: Any) -> MachinePool:
    """With conditions (type, status, reason, since); by default Ready, as before the change."""
    shown = [
        {"type": kind, "status": status, "reason": reason, "message": "m1: no space", "lastTransitionTime": since}
        for kind, status, reason, since in (conditions or [("Ready", "True", "Open", BEFORE)])
    ]
    hosts = [{"name": name, "address": f"10.0.0.{number}"} for number, name in enumerate(("m1", "m2"))]
    metadata = {"name": "workers", "namespace": "prod"} | ({"deletionTimestamp": AT} if deleting else {})
    wish = {"clusterName": "demo", "hosts": hosts, "packages": {"follow": "Cluster"}} | spec
    return MachinePool.parse({"kind": "MachinePool", "metadata": metadata, "spec": wish, "status": {"conditions": shown}})


OLD_HOST = {"packages": [KUBELET_1], "at": BEFORE, "openedAt": BEFORE}
IN_HAND = {"packages": [KUBELET_2], "before": [KUBELET_1], "at": AT}
DONE = IN_HAND | {"openedAt": LATER}
NEW_HOST = {"packages": [KUBELET_2], "at": AT}


def seen(made: MachinePool, *hosts: dict[str, Any], release: bool = True) -> PoolSeen:
    metadata = {"name": "workers", "namespace": "prod"}
    entries = [{"name": f"m{number}"} | host for number, host in enumerate(hosts, 1)]
    stored = MachinePoolRelease.parse({"kind": "MachinePoolRelease", "metadata": metadata, "spec": {"hosts": entries}}) if release else None
    current = {"packageVersion": "v2", "by": "Rollout", "name": "train", "at": "2026-03-01T12:00:00Z"}
    plane = ClusterRelease.parse(
        {"kind": "ClusterRelease", "metadata": {"name": "demo", "namespace": "prod"}, "spec": {"current": current}}
    )
    return PoolSeen(made, stored, "prod/demo", plane, None)


@pytest.mark.parametrize(
    ("found", "owes"),
    [
        (seen(pool(), DONE, DONE), ""),
        (seen(pool(), OLD_HOST, OLD_HOST), WORDS),
        (seen(pool(), DONE, OLD_HOST), WORDS),
        (seen(pool(), DONE, IN_HAND), WORDS),
        (seen(pool(("Ready", "False", "Closed", LATER)), DONE, DONE), ""),
        (seen(pool(), DONE, NEW_HOST), ""),
        (seen(pool(), release=False), ""),
        (seen(pool(), OLD_HOST, OLD_HOST, OLD_HOST), WORDS),
        (seen(pool(), DONE, DONE, OLD_HOST), ""),
        (seen(pool(packages={"explicit": [KUBELET_1]}), OLD_HOST), ""),
        (seen(pool(update={"paused": True}), OLD_HOST), ""),
        (seen(pool(update={"partition": 1}), OLD_HOST), ""),
        (seen(pool(update={"maxEffect": "Restart"}), OLD_HOST), ""),
        (seen(pool(deleting=True), OLD_HOST), ""),
        (
            seen(pool(packages={"follow": "Cluster", "extra": ["kubelet-9"]}), OLD_HOST),
            "pool workers: packages.extra: MachinePackageVersion kubelet-9",
        ),
        (seen(pool(("Ready", "False", "Closed", BEFORE)), OLD_HOST), "pool workers, which was not well before, has not brought it"),
    ],
    ids=[
        "through",
        "none yet",
        "half",
        "in hand",
        "a host died later",
        "a new host",
        "no host yet",
        "before the first",
        "one that left",
        "explicit",
        "paused",
        "partition",
        "forbids the effect",
        "deleted",
        "wrong wish",
        "ill before",
    ],
)
def test_should_wait_for_hosts_that_are_to_change_and_for_no_others(found: PoolSeen, owes: str) -> None:
    follower = follower_of(found, FORWARD, CATALOGUE)
    assert follower.owes.startswith(owes)
    assert bool(follower.owes) == bool(owes)
    assert not follower.failed


STOPPED = ("Stalled", "True", "UpdateStopped", LATER)


@pytest.mark.parametrize(
    ("conditions", "host", "failed"),
    [
        ((("Ready", "False", "Closed", LATER), STOPPED), IN_HAND, "pool workers: m1: no space"),
        ((("Ready", "False", "Closed", BEFORE), STOPPED), IN_HAND, ""),
        ((STOPPED,), IN_HAND, ""),
        ((("Ready", "False", "Closed", LATER), STOPPED), OLD_HOST, ""),
        ((("Ready", "False", "Closed", LATER), ("Stalled", "True", "ManyUnreachable", LATER)), IN_HAND, ""),
        ((("Ready", "False", "Closed", LATER), ("Stalled", "False", "UpdateStopped", LATER)), IN_HAND, ""),
    ],
    ids=["its doing", "ill before", "nobody knows whether it was ill", "another update", "it is us", "over"],
)
def test_should_blame_the_version_for_a_host_that_failed_with_it_in_a_pool_that_was_well(
    conditions: tuple[tuple[str, str, str, str], ...], host: dict[str, Any], failed: str
) -> None:
    found = follower_of(seen(pool(*conditions), host, OLD_HOST), FORWARD, CATALOGUE)
    assert found.owes
    assert found.failed == failed
    member = followed(FORWARD, [THROUGH, found], {})
    assert (member.following, member.gave_up) == (found.owes, failed)
    assert not followed(BACK, [found], {}).gave_up, "who goes back has nothing to fail at"


def test_should_ask_changed_nodes_for_a_pod_on_the_way_forward() -> None:
    found = follower_of(seen(pool(), DONE, DONE | {"at": BEFORE}), FORWARD, CATALOGUE)
    node = NodeChange("prod/demo", "m1", LATER)
    assert found == Follower(changed=(node,)), "m2 had it before the Cluster was changed"
    assert followed(FORWARD, [found], {}).unproven == "node m1 has not started a pod since it was changed"
    assert followed(FORWARD, [found], {node: NodeTries(good=True)}).owes == ""
    assert followed(FORWARD, [found], {node: NodeTries(bad=TRIES, reason="no cgroup")}).gave_up
    assert followed(FORWARD, [found], {}).moved_at == START + timedelta(minutes=2)


def canary(**facts: Any) -> World:
    """The canary is authorised and its plane healthy, with these facts."""
    world = World.of(rollout())
    world.heals = False
    world.run()
    world.members["prod/c0"] = replace(world.members["prod/c0"], healthy=True, trouble="", **facts)
    return world


def phase_of(world: World) -> MemberPhase:
    view = world.view()
    return StageWork(view, view.story, view.plan.stages[0], view.spec.stages[0]).phases["prod/c0"]


def test_should_wait_for_hosts_that_follow_call_a_person_when_none_comes_and_fail_nobody_by_time() -> None:
    world = canary(following=WORDS)
    assert next_step(world.view()) == Wait(State.Changing, f"stage canary: in hand prod/c0 ({WORDS})", page=False)
    world.now += timedelta(days=1)
    assert next_step(world.view()) == Wait(State.Changing, f"stage canary: in hand prod/c0 ({WORDS})", page=True)
    world.members["prod/c0"] = replace(world.members["prod/c0"], followed_at=world.now)
    assert next_step(world.view()) == Wait(State.Changing, f"stage canary: in hand prod/c0 ({WORDS})", page=False)
    world.edits["accepted_failures"] = ("canary",)
    step = next_step(world.view())
    assert isinstance(step, Note)
    assert step.record.event == Event.StageHealthy


@pytest.mark.parametrize(("arrived", "phase"), [(True, MemberPhase.InHand), (False, MemberPhase.Failed)])
def test_should_give_a_plane_that_falls_ill_while_its_hosts_follow_a_deadline_of_its_own(arrived: bool, phase: MemberPhase) -> None:
    world = canary(following=WORDS, arrived=arrived)
    world.now += timedelta(days=1)
    world.members["prod/c0"] = replace(world.members["prod/c0"], healthy=False, trouble="apiserver is gone", unhealthy_since=world.now)
    assert phase_of(world) is phase
    world.now += timedelta(days=1)
    assert phase_of(world) is MemberPhase.Failed


def test_should_fail_a_stage_whose_hosts_do_not_come_up_with_the_version() -> None:
    world = canary(following=WORDS, gave_up="pool workers: m1: no space")
    assert phase_of(world) is MemberPhase.Failed
    step = next_step(world.view())
    assert isinstance(step, Note)
    assert step.record.event == Event.GoingBack
    assert step.record.text == "stage canary failed: prod/c0 was not healthy at kubernetes-1.35.4-r1 in time: pool workers: m1: no space"


def test_should_end_going_back_when_the_hosts_are_back_or_a_person_accepts_that_they_are_not() -> None:
    world = canary()
    world.heals, world.order = True, Order.Undo
    world.run()
    assert world.outcome is Outcome.Undone, "the control: nothing follows"
    world = canary()
    world.order = Order.Undo
    world.run()
    world.members["prod/c0"] = replace(world.members["prod/c0"], healthy=True, trouble="", following=WORDS)
    words = f"prod/c0 is back, its hosts are not: {WORDS}"
    assert next_step(world.view()) == Wait(State.GoingBack, words, page=False)
    world.now += timedelta(days=1)
    assert next_step(world.view()) == Wait(State.GoingBack, f"{words}; a person decides: resume --accept rollback", page=True)
    world.edits["accepted_failures"] = ("rollback",)
    world.run()
    assert world.outcome is Outcome.Undone
