"""Requests, ends, sickness, storms, failed rollouts, closes and clocks that jump, in any order: never more than any budget says, by a count of its own.

What is checked is counted anew from everything that was ever granted, not from the Ledger that the evaluation keeps.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from operators.api.budgets import Close, OperationBudget, Per
from operators.api.risk import Breaker, BreakerCause, BreakerPhase, LedgerSpec, Operation, Outcome, Purpose, Target
from operators.domain.risk.bookkeeping import latest, without
from operators.domain.risk.breaker_sweep import swept
from operators.domain.risk.decide import Ask, Denied, Granted, decide
from operators.domain.risk.facts import Facts, Member
from operators.domain.risk.identity import EntryKey, at, key_of
from operators.domain.risk.scopes import ClusterId
from operators.domain.risk.verdicts import Causes, FailVerdict, Reached
from tests.unit.operators.domain.risk.builders import NOON, budget

HOSTS = {
    name: Target(kind="Machine", name=name, cluster="demo", pool=pool, zone=zone)
    for name, pool, zone in [("a", "p", "x"), ("b", "p", "x"), ("c", "p", "y"), ("d", "q", "y"), ("e", "q", ""), ("f", "q", "")]
}
OPERATIONS = (Operation.Drain, Operation.Reboot, Operation.DeleteMachine)
PLACES: dict[Per, Callable[[Target], str]] = {
    Per.Fleet: lambda target: "",
    Per.Cluster: lambda target: target.cluster,
    Per.FailureDomain: lambda target: target.zone,
    Per.Pool: lambda target: target.pool,
}


@dataclass(frozen=True)
class Done:
    """One operation that was granted."""

    operation: Operation
    target: Target
    purpose: Purpose
    at: datetime


def limits() -> st.SearchStrategy[dict[str, Any]]:
    rate = st.fixed_dictionaries({"count": st.integers(0, 4), "windowSeconds": st.sampled_from([60, 600])})
    percent = st.fixed_dictionaries({"percent": st.sampled_from([0, 34, 50, 100]), "floor": st.integers(0, 1)})
    count = st.fixed_dictionaries({"count": st.integers(0, 3)})
    return st.fixed_dictionaries({"rate": rate, "concurrency": st.one_of(percent, count)})


BUDGETS = st.lists(
    st.builds(
        lambda per, limit, operations, trips: (per, limit, operations, trips),
        st.sampled_from(list(Per)),
        limits(),
        st.lists(st.sampled_from(OPERATIONS), min_size=1, unique=True),
        st.booleans(),
    ),
    min_size=1,
    max_size=3,
)
KEPT = 1
"""Kept for rollbacks on top of either limit: these need no room in what is everybody's."""
RESERVE = {"rollback": {"rate": KEPT, "concurrency": KEPT}}


