"""All breakers of the Ledger moved by the time, by what was reported and by FAIL verdicts, without anybody asking. Pure; called by services/ledger.py."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from operators.api.budgets import OperationBudget
from operators.api.risk import Breaker, LedgerSpec, Purpose
from operators.domain.risk.bookkeeping import latest, with_breakers, without_old
from operators.domain.risk.breaker import breaker_of, progressed, sentence_of
from operators.domain.risk.facts import Facts
from operators.domain.risk.identity import stamp_up
from operators.domain.risk.limits import Weighed
from operators.domain.risk.scopes import NOWHERE, Place, is_about, place_of, scope_of
from operators.domain.risk.verdicts import NO_CAUSES, Causes, with_judged, with_verdicts

Looks = Mapping[tuple[str, str], tuple[Place, Facts]]
"""Budget and scope -> what a look at its targets showed: of breakers that a storm opened."""
NO_LOOKS: Looks = {}


def swept(
    ledger: LedgerSpec, budgets: tuple[OperationBudget, ...], now: datetime, causes: Causes = NO_CAUSES, looks: Looks = NO_LOOKS
) -> LedgerSpec:
    """The Ledger with every breaker as it is by now, and without what no window needs; the same object if nothing changes.

    Whatever was decided by the time is written with it: a clock that goes back afterwards finds that time in the Ledger.
    """
    facts, moment, before = Facts(budgets), latest(ledger, now), ledger
    ledger = with_judged(with_verdicts(ledger, budgets, causes, moment), budgets, causes, moment)
    changed: dict[tuple[str, str], Breaker | None] = {}
    for budget in budgets:
        for scope in _scopes(budget, ledger):
            name = (budget.metadata.name, scope)
            place, seen = looks.get(name, (NOWHERE, facts))
            changed[name] = progressed(Weighed(budget, scope, place, Purpose.Forward, ledger, seen, moment))
    after = with_breakers(without_old(ledger, facts, moment), changed)
    return before if after == before else after.model_copy(update={"time": stamp_up(moment)})


def transitions(before: LedgerSpec, after: LedgerSpec) -> Iterable[tuple[Breaker, str]]:
    """Each breaker that changed its phase, or was opened anew, with the sentence for event and log."""
    for each in after.breakers:
        old = breaker_of(each.budget, each.scope, before)
        if old is None or (old.phase, old.since, old.reason) != (each.phase, each.since, each.reason):
            yield each, sentence_of(each)


def _scopes(budget: OperationBudget, ledger: LedgerSpec) -> set[str]:
    """Where it has a breaker, or samples that may open one."""
    found = {each.scope for each in ledger.breakers if each.budget == budget.metadata.name}
    if budget.spec.breaker.failure_percent is None:
        return found
    places = (place_of(each) for each in ledger.log if each.outcome)
    return found | {scope_of(budget.spec.scope.per, place) for place in places if is_about(budget, place, None)}
