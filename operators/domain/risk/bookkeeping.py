"""What the Ledger says after a grant or an end: whole new Ledgers out of old ones. Pure; called by decide and services/ledger.py."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from operators.api.risk import Breaker, InFlight, LedgerSpec, Outcome, Spent, Window
from operators.domain.risk.facts import Facts, targets_in
from operators.domain.risk.identity import EntryKey, at, key_of, stamp_up
from operators.domain.risk.limits import PLAIN_WINDOW, Weighed, running_window
from operators.domain.risk.scopes import is_about, place_of

LOG_ROOM = 1500
"""Entries of the log; together with LEDGER_ROOM below what one object in etcd can hold."""
WINDOWS_ROOM = 1500
MARGIN = timedelta(seconds=60)
"""Breakers look back so much further than their window."""


def latest(ledger: LedgerSpec, now: datetime) -> datetime:
    """`now`, but never before anything that is in the Ledger: a clock that goes backwards gives nothing back."""
    stamps = [each.granted_at for each in ledger.in_flight] + [each.at for each in ledger.log[-1:]]
    return max([now, *(at(each) for each in stamps), *([at(ledger.time)] if ledger.time else [])])


def with_entry(ledger: LedgerSpec, entry: InFlight, replaced: Collection[EntryKey], every: Sequence[Weighed]) -> LedgerSpec:
    """One more in flight and in the log, in place of the requester's earlier attempts; denominators of windows that begin now are frozen."""
    now = every[0].now
    moment = stamp_up(now)
    spent = Spent(
        op_id=entry.op_id, namespace=entry.namespace, operation=entry.operation, target=entry.target, purpose=entry.purpose, at=moment
    )
    begun = {(each.budget.metadata.name, each.scope): each for each in every if _begins(each)}
    windows = [each for each in ledger.windows if (each.budget, each.scope) not in begun]
    windows += [
        Window(budget=budget, scope=scope, started_at=moment, targets=targets_in(each.budget, each.place, each.facts))
        for (budget, scope), each in begun.items()
    ]
    rated = any(each.budget.spec.rate for each in every)
    return ledger.model_copy(
        update={
            "in_flight": (*(each for each in ledger.in_flight if key_of(each) not in replaced), entry),
            "log": (*ledger.log, spent) if rated else ledger.log,
            "windows": tuple(windows),
            "time": moment,
        }
    )


def _begins(weighed: Weighed) -> bool:
    concurrency = weighed.budget.spec.concurrency
    if concurrency is None or concurrency.percent is None:
        return False
    return running_window(weighed.budget, weighed.scope, weighed.ledger, weighed.now) is None


def with_breakers(ledger: LedgerSpec, changed: Mapping[tuple[str, str], Breaker | None]) -> LedgerSpec:
    """These breakers as they are now; None is closed and forgotten."""
    kept = [each for each in ledger.breakers if (each.budget, each.scope) not in changed]
    breakers = tuple(sorted([*kept, *filter(None, changed.values())], key=lambda each: (each.budget, each.scope)))
    return ledger if breakers == ledger.breakers else ledger.model_copy(update={"breakers": breakers})


def without(ledger: LedgerSpec, keys: Collection[EntryKey], outcomes: Mapping[EntryKey, Outcome]) -> LedgerSpec:
    """Slots given back; the log learns how they ended."""
    ended = {key.op_id: outcome for key, outcome in outcomes.items()}
    log = tuple(
        each.model_copy(update={"outcome": ended[each.op_id]}) if each.op_id in ended and each.outcome is None else each
        for each in ledger.log
    )
    in_flight = tuple(each for each in ledger.in_flight if key_of(each) not in keys)
    freed = len(ledger.in_flight) - len(in_flight)
    return ledger.model_copy(update={"in_flight": in_flight, "log": log, "releases": ledger.releases + freed})


def without_old(ledger: LedgerSpec, facts: Facts, now: datetime) -> LedgerSpec:
    """Without what no budget's window needs: old log entries, denominators of windows that are over, breakers of budgets that are gone."""
    names = {each.metadata.name for each in facts.budgets}
    log = tuple(each for each in ledger.log if _is_needed(each, facts, now))
    windows = tuple(each for each in ledger.windows if each.budget in names and _runs(each, facts, now))
    breakers = tuple(each for each in ledger.breakers if each.budget in names)
    if (log, windows, breakers) == (ledger.log, ledger.windows, ledger.breakers):
        return ledger
    return ledger.model_copy(update={"log": log, "windows": windows, "breakers": breakers})


def _is_needed(spent: Spent, facts: Facts, now: datetime) -> bool:
    """Labels of other Clusters may be unknown here: then a budget may need it."""
    age, place = now - at(spent.at), place_of(spent)
    return any(
        budget.spec.rate and age < timedelta(seconds=budget.spec.rate.window_seconds) + MARGIN and is_about(budget, place, None)
        for budget in facts.budgets
    )


def _runs(window: Window, facts: Facts, now: datetime) -> bool:
    return now - at(window.started_at) < timedelta(seconds=max(_lengths(window.budget, facts), default=0))


def _lengths(name: str, facts: Facts) -> Iterable[int]:
    for budget in facts.budgets:
        if budget.metadata.name == name:
            yield budget.spec.rate.window_seconds if budget.spec.rate else PLAIN_WINDOW