class Evaluation(RuleBasedStateMachine):
    """One Ledger, changed only by what `decide` and `without` give back."""

    @initialize(wanted=BUDGETS)
    def begin(self, wanted: list[Any]) -> None:
        self.ledger, self.clock, self.number = LedgerSpec(), NOON, 0
        self.sick: set[str] = set()
        self.lost: dict[str, datetime] = {}
        self.verdicts: list[FailVerdict] = []
        self.opened: set[tuple[str, str, str, str]] = set()
        self.done: list[Done] = []
        self.edit(wanted)

    def edit(self, wanted: list[Any]) -> None:
        self.budgets: list[OperationBudget] = [
            budget(f"b{n}", per, operations=operations, reserve=RESERVE, onExceed="TripBreaker" if trips else "Deny", **limit)
            for n, (per, limit, operations, trips) in enumerate(wanted)
        ]

    def facts(self) -> Facts:
        own = ClusterId("demo", "demo")
        members = tuple(Member(own, target, "sick" if name in self.sick else "", self.lost.get(name)) for name, target in HOSTS.items())
        return Facts(tuple(self.budgets), members=members, sees_losses=True)

    @rule(host=st.sampled_from(sorted(HOSTS)), operation=st.sampled_from(OPERATIONS), back=st.booleans())
    def ask(self, host: str, operation: Operation, back: bool) -> None:
        self.number += 1
        purpose = Purpose.Rollback if back else Purpose.Forward
        request = Ask(EntryKey("demo", f"op-{self.number}"), operation.value, HOSTS[host], "machine-operator/demo", 0, 900, purpose)
        verdict = decide(request, self.ledger, self.facts(), self.clock)
        if isinstance(verdict, Denied):
            self.ledger = verdict.ledger or self.ledger
            assert verdict.message
            return
        assert isinstance(verdict, Granted)
        before, self.ledger = self.ledger, verdict.ledger
        assert any(operation in each.spec.operations for each in self.budgets), "no budget is about it"
        assert decide(request, self.ledger, Facts(), self.clock) == Granted(verdict.entry, True, self.ledger), "asked twice"
        self.done.append(Done(operation, HOSTS[host], purpose, at(self.ledger.time or "")))
        for each in self.budgets:
            if operation in each.spec.operations:
                self.check(each, before)

    def check(self, of: OperationBudget, before: LedgerSpec) -> None:
        """By a count of its own, right after a grant."""
        last, spec, place = self.done[-1], of.spec, PLACES[of.spec.scope.per]
        back = last.purpose is Purpose.Rollback
        assert spec.rate
        window = timedelta(seconds=spec.rate.window_seconds)
        same = [each for each in self.done if each.operation in spec.operations and place(each.target) == place(last.target)]
        recent = [each for each in same if last.at - each.at < window]
        rolled_back = sum(each.purpose is Purpose.Rollback for each in recent)
        assert len(recent) <= spec.rate.count + min(KEPT, rolled_back) or (back and rolled_back <= KEPT), (of, recent)
        counted = [entry for entry in self.ledger.in_flight if entry.operation in spec.operations]
        held = {entry.target.name for entry in counted}
        out = {name for name in held | self.sick | {last.target.name} if place(HOSTS[name]) == place(last.target)}
        rolled = {entry.target.name for entry in counted if entry.purpose is Purpose.Rollback} & out
        # a target that is held for both may count as either: what is kept for rollbacks is free then
        only = rolled - {entry.target.name for entry in counted if entry.purpose is not Purpose.Rollback}
        assert len(out) <= self.most(of, last.target) + min(KEPT, len(rolled)) or (back and len(only) <= KEPT), (of, out)
        if not back:
            phases = {
                each.phase
                for each in before.breakers
                if each.budget == of.metadata.name and each.scope in self.scopes(of) and not self.is_closed(of, each)
            }
            assert BreakerPhase.Open not in phases or any(each.probe for each in self.ledger.breakers), (
                "went forward through an open breaker"
            )

    def is_closed(self, of: OperationBudget, breaker: Breaker) -> bool:
        """Whether a person has closed what opened it."""
        close = of.spec.close
        return close is not None and at(breaker.opened_at) <= at(close.at)

    def scopes(self, of: OperationBudget) -> set[str]:
        target = self.done[-1].target
        zone = f"zone {target.zone or '(none)'} of cluster demo/demo"
        return {
            {Per.Fleet: "the fleet", Per.Cluster: "cluster demo/demo", Per.FailureDomain: zone, Per.Pool: f"pool demo/{target.pool}"}[
                of.spec.scope.per
            ]
        }

    def most(self, of: OperationBudget, target: Target) -> int:
        concurrency, place = of.spec.concurrency, PLACES[of.spec.scope.per]
        assert concurrency
        if concurrency.percent is None:
            return concurrency.count or 0
        total = 0 if of.spec.scope.per is Per.Fleet else sum(place(each) == place(target) for each in HOSTS.values())
        return max(total * concurrency.percent // 100, concurrency.floor)

    @rule(data=st.data(), outcome=st.sampled_from([None, *Outcome]), stays_sick=st.booleans())
    def settle(self, data: st.DataObject, outcome: Outcome | None, stays_sick: bool) -> None:
        if not self.ledger.in_flight:
            return
        entry = data.draw(st.sampled_from(self.ledger.in_flight))
        if stays_sick:
            self.sick.add(entry.target.name)
        key = key_of(entry)
        self.ledger = without(self.ledger, [key], {key: outcome} if outcome else {})

    @rule(host=st.sampled_from(sorted(HOSTS)), sick=st.booleans())
    def change_health(self, host: str, sick: bool) -> None:
        (self.sick.add if sick else self.sick.discard)(host)

    @rule(seconds=st.sampled_from([-100000, -600, -1, 0.4, 1, 30, 61, 601, 90000]))
    def step_clock(self, seconds: float) -> None:
        self.clock += timedelta(seconds=seconds)

    @rule()
    def sweep(self) -> None:
        self.ledger = swept(self.ledger, tuple(self.budgets), self.clock, Causes(tuple(self.verdicts)))
        for each in self.ledger.breakers:
            if each.cause is BreakerCause.Verdict and each.phase is BreakerPhase.Open and "probe" not in each.reason:
                self.opened.add((each.budget, each.scope, each.origin, each.opened_at))
        names = [(budget, scope, origin) for budget, scope, origin, _ in self.opened]
        assert len(names) == len(set(names)), "a verdict opened one breaker twice"
        for of in self.budgets:
            shut = [each for each in self.ledger.breakers if each.budget == of.metadata.name and self.is_closed(of, each)]
            assert not [each for each in shut if each.phase is not BreakerPhase.Closed], "a person had closed it"
        for each in self.ledger.breakers:
            if each.phase is BreakerPhase.HalfOpen and each.probe:
                (of,) = [one for one in self.budgets if one.metadata.name == each.budget]
                began = next((at(one.at) for one in self.ledger.log if one.op_id == each.probe), at(each.since))
                waited = latest(self.ledger, self.clock) - began
                assert waited < timedelta(seconds=of.spec.breaker.probe_seconds), f"a probe outlived its deadline: {each}"
        again = swept(self.ledger, tuple(self.budgets), self.clock, Causes(tuple(self.verdicts)))
        assert again == self.ledger, "a second look changes nothing"

    @rule(host=st.sampled_from(sorted(HOSTS)), operation=st.sampled_from(OPERATIONS))
    def fail_a_rollout(self, host: str, operation: Operation) -> None:
        """Of that host's pool; every budget below the fleet that is about it opens."""
        self.clock = latest(self.ledger, self.clock) + timedelta(seconds=2)
        number, own = len(self.verdicts), ClusterId("demo", "demo")
        verdict = FailVerdict(f"u-{number}/", f"r-{number}", "v2", "no pods", self.clock, operation, (Reached(own, HOSTS[host].pool),), 1)
        self.verdicts.append(verdict)
        self.sweep()
        for of in self.budgets:
            opens = operation in of.spec.operations and of.spec.scope.per in (Per.Pool, Per.Cluster)
            held = [each for each in self.ledger.breakers if (each.budget, each.origin) == (of.metadata.name, verdict.id)]
            assert [each.phase for each in held] == ([BreakerPhase.Open] if opens else []), (of, held)

    @rule(data=st.data(), lift=st.booleans())
    def end_a_rollout(self, data: st.DataObject, lift: bool) -> None:
        if self.verdicts:
            number = data.draw(st.integers(0, len(self.verdicts) - 1))
            self.verdicts[number] = replace(self.verdicts[number], is_over=True, is_lifted=self.verdicts[number].is_lifted or lift)

    @rule(host=st.sampled_from(sorted(HOSTS)), lost=st.booleans())
    def lose(self, host: str, lost: bool) -> None:
        if lost:
            self.lost.setdefault(host, self.clock)
        else:
            self.lost.pop(host, None)

    @rule(data=st.data())
    def close(self, data: st.DataObject) -> None:
        """As `kok budget close` does."""
        found = [each for each in self.ledger.breakers if each.phase is not BreakerPhase.Closed]
        if found:
            breaker = data.draw(st.sampled_from(found))
            word = Close(at=breaker.opened_at, reason="seen")
            closed = [each.model_copy(update={"spec": each.spec.model_copy(update={"close": word})}) for each in self.budgets]
            self.budgets = [new if new.metadata.name == breaker.budget else old for new, old in zip(closed, self.budgets, strict=True)]
            self.clock = latest(self.ledger, self.clock)
            self.sweep()


TestEvaluation = Evaluation.TestCase
TestEvaluation.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate]
)


