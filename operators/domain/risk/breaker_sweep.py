"""All breakers of the Ledger moved by the time and by what was reported, without anybody asking. Pure; called by the keeper through services/ledger.py."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from operators.api.budgets import OperationBudget
from operators.api.risk import Breaker, LedgerSpec, Purpose
from operators.domain.risk.bookkeeping import latest, with_breakers, without_old
from operators.domain.risk.breaker import breaker_of, progressed
from operators.domain.risk.facts import Facts
from operators.domain.risk.limits import Weighed
from operators.domain.risk.scopes import NOWHERE, is_about, place_of, scope_of


def swept(ledger: LedgerSpec, budgets: tuple[OperationBudget, ...], now: datetime) -> LedgerSpec:
    """The Ledger with every breaker as it is by now, and without what no window needs; the same object if nothing changes."""
    facts, moment = Facts(budgets), latest(ledger, now)
    changed: dict[tuple[str, str], Breaker | None] = {}
    for budget in budgets:
        for scope in _scopes(budget, ledger):
            weighed = Weighed(budget, scope, NOWHERE, Purpose.Forward, ledger, facts, moment)
            changed[(budget.metadata.name, scope)] = progressed(weighed)
    return with_breakers(without_old(ledger, facts, moment), changed)


def transitions(before: LedgerSpec, after: LedgerSpec) -> Iterable[tuple[Breaker, str]]:
    """Each breaker that changed its phase, with the sentence for event and log."""
    for each in after.breakers:
        old = breaker_of(each.budget, each.scope, before)
        if old is None or old.phase is not each.phase:
            words = f": {each.reason}" if each.reason else ""
            yield each, f"the breaker of {each.scope} is {each.phase} since {each.since}{words}"


def _scopes(budget: OperationBudget, ledger: LedgerSpec) -> set[str]:
    """Where it has a breaker, or samples that may open one."""
    found = {each.scope for each in ledger.breakers if each.budget == budget.metadata.name}
    if budget.spec.breaker.failure_percent is None:
        return found
    places = (place_of(each) for each in ledger.log if each.outcome)
    return found | {scope_of(budget.spec.scope.per, place) for place in places if is_about(budget, place, None)}
