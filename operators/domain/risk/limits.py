"""Does one budget let one more operation pass? Rate and concurrency, each for itself, in the words of the denial. Pure; called by decide.

Rate: an exact sliding-window log. Concurrency: the union of targets that are in the hands of granted operations and of targets that are
out of service; the requester's own target counts once. Percentages round down, `floor` lifts them, `count` caps them; their denominator is
frozen while a window lasts, and no targets at all means no. Rollbacks and repairs use what is kept for them first.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from operators.api.budgets import Concurrency, Kept, OperationBudget
from operators.api.risk import InFlight, LedgerSpec, Purpose, Spent, Window
from operators.domain.risk.facts import Facts, members_in, targets_in
from operators.domain.risk.identity import TargetKey, at, key_of, stamp, target_key_of
from operators.domain.risk.scopes import Place, is_about, place_of, scope_of

PLAIN_WINDOW = 3600
"""Seconds that a denominator is frozen for where no rate says another length."""
HOLDERS_NAMED = 3


@dataclass(frozen=True, slots=True)
class Refusal:
    """One budget's no. `free_at` is when its rate lets the next one pass; None when somebody has to do something first."""

    budget: str
    scope: str
    limit: str
    """rate, concurrency, breaker or hold."""
    words: str
    free_at: datetime | None = None

    def __str__(self) -> str:
        return f"OperationBudget {self.budget} says no by its {self.limit} in {self.scope}: {self.words}"


@dataclass(frozen=True, slots=True)
class Weighed:
    """One budget beside one request: what the limits are taken of."""

    budget: OperationBudget
    scope: str
    """Where it counts, by its name."""
    place: Place
    purpose: Purpose
    ledger: LedgerSpec
    facts: Facts
    now: datetime
    """Never before anything in the Ledger."""

    @property
    def own(self) -> TargetKey:
        """The target that is asked for."""
        return target_key_of(self.place.cluster.namespace, self.place.target)

    def counts(self, other: Place) -> bool:
        """Whether another operation shares the scope."""
        labels = self.facts.labels_of(other.cluster, self.place.cluster)
        return is_about(self.budget, other, labels) and scope_of(self.budget.spec.scope.per, other) == self.scope

    def spent(self) -> list[Spent]:
        """Operations of the window, oldest first."""
        rate = self.budget.spec.rate
        if rate is None:
            return []
        since = self.now - timedelta(seconds=rate.window_seconds)
        return sorted(
            (each for each in self.ledger.log if at(each.at) > since and self.counts(place_of(each))), key=lambda each: at(each.at)
        )

    def holders(self) -> list[InFlight]:
        """Operations of others' targets that are in flight, oldest first."""
        found = [each for each in self.ledger.in_flight if self.counts(place_of(each)) and target_of(each) != self.own]
        return sorted(found, key=lambda each: (at(each.granted_at), key_of(each)))

    def sick(self) -> dict[TargetKey, str]:
        """Targets out of service that nobody holds, and why."""
        held = {target_of(each) for each in self.holders()} | {self.own}
        return {each.key: each.sick for each in members_in(self.budget, self.place, self.facts) if each.sick and each.key not in held}


def target_of(entry: InFlight) -> TargetKey:
    """The target of an entry."""
    return target_key_of(entry.namespace, entry.target)


def rate_refusal(weighed: Weighed) -> Refusal | None:
    """Whether one more operation in the window is too many."""
    spec = weighed.budget.spec
    if spec.rate is None:
        return None
    spent, count, window = weighed.spent(), spec.rate.count, timedelta(seconds=spec.rate.window_seconds)
    kept = kept_for(weighed.budget, lambda each: each.rate)

    def is_full_without(oldest: int) -> bool:
        return not has_room([each.purpose for each in spent[oldest:]], weighed.purpose, count, kept)

    if not is_full_without(0):
        return None
    free = bisect_left(range(len(spent) + 1), True, key=lambda oldest: not is_full_without(oldest))
    free_at = at(spent[free - 1].at) + window if free <= len(spent) else None
    used = f"{len(spent)} operations were granted in the last {spec.rate.window_seconds} s, {count} may be"
    if free_at is None:
        return Refusal(weighed.budget.metadata.name, weighed.scope, "rate", f"{used}; it is free when rate.count is raised")
    oldest = ", ".join(f"{each.operation} of {each.target.name} at {each.at}" for each in spent[:HOLDERS_NAMED])
    more = f" and {len(spent) - HOLDERS_NAMED} more" if len(spent) > HOLDERS_NAMED else ""
    return Refusal(weighed.budget.metadata.name, weighed.scope, "rate", f"{used} ({oldest}{more}); free at {stamp(free_at)}", free_at)


