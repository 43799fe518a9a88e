"""Members and records of one rollout, on which the tests carry out steps as the operator would."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from operators.api.rollout import FleetRollout, Order
from operators.domain.rollout.evidence import Baseline
from operators.domain.rollout.plan import FrozenPlan, PlannedMember
from operators.domain.rollout.state import next_step
from operators.domain.rollout.story import Event, Outcome, Record, record_of
from operators.domain.rollout.verdict import Counts, Verdict
from operators.domain.rollout.view import Authorise, GoBack, Hold, MemberFacts, Note, RolloutView, State, Step, Wait
from operators.domain.rollout.windows import WindowState
from tests.unit.operators.domain.rollout.builders import FAIL, HOLD, PASS, START, frozen, rollout, untouched

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
    marked: dict[str, str] = field(default_factory=dict)
    """Marks of failed stages, as the actor makes and lifts them beside their notes."""
    worse: str = ""
    """What the numbers say of going back."""
    heals: bool = True
    """Whether a changed member becomes healthy at once."""

    @classmethod
    def of(cls, made: FleetRollout, count: int = 6) -> World:
        plan = frozen(made, count)
        return cls(made, plan, {member.key: untouched() for member in plan.members})

    def view(self) -> RolloutView:
        spec = self.made.spec.model_copy(update={"order": self.order, **self.edits})
        view = RolloutView(
            spec,
            self.plan,
            tuple(self.records),
            dict(self.members),
            self.verdict,
            self.window,
            self.now,
            START,
            BASELINE,
            self.breaker,
            self.late,
        )
        return replace(
            view, marked_stages=dict(self.marked), bad_versions=frozenset({self.plan.to} if self.marked else ()), worse=self.worse
        )

    def mark(self, record: Record) -> None:
        """What stands beside a note, and before it."""
        if record.event == Event.StageFailed:
            self.marked[record.stage] = record.text
        elif record.event == Event.FailureAccepted:
            del self.marked[record.stage]

    def do(self, step: Step) -> None:
        match step:
            case Note(record=record):
                self.mark(record)
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


def sampled() -> Iterator[tuple[str, World]]:
    """A world in every state that a rollout can be in."""

    def at(name: str, **spec: Any) -> tuple[str, World]:
        return name, World.of(rollout(**spec))

    name, world = at("changing")
    world.heals = False
    world.run()
    yield name, world
    name, world = at("soaking")
    world.run()
    yield name, world
    for name, order in (("paused", Order.Pause), ("going back", Order.Abort)):
        world = World.of(rollout())
        world.run()
        world.order, world.heals = order, False
        world.run()
        yield name, world
    name, world = at("stuck while going back")
    world.run()
    world.order, world.heals = Order.Undo, False
    world.run()
    world.now += timedelta(days=1)
    yield name, world
    for name, later in (("holding", 61), ("holding for long", 7200)):
        world = World.of(rollout())
        world.verdict = HOLD
        world.run()
        world.now += timedelta(seconds=later)
        yield name, world
    name, world = at("failed, a person decides", onFail="Pause")
    world.run()
    world.verdict = FAIL
    world.run()
    yield name, world
    world = World.of(rollout({"name": "all", "rest": True, "approval": True}))
    yield "awaiting approval", world
    for name, verdict, order in (("good", PASS, Order.Go), ("bad", FAIL, Order.Go), ("aborted", PASS, Order.Abort)):
        world = World.of(rollout())
        world.run()
        world.verdict, world.order = verdict, order
        world.run_to_end()
        yield name, world
