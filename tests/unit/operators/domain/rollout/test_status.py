"""What a rollout shows of itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from operators.domain.rollout.state import next_step
from operators.domain.rollout.status import running_status
from operators.domain.rollout.story import Event, Outcome
from tests.unit.operators.domain.rollout.builders import FAIL, rollout
from tests.unit.operators.domain.rollout.world import World


def shown(world: World, before: Mapping[str, Any] = MappingProxyType({})) -> dict[str, Any]:
    view = world.view()
    return running_status(world.made, before, view, next_step(view), None)


def advance(world: World, until: Event) -> None:
    for _ in range(40):
        if world.records and world.records[-1].event == until:
            return
        world.do(next_step(world.view()))
    raise AssertionError(f"no {until}: {world.records}")


def test_should_keep_the_verdict_and_the_numbers_of_the_stage_that_was_taken_back() -> None:
    world = World.of(rollout())
    advance(world, Event.StageHealthy)
    world.verdict = FAIL
    advance(world, Event.GoingBack)
    back = world.records[-1]
    assert back.outcome is Outcome.Bad
    stage = shown(world)["stages"][0]
    assert (stage["verdict"], stage["message"]) == ("FAIL", back.text)
    assert FAIL.sentence in stage["message"]
    advance(world, Event.Ended)
    assert shown(world)["stages"][0] == {**stage, "healthy": 0}
    assert shown(world)["stages"][1]["verdict"] == "", "who was never reached has none"


def test_should_not_tell_what_becomes_of_members_after_the_end() -> None:
    """A restart, or a later rollout of the same members, is no reason to write all rollouts that ever were."""
    world = World.of(rollout())
    advance(world, Event.StageHealthy)
    world.verdict = FAIL
    advance(world, Event.Ended)
    end, key = shown(world), next(iter(world.members))
    assert end["phase"] == "Bad"
    world.members[key] = replace(world.members[key], healthy=False, trouble="somebody broke it", version="another")
    assert shown(world) != end, "the control: it would be told"
    assert shown(world, end) == end
    assert shown(world, {**end, "phase": "Good"})["phase"] == "Bad", "another end than the one that was shown"
