"""A node that a change of machines went through has to start a pod before its pool counts as good; nobody fails by time for that."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from operators.api.pools import MachinePool, MachinePoolRelease
from operators.api.rollout import MemberPhase
from operators.domain.rollout.nodes import TRIES, NodeChange, NodeTries, changed_nodes, proven
from operators.domain.rollout.pools import PoolSeen
from operators.domain.rollout.state import StageWork, next_step
from operators.domain.rollout.story import Event, Outcome
from operators.domain.rollout.view import Hold, MemberFacts, Note, State, Wait
from tests.unit.operators.domain.rollout.builders import NEW, START, rollout
from tests.unit.operators.domain.rollout.world import World

AT = "2026-03-01T11:00:00Z"
M1, M2 = NodeChange("prod/demo", "m1", AT), NodeChange("prod/demo", "m2", AT)
FORWARD = MemberFacts(Hold.Forward, "kubelet-2", START, healthy=True)


def seen(*hosts: dict[str, Any]) -> PoolSeen:
    metadata = {"name": "workers", "namespace": "prod"}
    pool = MachinePool.parse(
        {"kind": "MachinePool", "metadata": metadata, "spec": {"clusterName": "demo", "packages": {"follow": "Cluster"}}}
    )
    release = {"kind": "MachinePoolRelease", "metadata": metadata, "spec": {"poolUID": "u", "hosts": list(hosts)}}
    return PoolSeen(pool, MachinePoolRelease.parse(release), "prod/demo", None, None)


def host(name: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "packages": ["kubelet-2"], "before": ["kubelet-1"], "at": AT, "openedAt": AT} | fields


def test_should_ask_nodes_that_came_into_service_with_the_package_and_no_others() -> None:
    waiting = {"name": "m4", "packages": ["kubelet-2"], "before": ["kubelet-1"], "at": AT}
    found = seen(
        host("m1"), host("m2", packages=["kubelet-1"], before=[]), host("m3", before=[]), waiting, host("m5", before=["kubelet-2"])
    )
    assert changed_nodes(found, "kubelet-2") == (M1,)


def test_should_say_what_nodes_owe_and_give_up_after_a_few_pods() -> None:
    assert proven(FORWARD, [M1, M2], {M1: NodeTries(good=True)}).unproven == "node m2 has not started a pod since it was changed"
    assert proven(FORWARD, [M1, M2], {M1: NodeTries(True, 2), M2: NodeTries(True)}) == FORWARD
    almost = proven(FORWARD, [M1], {M1: NodeTries(bad=TRIES - 1, reason="no cgroup")})
    assert not almost.gave_up
    assert almost.unproven
    bad = proven(FORWARD, [M2, M1], {M1: NodeTries(bad=TRIES, reason="no cgroup")})
    assert bad.gave_up == "node m1 starts no pod since it was changed: no cgroup"
    back = replace(FORWARD, hold=Hold.Back)
    assert proven(back, [M1], {M1: NodeTries(bad=TRIES)}) == back, "who goes back is asked for nothing"


def changed(**facts: Any) -> World:
    """The canary is authorised and healthy, with these facts."""
    world = World.of(rollout())
    world.heals = False
    world.run()
    world.members["prod/c0"] = replace(world.members["prod/c0"], healthy=True, trouble="", **facts)
    return world


def test_should_not_begin_the_soak_before_every_node_has_started_a_pod_nor_fail_by_time() -> None:
    world = changed(unproven="node m2 has not started a pod since it was changed")
    world.now += timedelta(days=1)
    step = next_step(world.view())
    assert isinstance(step, Wait)
    assert step.state == State.Changing
    assert "node m2 has not started a pod since it was changed" in step.reason
    world.members["prod/c0"] = replace(world.members["prod/c0"], unproven="")
    assert world.run().state == State.Soaking


def test_should_take_back_a_pool_one_of_whose_nodes_starts_no_pods() -> None:
    words = "node m1 starts no pod since it was changed: no cgroup"
    step = next_step(changed(unproven=words, gave_up=words).view())
    assert isinstance(step, Note)
    assert (step.record.event, step.record.outcome) == (Event.GoingBack, Outcome.Bad)
    assert f"prod/c0 was not healthy at {NEW} in time: {words}" in step.record.text


def test_should_ask_nobody_again_once_the_stage_was_noted_as_healthy() -> None:
    world = changed()
    world.run()
    world.members["prod/c0"] = replace(world.members["prod/c0"], unproven="node m1 has not started a pod since it was changed")
    view = world.view()
    stage = view.plan.stages[0]
    assert StageWork(view, view.story, stage, view.spec.stages[0]).phases["prod/c0"] == MemberPhase.Healthy
