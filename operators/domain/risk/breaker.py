"""The breaker of one budget in one scope: Closed -> Open -> HalfOpen -> Closed, by the Ledger and the time. Pure; called by decide and the keeper.

Open blocks forward operations only; rollbacks and repairs go on. After the cool-down, and once what tripped it is below half of its limit
for a while, probes are let through strictly one at a time, each with a deadline; a failed one opens again with a doubled cool-down.
Nothing that was denied is replayed on close: requesters ask again if they still want to.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from operators.api.budgets import Hold, HoldMode, OnExceed, OperationBudget
from operators.api.risk import Breaker, BreakerPhase, InFlight, LedgerSpec, Outcome, Purpose, Spent
from operators.domain.risk.identity import at, stamp_up
from operators.domain.risk.limits import Refusal, Weighed
from operators.domain.risk.scopes import place_of

LONGEST_COOL_DOWN = 24 * 3600
CALM = timedelta(seconds=60)
"""So long the cause must have been below its lower threshold."""
LOWER = 2
"""The lower threshold is the limit divided by this."""


def hold_of(budget: OperationBudget, now: datetime) -> Hold | None:
    """A person's word that still holds."""
    hold = budget.spec.hold
    return hold if hold and now < at(hold.until) else None


def breaker_of(budget: str, scope: str, ledger: LedgerSpec) -> Breaker | None:
    """What the Ledger says of it."""
    return next((each for each in ledger.breakers if (each.budget, each.scope) == (budget, scope)), None)


def progressed(weighed: Weighed) -> Breaker | None:
    """What the breaker is by now; None if it is closed and nothing has to be remembered."""
    found = breaker_of(weighed.budget.metadata.name, weighed.scope, weighed.ledger)
    hold = hold_of(weighed.budget, weighed.now)
    if hold and hold.mode is HoldMode.Disabled:
        return None
    if found is None or found.phase is BreakerPhase.Closed:
        return _tripped_by_failures(weighed, found) or _remembered(weighed, found)
    if found.phase is BreakerPhase.Open:
        return _cooled_down(weighed, found)
    return _probed(weighed, found)


def refusal_by(weighed: Weighed, breaker: Breaker | None) -> Refusal | None:
    """Whether a person or the breaker says no. Rollbacks and repairs pass."""
    if weighed.purpose is not Purpose.Forward:
        return None
    name, scope = weighed.budget.metadata.name, weighed.scope
    hold = hold_of(weighed.budget, weighed.now)
    if hold and hold.mode is HoldMode.ForcedOpen:
        by = f" by {hold.by}" if hold.by else ""
        return Refusal(
            name, scope, "hold", f"it is frozen until {hold.until}{by}: {hold.reason}; kok budget unfreeze {name}", at(hold.until)
        )
    if breaker is None or breaker.phase is BreakerPhase.Closed:
        return None
    if breaker.phase is BreakerPhase.Open:
        until = at(breaker.since) + timedelta(seconds=breaker.cool_down_seconds)
        words = f"open since {breaker.since}: {breaker.reason}; it cools down until {stamp_up(until)} at least"
        return Refusal(name, scope, "breaker", words, max(until, weighed.now + CALM))
    if breaker.probe:
        return Refusal(name, scope, "breaker", f"half open, and {breaker.probe} is tried first; one at a time")
    return None


def tripped(weighed: Weighed, reason: str) -> Breaker:
    """Open, from now on."""
    rule, found = weighed.budget.spec.breaker, breaker_of(weighed.budget.metadata.name, weighed.scope, weighed.ledger)
    still = found is not None and found.phase is BreakerPhase.Open
    return Breaker(
        budget=weighed.budget.metadata.name,
        scope=weighed.scope,
        phase=BreakerPhase.Open,
        since=found.since if found and still else stamp_up(weighed.now),
        cool_down_seconds=found.cool_down_seconds if found and still else rule.cool_down_seconds,
        reason=found.reason if found and still else reason[:512],
    )


