"""The rollout's state machine, step by step: what each state does."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from operators.api.base import ConditionStatus
from operators.api.rollout import Order
from operators.domain.rollout.evidence import Baseline
from operators.domain.rollout.plan import PlannedMember
from operators.domain.rollout.state import next_step
from operators.domain.rollout.status import verdicts_of
from operators.domain.rollout.story import Event, Outcome
from operators.domain.rollout.verdict import Counts, Judgement, NoData, Verdict
from operators.domain.rollout.view import Hold, Note, State, Wait
from operators.domain.rollout.windows import WindowState
from tests.unit.operators.domain.rollout.builders import FAIL, HOLD, NEW, OLD, PASS, START, rollout, untouched
from tests.unit.operators.domain.rollout.world import BASELINE, World


def test_should_change_everybody_stage_by_stage_and_end_good() -> None:
    world = World.of(rollout())
    step = world.run()
    assert (step.state, world.changed()) == (State.Soaking, ["prod/c0"])
    assert world.run_to_end().state == State.Ended
    assert world.outcome == Outcome.Good
    assert len(world.changed()) == 6


def test_should_touch_only_the_canary_when_it_does_not_come_up_and_take_it_back() -> None:
    world = World.of(rollout())
    world.heals = False
    step = world.run()
    assert step.state == State.Changing
    world.now += timedelta(seconds=1801)
    decided = next_step(world.view())
    assert isinstance(decided, Note)
    assert decided.record.event == Event.GoingBack
    assert "prod/c0 was not healthy" in decided.reason
    world.heals = True
    assert world.run_to_end().state == State.Ended
    assert world.outcome == Outcome.Bad
    assert [key for key, facts in world.members.items() if facts.hold != Hold.Free] == ["prod/c0"]
    assert world.members["prod/c0"].version == OLD


@pytest.mark.parametrize("moment", [State.Changing, State.Soaking])
def test_should_go_back_at_once_when_the_numbers_are_bad(moment: State) -> None:
    world = World.of(rollout())
    world.heals = moment == State.Soaking
    assert world.run().state == moment
    world.verdict = FAIL
    step = next_step(world.view())
    assert isinstance(step, Note)
    assert step.record.event == Event.GoingBack
    assert FAIL.sentence in step.reason


def test_should_hold_without_data_and_call_a_person_after_the_deadline() -> None:
    world = World.of(rollout())
    world.verdict = HOLD
    world.run()
    world.now += timedelta(seconds=61)
    step = world.run()
    assert (step.state, step.page) == (State.Holding, False)
    assert HOLD.sentence in step.reason
    world.now += timedelta(seconds=900)
    assert world.run().page
    world.verdict = PASS
    assert world.run().state == State.Soaking, "goes on by itself when the data is back"


def test_should_wait_for_a_person_where_one_was_asked_for() -> None:
    world = World.of(rollout({"name": "all", "rest": True, "approval": True}))
    assert world.run().state == State.AwaitingApproval
    assert not world.changed()
    world.edits["approvals"] = ("all",)
    assert world.run().state == State.Soaking


def test_should_take_the_baseline_before_it_touches_anybody_and_keep_it() -> None:
    world = World.of(rollout())
    step = next_step(replace(world.view(), baseline=NoData("3 of 10 probe pods")))
    assert isinstance(step, Wait)
    assert "3 of 10" in step.reason
    world.run()
    assert world.view().story.baselines == {"canary": BASELINE}
    later = replace(world.view(), baseline=Baseline(Counts(0, 10)))
    assert later.story.baselines == {"canary": BASELINE}


@pytest.mark.parametrize(
    ("closed", "words"),
    [
        ({"breaker": "the breaker of UpgradePlane is open"}, "breaker"),
        ({"window": WindowState(False, START)}, "outside the change windows"),
    ],
)
def test_should_start_nothing_while_closed_but_go_back(closed: dict[str, Any], words: str) -> None:
    world = World.of(rollout())
    world.run()
    world.now += timedelta(seconds=61)
    for name, value in closed.items():
        setattr(world, name, value)
    step = world.run()
    assert words in step.reason
    assert world.changed() == ["prod/c0"]
    world.order = Order.Abort
    assert world.run().state == State.Ended
    assert (world.outcome, world.changed()) == (Outcome.Aborted, [])


def test_should_finish_what_is_in_hand_when_paused_and_go_on_after() -> None:
    world = World.of(rollout())
    world.heals = False
    world.run()
    world.order = Order.Pause
    assert world.run().state == State.Paused
    world.members["prod/c0"] = replace(world.members["prod/c0"], healthy=True)
    assert world.run().state == State.Paused
    world.order, world.heals = Order.Go, True
    world.run_to_end()
    assert world.outcome == Outcome.Good


def test_should_undo_what_ended_good() -> None:
    world = World.of(rollout())
    world.run_to_end()
    world.order = Order.Undo
    world.run_to_end()
    assert world.outcome == Outcome.Undone
    assert {facts.version for facts in world.members.values()} == {OLD}
    assert world.run().state == State.Ended, "and rests there"


def test_should_not_abort_what_has_ended() -> None:
    world = World.of(rollout())
    world.run_to_end()
    world.order = Order.Abort
    assert world.run().state == State.Ended
    assert world.outcome == Outcome.Good


def test_should_leave_it_to_a_person_with_on_fail_pause() -> None:
    world = World.of(rollout(onFail="Pause"))
    world.run()
    world.verdict = FAIL
    step = world.run()
    assert (step.state, step.page) == (State.Failed, True)
    world.verdict = PASS
    assert world.run().state == State.Failed, "a better number later is no person's yes"
    assert list(world.marked) == ["canary"], "nobody else takes it while a person thinks"
    world.edits["accepted_failures"] = ("canary",)
    world.run()
    assert world.marked == {}
    world.run_to_end()
    assert world.outcome == Outcome.Good
    events = [each.event for each in world.records]
    assert events.count(Event.FailureAccepted) == 1
    assert events.index(Event.FailureAccepted) == events.index(Event.StageFailed) + 1


def test_should_leave_the_mark_when_a_person_takes_a_failure_back() -> None:
    world = World.of(rollout(onFail="Pause"))
    world.run()
    world.verdict = FAIL
    world.run()
    world.order = Order.Abort
    world.run_to_end()
    assert (world.outcome, list(world.marked)) == (Outcome.Aborted, ["canary"])


@pytest.mark.parametrize("accepted", [(), ("canary",)])
def test_should_fail_for_its_mark_or_lift_it_when_killed_before_the_note(accepted: tuple[str, ...]) -> None:
    """Nothing is wrong any more when the next process looks: only the mark says that it was."""
    world = World.of(rollout(onFail="Pause"))
    world.run()
    world.verdict = FAIL
    step = next_step(world.view())
    assert isinstance(step, Note)
    world.mark(step.record)
    world.verdict, world.edits["accepted_failures"] = PASS, accepted
    step = world.run()
    assert (step.state, list(world.marked)) == ((State.Soaking, []) if accepted else (State.Failed, ["canary"]))


def test_should_mark_anew_when_a_later_stage_fails() -> None:
    world = World.of(rollout(onFail="Pause"))
    world.run()
    world.verdict = FAIL
    world.run()
    world.edits["accepted_failures"] = ("canary",)
    world.run_to_end(600)
    assert list(world.marked) == ["half"]


def test_should_take_back_alone_a_failure_that_is_allowed() -> None:
    world = World.of(rollout({"name": "all", "rest": True, "maxParallel": 6, "failuresAllowed": 1, "soakSeconds": 0}))
    world.run()
    world.records.clear()
    first = world.plan.members[0].key
    world.members = {key: untouched() for key in world.members}
    world.heals = False
    world.run()
    for key in world.members:
        world.members[key] = replace(world.members[key], healthy=key != first)
    world.now += timedelta(seconds=1801)
    world.heals = True
    world.run_to_end()
    assert world.outcome == Outcome.Good
    assert world.members[first].version == OLD
    assert len(world.changed()) == 5
    assert world.records[-1].text == f"5 members are at {NEW}; not {first}"


def test_should_have_no_more_in_hand_than_allowed_forward_and_back() -> None:
    world = World.of(rollout({"name": "all", "rest": True, "maxParallel": 2}))
    world.heals = False
    world.run()
    assert len(world.changed()) == 2
    world.members = {key: replace(facts, healthy=True) for key, facts in world.members.items()}
    world.run()
    assert len(world.changed()) == 4
    world.order = Order.Abort
    world.members = {key: replace(facts, healthy=True) for key, facts in world.members.items()}
    world.run()
    assert len(world.changed()) == 2, "two on their way back"


def test_should_not_tell_the_end_before_everybody_is_back() -> None:
    world = World.of(rollout())
    world.run()
    world.order, world.heals = Order.Abort, False
    assert world.run().state == State.GoingBack
    assert world.outcome is None


def in_hand(world: World, hold: Hold) -> list[str]:
    """Domains of the members that are under way, forward or back."""
    domains = {member.key: member.domain for member in World.of(rollout(perDomain={"label": "zone"})).plan.members}
    return sorted(domains[key] for key, facts in world.members.items() if facts.hold == hold and not facts.healthy)


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        ({"maxParallel": 1}, ["z0"]),
        ({"maxParallel": 2}, ["z0", "z0"]),
        ({"maxParallel": 1, "atOnce": 3}, ["z0", "z1", "z2"]),
        (None, ["z0", "z0", "z1", "z1", "z2", "z2"]),
    ],
    ids=["one member", "one domain", "one member of each", "control: no limit"],
)
def test_should_keep_to_one_failure_domain_at_a_time_forward_and_back(limit: dict[str, Any] | None, expected: list[str]) -> None:
    spec = {"perDomain": {"label": "zone", **limit}} if limit else {}
    world = World.of(rollout({"name": "all", "rest": True, "maxParallel": 6}, **spec))
    world.heals = False
    step = world.run()
    found = in_hand(world, Hold.Forward)
    assert [sorted(found).count(each) for each in sorted(set(found))] == [expected.count(each) for each in sorted(set(expected))]
    assert ("failure domain" in step.reason) == (limit is not None)
    world.heals = True
    world.members = {key: replace(facts, healthy=True, hold=Hold.Forward, version=NEW) for key, facts in world.members.items()}
    world.order, world.heals = Order.Abort, False
    world.run()
    back = in_hand(world, Hold.Back)
    assert [back.count(each) for each in sorted(set(back))] == [expected.count(each) for each in sorted(set(expected))]


@pytest.mark.parametrize("heals", [True, False])
def test_should_call_a_person_when_it_holds_for_long_in_the_middle_of_a_stage(heals: bool) -> None:
    """The control: as soon as the numbers are back it goes on."""
    world = World.of(rollout({"name": "all", "rest": True, "maxParallel": 1}))
    world.heals = False
    world.run()
    first = world.changed()[0]
    world.members[first] = replace(world.members[first], healthy=True, ready_since=world.now)
    world.verdict = HOLD
    step = world.run()
    assert (step.page, HOLD.sentence in step.reason) == (False, True)
    world.now += timedelta(seconds=901)
    world.verdict = PASS if heals else HOLD
    step = world.run()
    assert step.page == (not heals)
    assert len(world.changed()) == (2 if heals else 1)


@pytest.mark.parametrize("blind", ["SSH fails to 4 of 4 hosts although their nodes are Ready", ""])
def test_should_blame_no_version_while_its_operator_cannot_see_its_hosts(blind: str) -> None:
    """The control: a member that can be seen and is not healthy by its deadline has failed."""
    world = World.of(rollout())
    world.heals = False
    world.run()
    (key,) = world.changed()
    world.members[key] = replace(world.members[key], blind=blind)
    world.now += timedelta(seconds=1801)
    step = next_step(world.view())
    if not blind:
        assert isinstance(step, Note)
        assert step.record.event == Event.GoingBack
        return
    assert isinstance(step, Wait)
    assert (step.page, blind in step.reason) == (True, True)
    world.members[key] = replace(world.members[key], blind="", healthy=True, ready_since=world.now)
    assert world.run().state == State.Soaking, "goes on when they are seen again"


def test_should_call_a_person_when_a_stage_cannot_begin_for_long() -> None:
    world = World.of(rollout())

    def blind() -> Wait:
        step = next_step(replace(world.view(), baseline=NoData("Prometheus does not answer")))
        assert isinstance(step, Wait)
        return step

    assert not blind().page
    world.now += timedelta(seconds=901)
    assert blind().page
    assert verdicts_of(blind(), None, "")["Stalled"][0] is ConditionStatus.TRUE
    assert world.run().state == State.Soaking, "the control: with a baseline it begins, however late"


def test_should_wait_for_another_rollout_and_say_for_which() -> None:
    world = World.of(rollout())
    world.members["prod/c0"] = replace(untouched(), hold=Hold.Rival, rival="autumn")
    assert "in the hands of rollout autumn" in world.run().reason
    world.members["prod/c0"] = untouched()
    assert world.run().state == State.Soaking


def test_should_put_late_joiners_last() -> None:
    world = World.of(rollout(), 4)
    world.late = (PlannedMember("prod/new", OLD),)
    world.run_to_end()
    assert world.outcome == Outcome.Good
    assert list(world.members)[-1] == "prod/new"
    assert world.members["prod/new"].version == NEW


def test_should_stop_going_back_when_it_does_not_help() -> None:
    world = World.of(rollout({"name": "all", "rest": True, "maxParallel": 1}))
    world.run()
    world.order, world.heals = Order.Abort, False
    world.run()
    changed = len(world.changed())
    world.now += timedelta(seconds=1801)
    step = world.run()
    assert step.page
    assert "did not help" in step.reason
    assert len(world.changed()) == changed
    world.edits["accepted_failures"], world.heals = ("rollback",), True
    world.run()
    assert not world.changed()


def test_should_go_back_for_a_mark_of_its_own_whose_note_was_never_written() -> None:
    world = World.of(rollout())
    world.run()
    step = next_step(replace(world.view(), marked="stage canary failed: no pods"))
    assert isinstance(step, Note)
    assert (step.record.event, step.record.outcome, step.record.text) == (Event.GoingBack, Outcome.Bad, "stage canary failed: no pods")


def test_should_never_go_back_to_a_version_that_was_found_bad() -> None:
    world = World.of(rollout())
    world.run()
    world.order = Order.Abort
    world.do(next_step(world.view()))
    step = next_step(replace(world.view(), bad_versions=frozenset({OLD})))
    assert isinstance(step, Wait)
    assert step.page


def test_should_forget_members_that_are_gone() -> None:
    world = World.of(rollout())
    world.run()
    for key in list(world.members)[1:]:
        del world.members[key]
    world.run_to_end()
    assert world.outcome == Outcome.Good


@pytest.mark.parametrize(
    "verdict", [HOLD, Verdict(Judgement.INCONCLUSIVE, "2 of 3 pods came up", worries=True)], ids=["no numbers", "a bad sample"]
)
def test_should_change_nobody_else_before_it_is_clear_what_a_bad_sign_is(verdict: Verdict) -> None:
    world = World.of(rollout({"name": "all", "rest": True, "maxParallel": 1, "soakSeconds": 0}))
    world.heals = False
    world.run()
    first = world.changed()
    world.members[first[0]] = replace(world.members[first[0]], healthy=True)
    world.verdict = verdict
    assert verdict.sentence in world.run().reason
    assert world.changed() == first
    world.verdict = PASS
    world.run()
    assert len(world.changed()) == 2, "the control: with good numbers the next one goes"
