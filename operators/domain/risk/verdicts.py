"""FAIL verdicts of rollouts: each opens, once, the breakers of the scopes that the failed change had reached, and of the operation that it was made of.

Pure; called by breaker_sweep. A verdict is what a rollout wrote down before it goes back or calls a person (cluster_operator/risk/causes.py reads it),
so it is not lost with a process; those that were taken stand in the Ledger, so none is taken twice, and what a person closed stays closed. One
cluster's trouble is not another's: in the fleet's scope one verdict opens nothing, unless the change had reached many clusters or the budget
says how many it takes. Why: docs/adr/0011.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from operators.api.budgets import HoldMode, OperationBudget, Per
from operators.api.risk import Breaker, BreakerCause, BreakerPhase, LedgerSpec, Operation, Purpose, Target
from operators.domain.risk.bookkeeping import with_breakers
from operators.domain.risk.breaker import Trip, breaker_of, close_of, closed, hold_of, tripped, with_calm
from operators.domain.risk.facts import Facts
from operators.domain.risk.identity import at
from operators.domain.risk.limits import PLAIN_WINDOW, Weighed
from operators.domain.risk.scopes import MACHINE, NOWHERE, ClusterId, Labels, Place, is_about, scope_of

LATEST = timedelta(days=1)
"""Who finds a verdict later than that opens nothing for it any more."""
MOST = 200
"""Verdicts that are looked at, the newest; the Ledger remembers as many."""
WIDE = 20
"""A change that failed after it had reached more clusters than this is the fleet's trouble, too."""
BREAKERS_ROOM = 900
"""No further scope gets a breaker then: the Ledger is one object."""


@dataclass(frozen=True, slots=True)
class Reached:
    """What a failed change had reached: a cluster, or one pool of it."""

    cluster: ClusterId
    pool: str = ""

    def place(self, operation: Operation) -> Place:
        """Where an operation on it counts."""
        if self.pool:
            target = Target(kind=MACHINE, name=self.pool, cluster=self.cluster.name, pool=self.pool)
        else:
            target = Target(kind="Cluster", name=self.cluster.name, cluster=self.cluster.name)
        return Place(operation.value, self.cluster, target)


@dataclass(frozen=True, slots=True)
class FailVerdict:
    """One rollout's FAIL. `count`: how many members it had reached, of which `reached` names at most some hundreds."""

    id: str
    """uid of the rollout/stage, the same whoever reads it."""
    rollout: str
    version: str
    why: str
    at: datetime
    operation: Operation
    reached: tuple[Reached, ...]
    count: int
    is_over: bool = False
    """Whether its rollout has come to its end: all is taken back."""
    is_lifted: bool = False
    """Whether a person said that the version was not to blame."""

    @property
    def words(self) -> str:
        """The sentence of the breakers that it opens."""
        names = [f"{each.cluster.namespace}/{each.pool}" if each.pool else str(each.cluster) for each in self.reached[:3]]
        more = f" and {self.count - len(names)} more" if self.count > len(names) else ""
        return f"rollout {self.rollout} found {self.version} bad, which it had brought to {', '.join(names)}{more}: {self.why}"


@dataclass(frozen=True, slots=True)
class Causes:
    """What opens breakers, or keeps them open, beside the Ledger itself; read right before a sweep."""

    verdicts: tuple[FailVerdict, ...] = ()
    labels: Mapping[ClusterId, Labels] = field(default_factory=dict)
    """Of every Cluster, for budgets that select by them; one that is not there matches."""


NO_CAUSES = Causes()


def with_verdicts(ledger: LedgerSpec, budgets: Iterable[OperationBudget], causes: Causes, now: datetime) -> LedgerSpec:
    """The Ledger with what new verdicts open, and all of them taken. In one write: a verdict that is taken has opened what it opens."""
    young = sorted((each for each in causes.verdicts if now - each.at < LATEST), key=lambda each: (each.at, each.id))[-MOST:]
    fresh = _fresh(ledger, young)
    for budget in budgets if fresh else ():
        ledger = _opened_by(ledger, budget, young, causes.labels, now)
    known = {each.id for each in young}
    taken = (*(each for each in ledger.verdicts if each in known), *(each.id for each in fresh))
    return ledger if taken == ledger.verdicts else ledger.model_copy(update={"verdicts": taken})


def _fresh(ledger: LedgerSpec, young: Iterable[FailVerdict]) -> list[FailVerdict]:
    return [each for each in young if each.id not in ledger.verdicts and not each.is_lifted]