@pytest.mark.parametrize("forgets", [False, True])
def test_should_find_a_verdict_that_is_taken_twice(forgets: bool) -> None:
    """The positive control: a Ledger that does not remember what was taken."""
    run = Evaluation()
    run.begin([(Per.Pool, {"rate": {"count": 9, "windowSeconds": 60}, "concurrency": {"count": 1}}, list(OPERATIONS), False)])
    run.fail_a_rollout("a", Operation.Drain)
    run.step_clock(30)
    if forgets:
        run.ledger = run.ledger.model_copy(update={"verdicts": ()})
    with pytest.raises(AssertionError, match="twice") if forgets else nullcontext():
        run.sweep()
    run.teardown()


@pytest.mark.parametrize("limit", ["rate_refusal", "concurrency_refusal"])
@pytest.mark.parametrize("broken", [False, True])
def test_should_find_what_is_too_much_when_a_limit_is_left_out(limit: str, broken: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The positive control."""
    if broken:
        monkeypatch.setattr(f"operators.domain.risk.decide.{limit}", lambda weighed: None)
    run = Evaluation()
    narrow = {"rate_refusal": {"count": 3}, "concurrency_refusal": {"count": 1}}[limit]
    rate = {"count": 2, "windowSeconds": 60} if limit == "rate_refusal" else {"count": 900, "windowSeconds": 60}
    run.begin([(Per.Fleet, {"rate": rate, "concurrency": narrow}, list(OPERATIONS), False)])
    with pytest.raises(AssertionError) if broken else nullcontext():
        for host in ("a", "b", "c"):
            run.ask(host, Operation.Drain, back=False)
            run.step_clock(1)
    run.teardown()


@pytest.mark.parametrize("broken", [False, True])
def test_should_find_a_half_open_breaker_that_outlives_its_deadline(broken: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The positive control: a probe that is waited for without end."""
    if broken:
        monkeypatch.setattr("operators.domain.risk.breaker._probed", lambda weighed, found: found)
    run = Evaluation()
    run.begin([(Per.Pool, {"rate": {"count": 9, "windowSeconds": 60}, "concurrency": {"count": 3}}, list(OPERATIONS), False)])
    run.fail_a_rollout("a", Operation.Drain)
    run.verdicts = [replace(each, is_over=True) for each in run.verdicts]
    for _ in range(2):
        run.sweep()
        run.step_clock(601)
    run.sweep()
    assert [each.phase for each in run.ledger.breakers] == [BreakerPhase.HalfOpen]
    run.ask("a", Operation.Drain, back=False)
    assert run.ledger.breakers[0].probe
    run.step_clock(90000)
    with pytest.raises(AssertionError, match="outlived its deadline") if broken else nullcontext():
        run.sweep()
    run.teardown()
