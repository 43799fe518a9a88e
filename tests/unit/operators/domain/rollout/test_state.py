"""The rollout's state machine, step by step: tables for what each state does, a Hypothesis machine for what must hold in all of them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from operators.api.rollout import FleetRollout, Order
from operators.domain.rollout.evidence import Baseline
from operators.domain.rollout.plan import FrozenPlan, PlannedMember
from operators.domain.rollout.state import Authorise, GoBack, Hold, MemberFacts, Note, RolloutView, State, Step, Wait, next_step
from operators.domain.rollout.story import Event, Outcome, Record, record_of
from operators.domain.rollout.verdict import Counts, NoData, Verdict
from operators.domain.rollout.windows import WindowState
from tests.unit.operators.domain.rollout.builders import FAIL, HOLD, NEW, OLD, PASS, START, frozen, rollout, untouched

OPEN = WindowState(True)
BASELINE = Baseline(Counts(10, 10), Counts(20, 20))


@dataclass
class World:
    """Members and records that steps are carried out on, as the operator would."""

    made: FleetRollout
    plan: FrozenPlan
    members: dict[str, MemberFacts]
    records: list[Record] = field(default_factory=list)
    now: datetime = START
    verdict: Verdict = PASS
    window: WindowState = OPEN
    breaker: str = ""
    late: tuple[PlannedMember, ...] = ()
    order: Order = Order.Go
    edits: dict[str, Any] = field(default_factory=dict)
    heals: bool = True
    """Whether a changed member becomes healthy at once."""

    @classmethod
    def of(cls, made: FleetRollout, count: int = 6) -> World:
        plan = frozen(made, count)
        return cls(made, plan, {member.key: untouched() for member in plan.members})

    def view(self) -> RolloutView:
        spec = self.made.spec.model_copy(update={"order": self.order, **self.edits})
        return RolloutView(
            spec, self.plan, tuple(self.records), dict(self.members), self.verdict, self.window, self.now, BASELINE, self.breaker, self.late
        )

    def do(self, step: Step) -> None:
        match step:
            case Note(record=record):
                self.records.append(record_of(record.document()))
                self.late = () if record.event == Event.Joined else self.late
                self.members |= {member.key: untouched() for member in record.members}
            case Authorise(key=key, to=to):
                self.members[key] = MemberFacts(Hold.Forward, to, self.now, healthy=self.heals, trouble="apiserver rolls")
            case GoBack(key=key, to=to):
                self.members[key] = MemberFacts(Hold.Back, to, self.now, healthy=self.heals, trouble="apiserver rolls")

    def run(self, limit: int = 500) -> Wait:
        """Passes until there is nothing to do at this moment."""
        for _ in range(limit):
            step = next_step(self.view())
            if isinstance(step, Wait):
                return step
            self.do(step)
        raise AssertionError(f"no rest after {limit} passes: {step}")

    def run_to_end(self, seconds: float = 86400) -> Wait:
        """As `run`, letting time pass while it waits."""
        until = self.now + timedelta(seconds=seconds)
        while (step := self.run()).state != State.Ended and self.now < until:
            self.now += timedelta(seconds=60)
        return step

    @property
    def outcome(self) -> Outcome | None:
        return self.records[-1].outcome if self.records and self.records[-1].event == Event.Ended else None

    def changed(self) -> list[str]:
        return [key for key, facts in self.members.items() if facts.hold == Hold.Forward]


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
    world.edits["accepted_failures"] = ("canary",)
    world.run_to_end()
    assert world.outcome == Outcome.Good


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


def test_should_keep_to_one_failure_domain_at_a_time() -> None:
    made = rollout({"name": "all", "rest": True, "maxParallel": 6}, perDomain={"label": "zone", "maxParallel": 1})
    world = World.of(made)
    world.heals = False
    step = world.run()
    domains = [member.domain for member in world.plan.members if member.key in world.changed()]
    assert sorted(domains) == ["z0", "z1", "z2"]
    assert "failure domain" in step.reason


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


class RolloutMachine(RuleBasedStateMachine):
    """Any interleaving of passes, crashes, clock steps, edits, sick members and outsiders."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World.of(rollout(perDomain={"label": "zone", "maxParallel": 2}), 8)
        self.world.heals = False
        self.authorised: list[str] = []

    @rule(crash=st.booleans())
    def one_pass(self, crash: bool) -> None:
        world = self.world
        view = world.view()
        step = next_step(view)
        assert next_step(world.view()) == step, "the same world leads to the same step"
        if isinstance(step, Authorise):
            self.check_forward(view, step)
        if isinstance(step, GoBack):
            assert world.members[step.key].hold == Hold.Forward
            assert step.to == OLD
        if isinstance(step, Note) and step.record.event == Event.Ended:
            coming = [key for key, facts in world.members.items() if facts.hold == Hold.Back and not facts.healthy]
            assert not coming, "an end is told when everybody has arrived"
        if not crash:
            world.do(step)
            if isinstance(step, Authorise):
                self.authorised.append(step.key)

    def check_forward(self, view: RolloutView, step: Authorise) -> None:
        """What must hold whenever something new is started."""
        assert not view.breaker
        assert view.window.is_open
        assert view.spec.order == Order.Go
        assert view.verdict != FAIL or not self.in_stage(step.key)[1], "nothing new after a bad sample"
        assert not any(record.event in (Event.GoingBack, Event.Ended) for record in view.records)
        assert step.key not in self.authorised, "nobody is touched twice"
        stage, touched = self.in_stage(step.key)
        passed = {record.stage for record in view.records if record.event == Event.StagePassed}
        assert all(name in passed for name in ["canary", "half", "rest"][: ["canary", "half", "rest"].index(stage)])
        limit = {"canary": 1, "half": 2, "rest": 2}[stage]
        busy = [key for key in touched if not self.world.members[key].healthy]
        assert len(busy) < limit

    def in_stage(self, key: str) -> tuple[str, list[str]]:
        stage = next(each for each in self.world.plan.stages if any(member.key == key for member in each.members))
        return stage.name, [m.key for m in stage.members if m.key in self.world.members and self.world.members[m.key].hold != Hold.Free]

    @rule()
    def good_times(self) -> None:
        """All is well until the stage in hand is passed, so that later stages are reached."""
        world = self.world
        if world.records and world.records[-1].event in (Event.GoingBack, Event.Ended):
            return
        world.order, world.verdict, world.breaker, world.window = Order.Go, PASS, "", OPEN
        for _ in range(40):
            self.one_pass(crash=False)
            if world.records[-1].event in (Event.StagePassed, Event.GoingBack, Event.Ended):
                return
            for key, facts in world.members.items():
                world.members[key] = replace(facts, healthy=True, unhealthy_since=None)
            world.now += timedelta(seconds=20)

    @rule(number=st.integers(0, 7), healthy=st.booleans())
    def health(self, number: int, healthy: bool) -> None:
        key = f"prod/c{number}"
        if (facts := self.world.members.get(key)) and facts.hold in (Hold.Forward, Hold.Back):
            self.world.members[key] = replace(facts, healthy=healthy, unhealthy_since=None if healthy else self.world.now)

    @rule(seconds=st.sampled_from([1, 30, 61, 900, 1801, -30, -3600]))
    def clock(self, seconds: int) -> None:
        self.world.now += timedelta(seconds=seconds)

    @rule(order=st.sampled_from([Order.Go, Order.Go, Order.Go, Order.Pause, Order.Pause, Order.Abort, Order.Undo]))
    def edit(self, order: Order) -> None:
        self.world.order = order

    @rule(verdict=st.sampled_from([PASS, PASS, HOLD, FAIL]), breaker=st.sampled_from(["", "", "open"]), is_open=st.booleans())
    def surroundings(self, verdict: Verdict, breaker: str, is_open: bool) -> None:
        self.world.verdict, self.world.breaker, self.world.window = verdict, breaker, WindowState(is_open)

    @precondition(lambda self: self.world.order != Order.Pause)
    @rule()
    def rollback_is_always_reachable(self) -> None:
        """From here, in a copy: an order to undo takes everything back when members can come up."""
        world = self.world
        copy = World(world.made, world.plan, dict(world.members), list(world.records), world.now, FAIL, WindowState(False), "open")
        copy.members = {key: replace(facts, healthy=True) for key, facts in copy.members.items()}
        copy.order = Order.Undo
        copy.run_to_end()
        assert copy.records[-1].event == Event.Ended
        assert not copy.changed()

    @invariant()
    def an_end_is_an_end(self) -> None:
        if self.world.outcome in (Outcome.Bad, Outcome.Aborted, Outcome.Undone):
            assert not self.world.changed()


TestRolloutMachine = RolloutMachine.TestCase
TestRolloutMachine.settings = settings(max_examples=50, stateful_step_count=40, deadline=None)
