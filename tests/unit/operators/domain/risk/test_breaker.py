"""The breaker: what opens it, what keeps it open, its probes, what a person says; and that it never blocks the way back."""

from __future__ import annotations

from typing import Any

import pytest

from operators.api.budgets import OperationBudget
from operators.api.risk import Breaker, BreakerPhase, LedgerSpec, Outcome, Purpose
from operators.domain.risk.breaker_sweep import swept, transitions
from operators.domain.risk.decide import Denied, Granted, Verdict, decide
from operators.domain.risk.identity import stamp
from tests.unit.operators.domain.risk.builders import ask, budget, entry, facts, later, ledger, machine, spent

SCOPE = "pool demo/workers"
RULE = {"coolDownSeconds": 600, "failurePercent": 50, "minimumSamples": 4, "probeSeconds": 300}


def strict(**spec: Any) -> OperationBudget:
    wanted: dict[str, Any] = {"rate": {"count": 6, "windowSeconds": 100}, "onExceed": "TripBreaker", "breaker": RULE}
    return budget(**(wanted | spec))


def breaker(phase: BreakerPhase = BreakerPhase.Open, seconds: float = 0, **changes: Any) -> Breaker:
    fields: dict[str, Any] = {"budget": "one", "scope": SCOPE, "cool_down_seconds": 600, "reason": "a test"}
    return Breaker(phase=phase, since=stamp(later(seconds)), **(fields | changes))


def decided(held: LedgerSpec, seconds: float, *, of: OperationBudget | None = None, **request: Any) -> Verdict:
    return decide(ask("new", **request), held, facts(of or strict()), later(seconds))


def ended(*outcomes: Outcome | None, first: int = 0) -> tuple[Any, ...]:
    """One after the other, each of a machine of its own."""
    return tuple(
        spent(f"op-{first + number}", first + number, machine(f"m{first + number}"), outcome=each) for number, each in enumerate(outcomes)
    )


def test_should_open_when_somebody_tries_to_exceed_and_deny_the_next_ones() -> None:
    full = ledger(log=ended(*[Outcome.Succeeded] * 6))
    verdict = decided(full, 10)
    assert isinstance(verdict, Denied)
    assert verdict.ledger is not None
    (opened,) = verdict.ledger.breakers
    assert (opened.phase, opened.scope, opened.cool_down_seconds) == (BreakerPhase.Open, SCOPE, 600)
    assert opened.reason == "Drain of Machine a by machine-operator/demo exceeded its rate"
    later_on = decided(verdict.ledger, 200)
    assert isinstance(later_on, Denied)
    assert "says no by its breaker in pool demo/workers: open since" in later_on.message
    calm = decided(full, 10, of=strict(onExceed="Deny"))
    assert isinstance(calm, Denied)
    assert calm.ledger is None, "without TripBreaker it only denies"


@pytest.mark.parametrize(("bad", "others", "opens"), [(1, 6, False), (1, 0, False), (8, 0, True)])
def test_should_count_a_target_that_fails_again_and_again_as_one(bad: int, others: int, opens: bool) -> None:
    """One host that is tried with growing pauses is no reason to stop everybody, even if it is all there is; the control: they are many."""
    again = tuple(spent(f"again-{number}", number, machine(f"bad-{number % bad}"), outcome=Outcome.Failed) for number in range(8))
    held = ledger(log=(*again, *ended(*[Outcome.Succeeded] * others, first=10)))
    verdict = decided(held, 20, of=strict(rate={"count": 100, "windowSeconds": 100}))
    assert isinstance(verdict, Denied) == opens, verdict


