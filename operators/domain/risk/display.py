"""What an OperationBudget shows: used and free per scope, who holds it, breakers, and whether it is in force. Pure; no decision reads it.

Called by cluster_operator/risk/budgets.py and `kok budget`. Targets that are out of service without a grant are seen when somebody asks.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from operators.api.base import Condition, ConditionStatus
from operators.api.budgets import Hold, OperationBudget, OperationBudgetStatus, ScopeUse
from operators.api.risk import BreakerPhase, InFlight, LedgerSpec, Purpose, Spent
from operators.domain.risk.bookkeeping import latest
from operators.domain.risk.breaker import breaker_of, hold_of, sentence_of
from operators.domain.risk.facts import Facts, FleetCluster
from operators.domain.risk.identity import stamp
from operators.domain.risk.limits import Weighed, holder_words, rate_refusal, running_window, target_of
from operators.domain.risk.scopes import NOWHERE, ClusterId, Labels, is_about, place_of, scope_of
from operators.errors import ErrorCode, KokError

SCOPES_SHOWN, HOLDERS_SHOWN = 20, 10
WORST = (BreakerPhase.Open, BreakerPhase.HalfOpen, BreakerPhase.Closed)
ClusterLabels = Mapping[ClusterId, Labels]


def budget_status(budget: OperationBudget, ledger: LedgerSpec | KokError, labels: ClusterLabels, now: datetime) -> dict[str, Any]:
    """The whole status. `labels`: of every Cluster, for budgets that select by them."""
    uses = () if isinstance(ledger, KokError) else scope_uses(budget, ledger, labels, now)
    busiest = uses[0] if uses else None
    status = OperationBudgetStatus(
        observed_generation=budget.metadata.generation,
        used=used_words(busiest),
        free=free_words(budget, busiest),
        breaker=breaker_words(budget, uses, now),
        scopes=uses[:SCOPES_SHOWN],
        scope_count=len(uses),
        conditions=_conditions(budget, ledger, now),
    )
    return status.model_dump(mode="json", by_alias=True, exclude_none=True)


def scope_uses(budget: OperationBudget, ledger: LedgerSpec, labels: ClusterLabels, now: datetime) -> tuple[ScopeUse, ...]:
    """Every scope that uses anything of it, the fullest first."""
    facts = Facts((budget,), fleet={cluster: FleetCluster(cluster, each, 0) for cluster, each in labels.items()})
    blank = Weighed(budget, "", NOWHERE, Purpose.Forward, ledger, facts, latest(ledger, now))
    uses = [use for scope, own in _by_scope(budget, ledger, facts).items() if (use := _use_of(replace(blank, scope=scope, ledger=own)))]
    return tuple(sorted(uses, key=lambda use: (-use.in_flight, -use.rate_used, use.scope)))


def _by_scope(budget: OperationBudget, ledger: LedgerSpec, facts: Facts) -> dict[str, LedgerSpec]:
    """For each scope the Ledger with its own entries only, so that many scopes cost no more than one."""

    def scope_at(entry: InFlight | Spent) -> str:
        place = place_of(entry)
        is_own = is_about(budget, place, facts.labels_of(place.cluster, NOWHERE.cluster))
        return scope_of(budget.spec.scope.per, place) if is_own else ""

    held, spent = defaultdict(list), defaultdict(list)
    for entry in ledger.in_flight:
        held[scope_at(entry)].append(entry)
    for each in ledger.log:
        spent[scope_at(each)].append(each)
    broken = {each.scope for each in ledger.breakers if each.budget == budget.metadata.name}
    scopes = ({*held, *spent} | broken) - {""}
    return {scope: ledger.model_copy(update={"in_flight": tuple(held[scope]), "log": tuple(spent[scope])}) for scope in scopes}


def _use_of(weighed: Weighed) -> ScopeUse | None:
    """None for a scope that uses nothing (any more)."""
    budget, scope, spent, held = weighed.budget, weighed.scope, weighed.spent(), weighed.holders()
    breaker = breaker_of(budget.metadata.name, scope, weighed.ledger)
    if not spent and not held and (breaker is None or breaker.phase is BreakerPhase.Closed):
        return None
    refusal, rate = rate_refusal(weighed), budget.spec.rate
    return ScopeUse(
        scope=scope,
        rate_used=len(spent),
        rate_limit=rate.count if rate else None,
        in_flight=len({target_of(each) for each in held}),
        concurrency_limit=_limit_of(weighed),
        holders=tuple(holder_words(each, weighed.now)[:1024] for each in held[:HOLDERS_SHOWN]),
        breaker=breaker.phase if breaker else None,
        breaker_reason=breaker.reason if breaker and breaker.phase is not BreakerPhase.Closed else "",
        free_at=stamp(refusal.free_at) if refusal and refusal.free_at else None,
    )


def _limit_of(weighed: Weighed) -> int | None:
    """A percentage is known while a window runs: nobody counts targets only to show them."""
    concurrency = weighed.budget.spec.concurrency
    if concurrency is None or concurrency.percent is None:
        return concurrency.count if concurrency else None
    window = running_window(weighed.budget, weighed.scope, weighed.ledger, weighed.now)
    if window is None:
        return None
    by_percent = max(window.targets * concurrency.percent // 100, concurrency.floor)
    return by_percent if concurrency.count is None else min(by_percent, concurrency.count)


def used_words(use: ScopeUse | None) -> str:
    """What a scope uses."""
    if use is None:
        return "nothing"
    rate = f"{use.rate_used} granted, " if use.rate_limit is not None else ""
    return f"{rate}{use.in_flight} at once"


def free_words(budget: OperationBudget, use: ScopeUse | None) -> str:
    """What is left in a scope; of one that uses nothing, everything."""
    rate, concurrency, words = budget.spec.rate, budget.spec.concurrency, []
    if rate:
        words.append(f"{max(0, rate.count - (use.rate_used if use else 0))}/{span_words(rate.window_seconds)}")
    if concurrency:
        limit = use.concurrency_limit if use else concurrency.count if concurrency.percent is None else None
        left = f"{concurrency.percent}%" if limit is None else str(max(0, limit - (use.in_flight if use else 0)))
        words.append(f"{left} at once")
    return ", ".join(words)


def span_words(seconds: int) -> str:
    """`h` for an hour, `2h`, `30m`, `45s`."""
    for length, letter in ((3600, "h"), (60, "m")):
        if seconds % length == 0:
            return letter if seconds == length else f"{seconds // length}{letter}"
    return f"{seconds}s"


def breaker_words(budget: OperationBudget, uses: tuple[ScopeUse, ...], now: datetime, scope: str = "") -> str:
    """What a person said (of that scope, if one is given), else the worst of its scopes."""
    hold = hold_of(budget, now, scope)
    if hold:
        return hold.mode.value
    phases = {use.breaker for use in uses}
    return next((each.value for each in WORST if each in phases), BreakerPhase.Closed.value)


def hold_words(hold: Hold) -> str:
    """Where, until when, by whom and why."""
    where = f"in {', '.join(hold.scopes)} " if hold.scopes else ""
    by = f" by {hold.by}" if hold.by else ""
    return f"{where}until {hold.until}{by}: {hold.reason}"


def _verdict(budget: OperationBudget, ledger: LedgerSpec | KokError, now: datetime) -> tuple[bool, str, str]:
    """Whether it is in force, the reason as a word, and as a sentence."""
    selector, hold = budget.spec.scope.clusters, hold_of(budget, now)
    if not (selector.all or selector.names or selector.match_labels):
        return False, ErrorCode.SelectorEmpty.value, "spec.scope.clusters selects nothing: set all: true, names or matchLabels"
    if isinstance(ledger, KokError):
        return False, ErrorCode.LedgerUnreadable.value, ledger.message
    if hold:
        return True, hold.mode.value, f"{hold.mode.value} {hold_words(hold)}"
    tripped = [each for phase in WORST[:2] for each in ledger.breakers if each.budget == budget.metadata.name and each.phase is phase]
    if tripped:
        more = f" (and {len(tripped) - 1} more)" if len(tripped) > 1 else ""
        return True, f"Breaker{tripped[0].phase}", f"{sentence_of(tripped[0])}{more}"
    return True, "InForce", "it is in force"


def _conditions(budget: OperationBudget, ledger: LedgerSpec | KokError, now: datetime) -> tuple[Condition, ...]:
    in_force, reason, words = _verdict(budget, ledger, now)
    before = {each.type: each for each in (budget.status.conditions if budget.status else ())}
    wanted = {"Ready": in_force, "Reconciling": False, "Stalled": not in_force}

    def condition(name: str, is_true: bool) -> Condition:
        status = ConditionStatus.TRUE if is_true else ConditionStatus.FALSE
        old = before.get(name)
        since = old.last_transition_time if old and old.status is status else stamp(now)
        return Condition(
            type=name,
            status=status,
            reason=reason,
            message=words,
            observed_generation=budget.metadata.generation,
            last_transition_time=since,
        )

    return tuple(condition(name, is_true) for name, is_true in wanted.items())
