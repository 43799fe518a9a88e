"""Whether going back does harm: only numbers of enough probe pods, before and after, and worse than those of clusters that did not go back."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from operators.api.rollout import Order
from operators.domain.rollout import returning
from operators.domain.rollout.evidence import Sample
from operators.domain.rollout.returning import worse
from operators.domain.rollout.state import next_step
from operators.domain.rollout.story import Event, Outcome
from operators.domain.rollout.verdict import Difference
from operators.domain.rollout.view import GoBack, Hold, MemberFacts, State, Wait
from tests.unit.operators.domain.rollout.builders import NEW, OLD, START, rollout
from tests.unit.operators.domain.rollout.world import World

WINDOW, NOW = timedelta(seconds=600), START + timedelta(seconds=900)
SENT, THERE = START + timedelta(seconds=300), START + timedelta(seconds=360)


def pods(good: int, bad: int, *, after: bool) -> list[Sample]:
    """Of the time before it was sent back, or after it had arrived."""
    first = THERE if after else START
    return [Sample(first + timedelta(seconds=3 * number + 2), number >= bad, 1.0) for number in range(good + bad)]


def member(hold: Hold = Hold.Back, *, healthy: bool = True) -> MemberFacts:
    return MemberFacts(hold, OLD if hold is Hold.Back else NEW, SENT, healthy, ready_since=THERE)


@pytest.mark.parametrize(
    ("why", "before", "after", "others", "expected"),
    [
        ("it makes fewer pods than before", (40, 0), (10, 30), ((40, 0), (40, 0)), True),
        ("nobody else is there to compare with", (40, 0), (10, 30), ((0, 0), (0, 0)), True),
        ("it makes more", (10, 30), (40, 0), ((40, 0), (40, 0)), False),
        ("it was as bad before: going back did not help, and does no harm", (10, 30), (10, 30), ((40, 0), (40, 0)), False),
        ("all sank alike", (40, 0), (10, 30), ((40, 0), (10, 30)), False),
        ("nothing is known from before: the operator was restarted", (0, 0), (10, 30), ((40, 0), (40, 0)), False),
        ("too few pods since", (40, 0), (1, 5), ((40, 0), (40, 0)), False),
        ("a single bad pod is an accident", (40, 0), (39, 1), ((40, 0), (40, 0)), False),
    ],
)
def test_should_say_whether_going_back_does_harm(
    why: str, before: tuple[int, int], after: tuple[int, int], others: tuple[tuple[int, int], tuple[int, int]], expected: bool
) -> None:
    own = [*pods(*before, after=False), *pods(*after, after=True)]
    beside = [*pods(*others[0], after=False), *pods(*others[1], after=True)]
    members = {"prod/a": member(), "prod/b": member(Hold.Forward)}
    words = worse(members, {"prod/a": own, "prod/b": beside}, None, WINDOW, NOW)
    assert bool(words) == expected, why
    assert not expected or "100.00% -> 25.00%" in words


def test_should_see_no_harm_where_nobody_compares(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control of the table above."""
    monkeypatch.setattr(returning, "difference", lambda *_: Difference(0.0, 1.0))
    own = [*pods(40, 0, after=False), *pods(10, 30, after=True)]
    assert worse({"prod/a": member()}, {"prod/a": own}, None, WINDOW, NOW) == ""


def test_should_count_only_members_that_went_back_and_came_up() -> None:
    own = [*pods(40, 0, after=False), *pods(10, 30, after=True)]
    for other in (member(healthy=False), member(Hold.Forward), member(Hold.Free)):
        assert worse({"prod/a": other}, {"prod/a": own}, None, WINDOW, NOW) == ""


def test_should_look_at_the_cluster_of_a_pool() -> None:
    own = [*pods(40, 0, after=False), *pods(10, 30, after=True)]
    assert worse({"prod/workers": member()}, {"prod/a": own}, {"prod/workers": "prod/a"}, WINDOW, NOW)


def going_back(**spec: object) -> World:
    """Everybody is at the new version, and a person undoes it."""
    world = World.of(rollout(**spec))
    world.run_to_end()
    assert world.outcome == Outcome.Good
    world.order = Order.Undo
    world.do(next_step(world.view()))
    assert world.records[-1].event == Event.GoingBack
    return world