@pytest.mark.parametrize("failing", [("blue",), ("blue", "green")])
def test_should_not_freeze_the_fleet_for_the_trouble_of_one_cluster(failing: tuple[str, ...]) -> None:
    clusters = ("blue", "green", "red")
    made = [
        spent(
            f"{name}-{number}",
            number,
            machine(f"{name}-{number}", cluster=name),
            namespace=name,
            outcome=Outcome.Failed if name in failing else Outcome.Succeeded,
        )
        for number in range(4 if len(failing) == 1 else 2)
        for name in clusters
    ]
    wide = strict(
        rate={"count": 100, "windowSeconds": 100}, scope={"per": "Fleet", "clusters": {"all": True}}, breaker={**RULE, "failurePercent": 30}
    )
    verdict = decided(ledger(log=tuple(made)), 20, of=wide)
    assert isinstance(verdict, Denied) == (len(failing) == 2), verdict


@pytest.mark.parametrize(
    ("outcomes", "opens"),
    [
        ([Outcome.Failed] * 3, False),
        ([Outcome.Failed] * 2 + [Outcome.Succeeded] * 2, True),
        ([Outcome.Failed] + [Outcome.Succeeded] * 3, False),
        ([Outcome.Failed] * 2 + [Outcome.Cancelled] * 2, False),
        ([Outcome.Failed] * 2 + [None] * 3, False),
    ],
)
def test_should_open_on_too_many_failures_of_enough_samples(outcomes: list[Outcome | None], opens: bool) -> None:
    held = ledger(log=ended(*outcomes))
    verdict = decided(held, 10, of=strict(rate={"count": 100, "windowSeconds": 100}))
    assert isinstance(verdict, Denied) == opens, verdict
    if isinstance(verdict, Denied):
        assert "the last operation of 2 of 4 targets failed, lately Drain of Machine m1" in verdict.message
        assert verdict.ledger is not None
    after = swept(held, (strict(),), later(10))
    assert [each.phase for each in after.breakers] == ([BreakerPhase.Open] if opens else [])
    assert [words.partition(": ")[0] for _, words in transitions(held, after)] == (
        [f"the breaker of {SCOPE} is Open since {stamp(later(10))}"] if opens else []
    )


@pytest.mark.parametrize("purpose", [Purpose.Rollback, Purpose.Repair])
def test_should_never_block_rollback_and_repair(purpose: Purpose) -> None:
    frozen = strict(hold={"mode": "ForcedOpen", "reason": "a person", "until": "2030-01-01T00:00:00Z"})
    for of in (strict(), frozen):
        assert isinstance(decided(ledger(breakers=(breaker(),)), 10, of=of), Denied)
        assert isinstance(decided(ledger(breakers=(breaker(),)), 10, of=of, purpose=purpose), Granted)


def test_should_half_open_after_the_cool_down_and_only_below_the_lower_threshold() -> None:
    busy = ended(*[Outcome.Succeeded] * 4, first=500)
    held = ledger(breakers=(breaker(),), log=busy)
    assert isinstance(decided(held, 599), Denied)
    assert isinstance(decided(held, 601), Denied), "4 of 6 in the window is above half"
    assert isinstance(decided(held, 605), Denied), "it was above half a minute ago"
    verdict = decided(held, 700)
    assert isinstance(verdict, Granted)
    (half,) = verdict.ledger.breakers
    assert (half.phase, half.probe) == (BreakerPhase.HalfOpen, "new")


def probed(outcome: Outcome | None, seconds: float = 10, *, in_flight: bool = False) -> LedgerSpec:
    held = ledger(
        *([entry("probe", machine("p"), granted_at=stamp(later(0)))] if in_flight else []),
        breakers=(breaker(BreakerPhase.HalfOpen, probe="probe"),),
        log=(spent("probe", 0, outcome=outcome),),
    )
    return swept(held, (strict(rate={"count": 6, "windowSeconds": 3600}),), later(seconds))


def test_should_probe_strictly_one_at_a_time() -> None:
    held = ledger(entry("probe", machine("p", "gpu")), breakers=(breaker(BreakerPhase.HalfOpen, probe="probe"),), log=(spent("probe"),))
    verdict = decided(held, 10)
    assert isinstance(verdict, Denied)
    assert "half open, and probe is tried first; one at a time" in verdict.message