def concurrency_refusal(weighed: Weighed) -> Refusal | None:
    """Whether one more target out of service is too many."""
    concurrency = weighed.budget.spec.concurrency
    if concurrency is None:
        return None
    name = weighed.budget.metadata.name
    if concurrency.percent is not None and targets_in(weighed.budget, weighed.place, weighed.facts) == 0:
        return Refusal(name, weighed.scope, "concurrency", "it has no targets, and a percentage of nothing is nothing")
    limit, holders, sick = limit_of(weighed, concurrency), weighed.holders(), weighed.sick()
    used: dict[TargetKey, Purpose] = dict.fromkeys(sick, Purpose.Forward)
    used |= {target_of(each): each.purpose for each in holders}
    if has_room(used.values(), weighed.purpose, limit, kept_for(weighed.budget, lambda each: each.concurrency)):
        return None
    words = f"{len(used)} of at most {limit} targets are out of service: {_who(holders, sick, weighed.now)}"
    return Refusal(name, weighed.scope, "concurrency", words)


def limit_of(weighed: Weighed, concurrency: Concurrency) -> int:
    """How many targets may be out of service now."""
    if concurrency.percent is None:
        return concurrency.count or 0
    by_percent = max(denominator(weighed) * concurrency.percent // 100, concurrency.floor)
    return by_percent if concurrency.count is None else min(by_percent, concurrency.count)


def denominator(weighed: Weighed) -> int:
    """The number of targets at the start of the running window; with none running, now."""
    window = running_window(weighed.budget, weighed.scope, weighed.ledger, weighed.now)
    return window.targets if window else targets_in(weighed.budget, weighed.place, weighed.facts)


def running_window(budget: OperationBudget, scope: str, ledger: LedgerSpec, now: datetime) -> Window | None:
    """The frozen denominator that still holds."""
    rate = budget.spec.rate
    length = timedelta(seconds=rate.window_seconds if rate else PLAIN_WINDOW)
    for window in ledger.windows:
        if (window.budget, window.scope) == (budget.metadata.name, scope) and now - at(window.started_at) < length:
            return window
    return None


def kept_for(budget: OperationBudget, number: Callable[[Kept], int]) -> Mapping[Purpose, int]:
    """What is kept on top of a limit, by purpose."""
    reserve = budget.spec.reserve
    return {Purpose.Rollback: number(reserve.rollback), Purpose.Repair: number(reserve.repair)}


def has_room(used: Iterable[Purpose], purpose: Purpose, limit: int, kept: Mapping[Purpose, int]) -> bool:
    """Whether one more of `purpose` fits: first into what is kept for it, then into what is everybody's."""
    counts = dict.fromkeys(Purpose, 0)
    for each in used:
        counts[each] += 1
    if counts[purpose] < kept.get(purpose, 0):
        return True
    common = sum(max(0, counts[each] - kept.get(each, 0)) for each in Purpose)
    return common < limit


def words_of(entry: InFlight) -> str:
    """Who does what to what."""
    return f"{entry.operation.value} of {entry.target.kind} {entry.target.name} by {entry.requester}"


def holder_words(entry: InFlight, now: datetime) -> str:
    """Who holds a slot, since when, and when it is free."""
    words = f"{words_of(entry)} holds it since {entry.granted_at} (grant {entry.op_id})"
    if now < at(entry.expires_at):
        return f"{words}, free when it reports its end, expected by {entry.expires_at}"
    return (
        f"{words}; no outcome came by {entry.expires_at}, so it counts until its target is seen healthy or gone, or its outcome is reported"
    )


def _who(holders: Sequence[InFlight], sick: Mapping[TargetKey, str], now: datetime) -> str:
    named = [holder_words(each, now) for each in holders[:HOLDERS_NAMED]]
    left = HOLDERS_NAMED - len(named)
    named += [f"{key.kind} {key.name}: {why}, free when it is in order" for key, why in sorted(sick.items())[:left]]
    more = len(holders) + len(sick) - len(named)
    return "; ".join(named) + (f" (and {more} more)" if more else "")