def _opened_by(
    ledger: LedgerSpec, budget: OperationBudget, young: Sequence[FailVerdict], labels: Mapping[ClusterId, Labels], now: datetime
) -> LedgerSpec:
    """With the breakers of one budget."""
    fresh, scopes = _fresh(ledger, young), {each.id: scopes_of(budget, each, labels) for each in young}
    for scope in sorted({scope for each in fresh for scope in scopes[each.id]}):
        hold = hold_of(budget, now, scope)
        if hold and hold.mode is HoldMode.Disabled:
            continue
        about = [each for each in young if scope in scopes[each.id]]
        weighed = _weighed(budget, scope, ledger, now)
        news = [each for each in about if each in fresh and not _is_dealt_with(weighed, each)]
        if news and _are_enough(weighed, about, news) and (len(ledger.breakers) < BREAKERS_ROOM or _found(weighed)):
            trip = Trip(BreakerCause.Verdict, news[-1].words, origin=news[-1].id)
            ledger = with_breakers(ledger, {(budget.metadata.name, scope): tripped(weighed, trip)})
    return ledger


def scopes_of(budget: OperationBudget, verdict: FailVerdict, labels: Mapping[ClusterId, Labels]) -> frozenset[str]:
    """Scopes of a budget that the failed change had reached. Of a pool nobody wrote down the zones: no zone's breaker opens for it."""
    if budget.spec.scope.per is Per.FailureDomain:
        return frozenset()
    places = [each.place(verdict.operation) for each in verdict.reached]
    return frozenset(scope_of(budget.spec.scope.per, place) for place in places if is_about(budget, place, labels.get(place.cluster)))


def _are_enough(weighed: Weighed, about: Sequence[FailVerdict], news: Sequence[FailVerdict]) -> bool:
    """Whether the new ones, with those of the window that nobody closed, are as many as it takes."""
    spec = weighed.budget.spec
    wanted = spec.breaker.failed_rollouts
    if wanted == 0:
        return False
    if spec.scope.per is Per.Fleet and any(each.count > WIDE for each in news):
        return True
    if wanted is None:
        return spec.scope.per is not Per.Fleet
    return len([each for each in about if each in news or _counts(weighed, each)]) >= wanted


def _counts(weighed: Weighed, verdict: FailVerdict) -> bool:
    """Whether one that was taken before counts still: of the window, and of after the last close, a person's or the breaker's own."""
    rate, found = weighed.budget.spec.rate, _found(weighed)
    window = timedelta(seconds=rate.window_seconds if rate else PLAIN_WINDOW)
    is_before = found is not None and found.phase is BreakerPhase.Closed and verdict.at <= at(found.since)
    return not (verdict.is_lifted or is_before or weighed.now - verdict.at >= window or _is_dealt_with(weighed, verdict))


def _is_dealt_with(weighed: Weighed, verdict: FailVerdict) -> bool:
    """Whether a person's close was meant for it, too."""
    close = close_of(weighed.budget, weighed.scope, weighed.now)
    return close is not None and verdict.at <= at(close.at)


def judged(weighed: Weighed, breaker: Breaker, causes: Causes) -> Breaker:
    """An open breaker by the verdict that opened it: calm once its rollout has ended, closed once a person said that the version was not to blame."""
    if breaker.cause is not BreakerCause.Verdict or breaker.phase is not BreakerPhase.Open:
        return breaker
    origin = next((each for each in causes.verdicts if each.id == breaker.origin), None)
    if origin and origin.is_lifted:
        return closed(
            weighed, breaker, f"closed: a person said that {origin.version} was not to blame for the failure of rollout {origin.rollout}"
        )
    return with_calm(breaker, weighed.now, is_calm=origin is None or origin.is_over)


def with_judged(ledger: LedgerSpec, budgets: Iterable[OperationBudget], causes: Causes, now: datetime) -> LedgerSpec:
    """The Ledger with every breaker that a verdict opened as that verdict is by now."""
    known = {each.metadata.name: each for each in budgets}
    changed: dict[tuple[str, str], Breaker | None] = {
        (each.budget, each.scope): judged(_weighed(known[each.budget], each.scope, ledger, now), each, causes)
        for each in ledger.breakers
        if each.budget in known
    }
    return with_breakers(ledger, changed)


def _weighed(budget: OperationBudget, scope: str, ledger: LedgerSpec, now: datetime) -> Weighed:
    return Weighed(budget, scope, NOWHERE, Purpose.Forward, ledger, Facts(), now)


def _found(weighed: Weighed) -> Breaker | None:
    return breaker_of(weighed.budget.metadata.name, weighed.scope, weighed.ledger)