def test_should_close_when_the_probe_succeeded_and_forget_what_was_before() -> None:
    (closed,) = probed(Outcome.Succeeded).breakers
    assert (closed.phase, closed.probe) == (BreakerPhase.Closed, "")
    failed_before = ledger(breakers=(breaker(BreakerPhase.Closed, seconds=50),), log=ended(*[Outcome.Failed] * 4))
    assert isinstance(decided(failed_before, 60), Granted)
    assert swept(failed_before, (strict(),), later(649)).breakers != ()
    assert swept(failed_before, (strict(),), later(650)).breakers == (), "no window holds what was before"


@pytest.mark.parametrize(
    ("outcome", "seconds", "in_flight", "why"),
    [
        (Outcome.Failed, 10, False, "its probe probe failed"),
        (None, 301, True, "its probe probe did not succeed in time"),
        (None, 10, False, "its probe probe was never reported"),
    ],
)
def test_should_open_again_with_a_doubled_cool_down(outcome: Outcome | None, seconds: float, in_flight: bool, why: str) -> None:
    (opened,) = probed(outcome, seconds, in_flight=in_flight).breakers
    assert (opened.phase, opened.cool_down_seconds, opened.reason) == (BreakerPhase.Open, 1200, why)


def test_should_wait_for_a_probe_in_time_and_take_another_when_it_was_cancelled() -> None:
    (waiting,) = probed(None, 10, in_flight=True).breakers
    assert (waiting.phase, waiting.probe) == (BreakerPhase.HalfOpen, "probe")
    (free,) = probed(Outcome.Cancelled).breakers
    assert (free.phase, free.probe) == (BreakerPhase.HalfOpen, "")


def test_should_obey_a_person_until_the_hold_ends() -> None:
    until = stamp(later(100))
    frozen = strict(hold={"mode": "ForcedOpen", "reason": "incident 42", "until": until, "by": "jane"})
    verdict = decided(ledger(), 99, of=frozen)
    assert isinstance(verdict, Denied)
    assert (
        f"says no by its hold in pool demo/workers: it is frozen until {until} by jane: incident 42; kok budget unfreeze one"
        in verdict.message
    )
    assert isinstance(decided(ledger(), 100, of=frozen), Granted)
    disabled = strict(hold={"mode": "Disabled", "reason": "a test", "until": until})
    full = ledger(log=ended(*[Outcome.Failed] * 6))
    verdict = decided(full, 50, of=disabled)
    assert isinstance(verdict, Denied)
    assert [each.limit for each in verdict.refusals] == ["rate"], "its limits still hold"
    assert verdict.ledger is None


def test_should_obey_a_person_only_where_the_hold_is_meant() -> None:
    def frozen(*scopes: str) -> OperationBudget:
        return strict(hold={"mode": "ForcedOpen", "reason": "incident 42", "until": stamp(later(100)), "scopes": list(scopes)})

    denied = decided(ledger(), 10, of=frozen(SCOPE, "pool demo/other"))
    assert isinstance(denied, Denied)
    assert f"by its hold in {SCOPE}" in denied.message
    assert isinstance(decided(ledger(), 10, of=frozen("pool demo/other")), Granted)
    assert isinstance(decided(ledger(), 10, of=frozen()), Denied), "without scopes it is meant everywhere"
    assert isinstance(decided(ledger(), 10, of=frozen("demo/other")), Denied), "and where nobody understands what is meant"


def test_should_forget_breakers_of_budgets_that_are_gone_and_change_nothing_otherwise() -> None:
    held = ledger(breakers=(breaker(), breaker(budget="gone")))
    after = swept(held, (strict(),), later(10))
    assert [each.budget for each in after.breakers] == ["one"]
    assert swept(after, (strict(),), later(20)) is after
