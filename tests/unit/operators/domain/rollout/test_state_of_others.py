"""What others do to a rollout's members and to its words while it runs."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from operators.api.rollout import FleetRollout, Order
from operators.domain.rollout.state import next_step
from operators.domain.rollout.status import running_status
from operators.domain.rollout.story import Outcome
from operators.domain.rollout.view import GoBack, Hold, MemberFacts, State, Wait
from operators.domain.rollout.windows import WindowState
from tests.unit.operators.domain.rollout.builders import FAIL, HOLD, NEW, OLD, START, rollout
from tests.unit.operators.domain.rollout.world import World

OTHER = "kubernetes-1.35.9-r1"


def one_stage(**more: object) -> FleetRollout:
    return rollout({"name": "all", "rest": True, "maxParallel": 1, "soakSeconds": 60, **more})


def test_should_leave_alone_whom_somebody_gave_another_version_meanwhile() -> None:
    world = World.of(rollout())
    world.run()
    world.members["prod/c4"] = MemberFacts(Hold.Free, OTHER, START, healthy=True)
    world.run_to_end()
    assert world.outcome is Outcome.Good
    assert world.members["prod/c4"].version == OTHER
    assert sorted(world.changed()) == ["prod/c0", "prod/c1", "prod/c2", "prod/c3", "prod/c5"]
    view = world.view()
    shown = running_status(world.made, {}, view, next_step(view), None)
    (line,) = [each for each in shown["members"] if each["cluster"] == "prod/c4"]
    assert (line["phase"], line["message"]) == ("Skipped", f"somebody authorised {OTHER} meanwhile; it is left alone")


def test_should_not_start_who_is_ill_before_its_turn_nor_blame_the_change_for_it() -> None:
    world = World.of(one_stage(), count=2)
    world.members["prod/c1"] = replace(world.members["prod/c1"], healthy=False, trouble="etcd 0/1", unhealthy_since=START)
    waits = world.run()
    assert waits.reason == "prod/c1 is not healthy before its turn (etcd 0/1); it is not changed until it is"
    assert not waits.page
    world.now += timedelta(days=1)
    waits = world.run()
    assert waits.page, "a person is called"
    assert world.members["prod/c1"].version == OLD
    world.members["prod/c1"] = replace(world.members["prod/c1"], healthy=True)
    world.run_to_end()
    assert world.outcome is Outcome.Good


def test_should_pass_over_an_ill_one_to_the_next() -> None:
    world = World.of(one_stage(), count=3)
    world.members["prod/c0"] = replace(world.members["prod/c0"], healthy=False, trouble="etcd 0/1")
    world.run()
    assert sorted(world.changed()) == ["prod/c1", "prod/c2"]


@pytest.mark.parametrize("order", [Order.Abort, Order.Undo])
def test_should_start_nobody_while_windows_cannot_be_read_and_still_go_back(order: Order) -> None:
    world = World.of(one_stage(), count=3)
    world.heals = False
    world.run()
    world.members = {key: replace(facts, healthy=True) for key, facts in world.members.items()}
    world.window = WindowState(is_open=False, problem="spec.windows: timeZone 'Europe/Berln' is not known")
    assert "no change window can be read, so nothing starts: spec.windows: timeZone 'Europe/Berln'" in world.run().reason
    assert world.changed() == ["prod/c0"]
    world.order, world.heals = order, True
    world.run_to_end()
    assert not world.changed()


def test_should_give_nobody_else_a_version_that_was_found_bad_meanwhile() -> None:
    world = World.of(one_stage(), count=3)
    world.heals = False
    world.run()
    world.members = {key: replace(facts, healthy=True) for key, facts in world.members.items()}
    step = next_step(replace(world.view(), bad_versions=frozenset({NEW})))
    assert isinstance(step, Wait)
    assert "was found bad by another rollout meanwhile" in step.reason


def test_should_go_on_in_the_middle_of_a_stage_whose_failure_a_person_accepted() -> None:
    world = World.of(rollout({"name": "all", "rest": True, "soakSeconds": 60}, onFail="Pause"), count=3)
    world.heals = False
    world.run()
    world.members = {key: replace(facts, healthy=True) for key, facts in world.members.items()}
    world.verdict, world.heals = FAIL, True
    assert world.run().state is State.Failed
    assert len(world.changed()) == 1
    world.edits["accepted_failures"] = ("all",)
    world.run()
    assert len(world.changed()) == 3
    world.verdict = HOLD
    world.run_to_end()
    assert world.outcome is Outcome.Good


def test_should_call_a_person_when_one_that_is_taken_back_alone_does_not_come_up_or_has_no_way_back() -> None:
    world = World.of(one_stage(failuresAllowed=1, memberDeadlineSeconds=60), count=2)
    world.heals = False
    world.run()
    world.now += timedelta(seconds=61)
    view = world.view()
    assert isinstance(next_step(view), GoBack)
    lost = next_step(replace(view, bad_versions=frozenset({OLD})))
    assert isinstance(lost, Wait)
    assert lost.page
    assert f"cannot go back: {OLD} was found bad" in lost.reason
    world.run()
    world.now += timedelta(seconds=61)
    stuck = world.run()
    assert stuck.page
    assert "going back did not help prod/c0: apiserver rolls; a person decides: abort or undo" in stuck.reason
