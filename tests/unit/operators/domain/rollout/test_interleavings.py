"""What must hold of a rollout in any interleaving of passes, crashes, clock steps, edits, sick members and outsiders."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from enum import StrEnum

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from operators.api.rollout import Order
from operators.domain.rollout import state
from operators.domain.rollout.state import StageWork, next_step
from operators.domain.rollout.story import Event, Outcome
from operators.domain.rollout.verdict import Verdict
from operators.domain.rollout.view import Authorise, GoBack, Hold, Note, RolloutView
from operators.domain.rollout.windows import WindowState
from tests.unit.operators.domain.rollout.builders import FAIL, HOLD, OLD, PASS, rollout
from tests.unit.operators.domain.rollout.world import OPEN, World


class Dies(StrEnum):
    """When the process of a pass does."""

    Never = "never"
    Before = "before it acts"
    BesideTheNote = "between a mark and its note"


class RolloutMachine(RuleBasedStateMachine):
    """Any interleaving of passes, crashes, clock steps, edits, sick members and outsiders."""

    on_fail = "Rollback"
    of_domain, domains_at_once = 1, 2
    back_at_once = 2

    def __init__(self) -> None:
        super().__init__()
        limit = {"label": "zone", "maxParallel": self.of_domain, "atOnce": self.domains_at_once}
        self.world = World.of(rollout(perDomain=limit, onFail=self.on_fail, undo={"maxParallel": self.back_at_once}), 8)
        self.world.heals = False
        self.authorised: list[str] = []

    @rule(dies=st.sampled_from(Dies))
    def one_pass(self, dies: Dies = Dies.Never) -> None:
        world = self.world
        view = world.view()
        step = next_step(view)
        assert next_step(world.view()) == step, "the same world leads to the same step"
        if isinstance(step, Authorise):
            self.check_forward(view, step)
        if isinstance(step, GoBack):
            assert world.members[step.key].hold == Hold.Forward
            assert step.to == OLD
            coming = [key for key, facts in world.members.items() if facts.hold == Hold.Back and not facts.healthy]
            is_going_back = any(record.event == Event.GoingBack for record in view.records)
            self.check_limits(step.key, coming, self.back_at_once if is_going_back else 2)
            accepted = "harm" in view.spec.accepted_failures
            assert not (is_going_back and (view.worse or view.story.harm)) or accepted, (
                "nobody goes back where that makes it worse, or made"
            )
        if isinstance(step, Note) and step.record.event == Event.Ended:
            coming = [key for key, facts in world.members.items() if facts.hold == Hold.Back and not facts.healthy]
            assert not coming, "an end is told when everybody has arrived"
            following = [key for key, facts in world.members.items() if facts.hold == Hold.Back and facts.following]
            is_accepted = "rollback" in view.spec.accepted_failures or step.record.outcome is Outcome.Good
            assert not following or is_accepted, "nor before the hosts have that follow"
        if isinstance(step, Note) and step.record.event == Event.StageHealthy and step.record.stage not in view.spec.accepted_failures:
            left = [key for key in self.in_stage(step.record.stage)[1] if self.follows(key)]
            assert not left, "a stage is changed when the hosts that follow are"
        if dies is Dies.BesideTheNote and isinstance(step, Note):
            world.mark(step.record)
        if dies is Dies.Never:
            world.do(step)
            if isinstance(step, Authorise):
                self.authorised.append(step.key)

    def check_forward(self, view: RolloutView, step: Authorise) -> None:
        """What must hold whenever something new is started."""
        assert not view.breaker
        assert view.window.is_open
        assert view.spec.order == Order.Go
        stage = self.in_stage(step.key)[0]
        bad = view.verdict in (FAIL, HOLD) and stage not in view.spec.accepted_failures
        assert not bad or not self.in_stage(step.key)[1], "nothing new after a bad sample, nor without numbers"
        assert not view.marked_stages, "nothing new while the version is marked bad"
        assert not any(record.event in (Event.GoingBack, Event.Ended) for record in view.records)
        assert step.key not in self.authorised, "nobody is touched twice"
        touched = self.in_stage(step.key)[1]
        passed = {record.stage for record in view.records if record.event == Event.StagePassed}
        assert all(name in passed for name in ["canary", "half", "rest"][: ["canary", "half", "rest"].index(stage)])
        busy = [
            key
            for key in touched
            if not self.world.members[key].healthy or (self.follows(key) and stage not in view.spec.accepted_failures)
        ]
        self.check_limits(step.key, busy, {"canary": 1, "half": 2, "rest": 2}[stage])

    def check_limits(self, key: str, busy: list[str], limit: int) -> None:
        """Slots and failure domains: forward and back."""
        domains = {member.key: member.domain for member in self.world.plan.members}
        assert len(busy) < limit
        assert [domains[each] for each in busy].count(domains[key]) < self.of_domain
        assert len({domains[each] for each in (*busy, key)}) <= self.domains_at_once

    def in_stage(self, key: str) -> tuple[str, list[str]]:
        """Stage of a member, and who was changed in it."""
        stage = next(each for each in self.world.plan.stages if key == each.name or any(member.key == key for member in each.members))
        return stage.name, [m.key for m in stage.members if m.key in self.world.members and self.world.members[m.key].hold != Hold.Free]

    def follows(self, key: str) -> bool:
        """Whether its hosts are still on their way forward."""
        facts = self.world.members[key]
        return facts.hold == Hold.Forward and bool(facts.following)

    @rule()
    def good_times(self) -> None:
        """All is well until the stage in hand is passed, so that later stages are reached."""
        world = self.world
        if world.records and world.records[-1].event in (Event.GoingBack, Event.Ended):
            return
        world.order, world.verdict, world.breaker, world.window = Order.Go, PASS, "", OPEN
        for _ in range(40):
            self.one_pass()
            if world.records[-1].event in (Event.StagePassed, Event.GoingBack, Event.Ended):
                return
            for key, facts in world.members.items():
                world.members[key] = replace(facts, healthy=True, unhealthy_since=None, following="")
            world.now += timedelta(seconds=20)

    @rule(number=st.integers(0, 7), healthy=st.booleans(), following=st.sampled_from(["", "pool workers"]))
    def health(self, number: int, healthy: bool, following: str) -> None:
        """Of a plane; the hosts that follow a healthy one may have the version, or not yet."""
        key = f"prod/c{number}"
        if (facts := self.world.members.get(key)) and facts.hold in (Hold.Forward, Hold.Back):
            since = None if healthy else self.world.now
            self.world.members[key] = replace(facts, healthy=healthy, unhealthy_since=since, following=following if healthy else "")

    @rule(gave_up=st.sampled_from(["", "", "m1 starts no kubelet"]))
    def hosts_follow(self, gave_up: str) -> None:
        """All that are on their way arrive, or one of the first member's fails."""
        for key, facts in self.world.members.items():
            if self.follows(key) and gave_up:
                self.world.members[key] = replace(facts, gave_up=gave_up)
                return
            self.world.members[key] = replace(facts, following="")

    @rule()
    def planes_are_back(self) -> None:
        """Of those that go back; the hosts of some are not."""
        for number, (key, facts) in enumerate(self.world.members.items()):
            if facts.hold == Hold.Back:
                self.world.members[key] = replace(facts, healthy=True, following="pool workers" if number % 2 == 0 else "")
        self.one_pass()

    @rule(seconds=st.sampled_from([1, 30, 61, 900, 1801, -30, -3600]))
    def clock(self, seconds: int) -> None:
        self.world.now += timedelta(seconds=seconds)

    @rule(order=st.sampled_from([Order.Go, Order.Go, Order.Go, Order.Pause, Order.Pause, Order.Abort, Order.Undo]))
    def edit(self, order: Order) -> None:
        self.world.order = order

    @rule(verdict=st.sampled_from([PASS, PASS, HOLD, FAIL]), breaker=st.sampled_from(["", "", "open"]), is_open=st.booleans())
    def surroundings(self, verdict: Verdict, breaker: str, is_open: bool) -> None:
        self.world.verdict, self.world.breaker, self.world.window = verdict, breaker, WindowState(is_open)
        self.one_pass()

    @rule(verdict=st.sampled_from([PASS, HOLD]))
    def numbers_turn(self, verdict: Verdict) -> None:
        """Nothing else is in the way of the next member."""
        self.world.order, self.world.verdict, self.world.breaker, self.world.window = Order.Go, verdict, "", OPEN
        self.one_pass()

    @rule(worse=st.booleans(), accepted=st.booleans())
    def numbers_of_those_that_went_back(self, worse: bool, accepted: bool) -> None:
        """While it goes back, and otherwise nobody knows; a person says that it goes on all the same, or not."""
        self.world.worse = "pod creation 100.00% -> 40.00%" if worse else ""
        self.world.edits["accepted_failures"] = ("harm",) if accepted else ()
        self.one_pass()

    @rule()
    def rollback_is_always_reachable(self) -> None:
        """From here, in a copy: an order to undo takes everything back when members can come up."""
        world = self.world
        copy = World(world.made, world.plan, dict(world.members), list(world.records), world.now, FAIL, WindowState(False), "open")
        copy.marked = dict(world.marked)
        copy.members = {key: replace(facts, healthy=True, following="") for key, facts in copy.members.items()}
        copy.order = Order.Undo
        copy.edits["accepted_failures"] = ("harm",)  # what was stopped for harm goes on when a person says so
        copy.run_to_end()
        assert copy.records[-1].event == Event.Ended
        assert not copy.changed()

    @invariant()
    def an_end_is_an_end(self) -> None:
        if self.world.outcome in (Outcome.Bad, Outcome.Aborted, Outcome.Undone):
            assert not self.world.changed()