def trips_on(weighed: Weighed) -> bool:
    """Whether an attempt to exceed opens it."""
    hold = hold_of(weighed.budget, weighed.now)
    return weighed.budget.spec.on_exceed is OnExceed.TripBreaker and weighed.purpose is Purpose.Forward and hold is None


def probing(breaker: Breaker, op_id: str) -> Breaker:
    """Half open, with that operation as its probe."""
    return breaker.model_copy(update={"probe": op_id})


def _remembered(weighed: Weighed, found: Breaker | None) -> Breaker | None:
    """A closed one is remembered as long as the window holds samples from before."""
    rate = weighed.budget.spec.rate
    return found if found and rate and weighed.now - at(found.since) < timedelta(seconds=rate.window_seconds) else None


def _ended(weighed: Weighed, after: datetime | None) -> list[Spent]:
    """Operations of the window that succeeded or failed, granted after the last close."""
    return [
        each for each in weighed.spent() if each.outcome in (Outcome.Succeeded, Outcome.Failed) and (after is None or at(each.at) > after)
    ]


def _tripped_by_failures(weighed: Weighed, found: Breaker | None) -> Breaker | None:
    rule = weighed.budget.spec.breaker
    samples = _ended(weighed, at(found.since) if found else None)
    failed = [each for each in samples if each.outcome is Outcome.Failed]
    if rule.failure_percent is None or len(samples) < rule.minimum_samples or len(failed) * 100 < rule.failure_percent * len(samples):
        return None
    last = failed[-1]
    words = f"{len(failed)} of {len(samples)} operations failed, the last one {last.operation} of {last.target.kind} {last.target.name}"
    return tripped(weighed, words)


def _cooled_down(weighed: Weighed, found: Breaker) -> Breaker:
    if weighed.now - at(found.since) < timedelta(seconds=found.cool_down_seconds) or not _is_calm(weighed):
        return found
    return found.model_copy(update={"phase": BreakerPhase.HalfOpen, "since": stamp_up(weighed.now), "probe": ""})


def _is_calm(weighed: Weighed) -> bool:
    """Whether the rate was at or below half of its limit for a while; without a rate the cool-down has to do."""
    rate = weighed.budget.spec.rate
    if rate is None:
        return True
    since = weighed.now - CALM - timedelta(seconds=rate.window_seconds)
    recent = [each for each in weighed.ledger.log if at(each.at) > since and weighed.counts(place_of(each))]
    return len(recent) <= rate.count // LOWER


def _probed(weighed: Weighed, found: Breaker) -> Breaker:
    """What came of the probe, if there is one."""
    if not found.probe:
        return found
    log = next((each for each in weighed.ledger.log if each.op_id == found.probe), None)
    slot: InFlight | None = next((each for each in weighed.ledger.in_flight if each.op_id == found.probe), None)
    outcome = log.outcome if log else None
    began = at(log.at) if log else at(slot.granted_at) if slot else at(found.since)
    if outcome is Outcome.Succeeded:
        return found.model_copy(update={"phase": BreakerPhase.Closed, "since": stamp_up(weighed.now), "probe": "", "reason": ""})
    if outcome is Outcome.Cancelled:
        return found.model_copy(update={"probe": ""})
    overdue = weighed.now - began >= timedelta(seconds=weighed.budget.spec.breaker.probe_seconds)
    if outcome is Outcome.Failed or overdue or (slot is None and outcome is None):
        return _reopened(
            weighed, found, "failed" if outcome is Outcome.Failed else "did not succeed in time" if overdue else "was never reported"
        )
    return found


def _reopened(weighed: Weighed, found: Breaker, how: str) -> Breaker:
    cool_down = min(found.cool_down_seconds * 2, LONGEST_COOL_DOWN)
    return Breaker(
        budget=found.budget,
        scope=found.scope,
        phase=BreakerPhase.Open,
        since=stamp_up(weighed.now),
        cool_down_seconds=cool_down,
        reason=f"its probe {found.probe} {how}"[:512],
    )