def test_should_stop_where_going_back_makes_it_worse_until_a_person_accepts_it() -> None:
    world = going_back()
    first = next_step(world.view())
    assert isinstance(first, GoBack)
    world.do(first)
    world.worse = said = "pod creation 100.00% -> 25.00% in those that went back"
    world.do(next_step(world.view()))
    assert world.records[-1].event == Event.Harmed
    world.worse = ""  # the numbers fade, or another process has none
    step = next_step(world.view())
    assert isinstance(step, Wait)
    assert (step.state, step.page) == (State.GoingBack, True)
    assert step.reason == f"going back makes it worse, so nobody else goes back: {said}; a person decides: resume --accept harm"
    world.edits["accepted_failures"] = ("rollback",)
    assert next_step(world.view()) == step, "that was said of somebody who is stuck"
    world.edits["accepted_failures"] = ("harm",)
    assert isinstance(next_step(world.view()), GoBack)


def test_should_not_remember_harm_of_an_earlier_way_back() -> None:
    world = going_back()
    world.worse = "pod creation 100.00% -> 25.00% in those that went back"
    world.do(next_step(world.view()))
    assert world.view().story.harm
    world.records.append(replace(world.records[-2], event=Event.GoingBack))
    assert world.view().story.harm is None


CHANGED = member(Hold.Forward)
MOVING = replace(member(healthy=False), trouble="apiserver rolls")


@pytest.mark.parametrize(
    ("why", "others", "controls", "expected"),
    [
        ("unchanged clusters that are well", {"prod/b": CHANGED}, ("prod/z",), True),
        ("a member on its way back that is broken", {"prod/b": MOVING}, (), True),
        ("a member that another rollout has", {"prod/b": member(Hold.Rival)}, (), True),
        ("an unchanged cluster that sank alike", {"prod/b": CHANGED}, ("prod/sunk",), False),
    ],
)
def test_should_measure_beside_those_that_nothing_is_done_to(
    why: str, others: dict[str, MemberFacts], controls: tuple[str, ...], expected: bool
) -> None:
    own, sunk = [*pods(40, 0, after=False), *pods(10, 30, after=True)], [*pods(40, 0, after=False), *pods(12, 28, after=True)]
    well = [*pods(40, 0, after=False), *pods(40, 0, after=True)]
    beside = own if next(iter(others.values())) is not CHANGED else well if expected else sunk
    samples = {"prod/a": own, "prod/b": beside, "prod/z": well, "prod/sunk": sunk}
    assert bool(worse({"prod/a": member(), **others}, samples, None, WINDOW, NOW, controls)) == expected, why


def test_should_not_blame_pods_that_were_begun_before_it_was_up() -> None:
    slow = [replace(one, at=one.at, seconds=400.0) for one in pods(0, 40, after=True)]
    assert worse({"prod/a": member()}, {"prod/a": [*pods(40, 0, after=False), *slow]}, None, WINDOW, NOW) == ""


def test_should_compare_each_cluster_with_itself() -> None:
    """One that was always bad, and of which nothing is known from before, is no harm that was done."""
    always_bad = pods(10, 30, after=True)
    steady = [*pods(40, 0, after=False), *pods(40, 0, after=True)]
    assert worse({"prod/a": member(), "prod/b": member()}, {"prod/a": always_bad, "prod/b": steady}, None, WINDOW, NOW) == ""


def test_should_end_when_all_are_back_whatever_the_numbers_say() -> None:
    world = going_back()
    world.run_to_end()
    world.worse = "pod creation 100.00% -> 25.00% in those that went back"
    assert world.outcome == Outcome.Undone


@pytest.mark.parametrize(("spec", "at_once"), [({}, 2), ({"undo": {"maxParallel": 1}}, 1), ({"undo": {"maxParallel": 5}}, 5)])
def test_should_go_back_by_its_own_parallelism(spec: dict[str, object], at_once: int) -> None:
    world = going_back(**spec)
    world.heals = False
    while isinstance(step := next_step(world.view()), GoBack):
        world.do(step)
        key = step.key
        world.members[key] = replace(world.members[key], healthy=False)
    assert sum(facts.hold is Hold.Back for facts in world.members.values()) == at_once