class PausingMachine(RolloutMachine):
    """The same with onFail: Pause, and a person who accepts failures before they are there, when they are, or never."""

    on_fail = "Pause"
    of_domain, domains_at_once = 2, 1
    back_at_once = 1

    @rule(stage=st.sampled_from(["canary", "half", "rest"]))
    def accept(self, stage: str) -> None:
        self.world.edits["accepted_failures"] = (*self.world.edits.get("accepted_failures", ()), stage)

    @invariant()
    def a_failure_leaves_a_mark_until_it_is_accepted(self) -> None:
        accepted = self.world.edits.get("accepted_failures", ())
        for each in self.world.records:
            assert each.event != Event.StageFailed or each.stage in self.world.marked or each.stage in accepted


TestPausingMachine = PausingMachine.TestCase
TestPausingMachine.settings = settings(max_examples=settings.default.max_examples // 4, stateful_step_count=40, deadline=None)
TestRolloutMachine = RolloutMachine.TestCase
TestRolloutMachine.settings = settings(max_examples=settings.default.max_examples // 2, stateful_step_count=40, deadline=None)


@pytest.mark.parametrize(
    ("machine", "rule_left_out", "instead"),
    [
        (RolloutMachine, "_domain_full", ""),
        (RolloutMachine, "_unclear", ""),
        (RolloutMachine, "_barred", ""),
        (RolloutMachine, "_closed", ""),
        (RolloutMachine, "_harm", ""),
        (RolloutMachine, "_owes", ""),
        (RolloutMachine, "_follower", ""),
        (PausingMachine, "_slots_back", 9),
    ],
)
def test_should_notice_a_state_machine_that_leaves_out_a_rule(
    machine: type[RolloutMachine], rule_left_out: str, instead: str | int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control of the machines above."""
    monkeypatch.setattr(state if hasattr(state, rule_left_out) else StageWork, rule_left_out, lambda *_: instead)
    quick = settings(max_examples=500, stateful_step_count=40, deadline=None, phases=[Phase.generate], derandomize=True)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(machine, settings=quick)
