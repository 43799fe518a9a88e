"""The breaker of one budget in one scope: Closed -> Open -> HalfOpen -> Closed, by the Ledger and the time. Pure; called by decide and the keeper.

Four things open it: somebody tried to exceed a limit, too many operations failed, a rollout failed (verdicts.py), a storm (storm.py). Open blocks
forward operations only; rollbacks and repairs go on. After the cool-down, and once what tripped it is below half of its limit
for a while, probes are let through strictly one at a time, each with a deadline; a failed one opens again with a doubled cool-down.
A person's word closes what opened until then. Nothing that was denied is replayed on close: requesters ask again if they still want to.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from operators.api.budgets import Close, Hold, HoldMode, OnExceed, OperationBudget, Per
from operators.api.risk import Breaker, BreakerCause, BreakerPhase, InFlight, LedgerSpec, Outcome, Purpose, Spent, Witness
from operators.domain.risk import storm
from operators.domain.risk.identity import at, stamp_up
from operators.domain.risk.limits import PLAIN_WINDOW, Refusal, Weighed
from operators.domain.risk.scopes import named_scope, place_of

LONGEST_COOL_DOWN = 24 * 3600
CALM = timedelta(seconds=60)
"""So long the cause must have been below its lower threshold."""
LOWER = 2
"""The lower threshold is the limit divided by this."""
REASON = 512
WATCHED = (BreakerCause.Verdict, BreakerCause.Storm)
"""Causes of which the breaker itself remembers since when they are calm."""


@dataclass(frozen=True, slots=True)
class Trip:
    """What opens a breaker."""

    cause: BreakerCause
    reason: str
    origin: str = ""
    witness: Witness | None = None


def hold_of(budget: OperationBudget, now: datetime, scope: str = "") -> Hold | None:
    """A person's word that still holds, in that scope; without a scope: anywhere. A freeze of a scope that nobody understands freezes all."""
    hold = budget.spec.hold
    if hold is None or now >= at(hold.until):
        return None
    strange = hold.mode is HoldMode.ForcedOpen and not all(named_scope(budget.spec.scope.per, each) for each in hold.scopes)
    return hold if strange or not (hold.scopes and scope) or scope in hold.scopes else None


def close_of(budget: OperationBudget, scope: str, now: datetime) -> Close | None:
    """A person's word that what was until then in this scope is dealt with; one of the future counts when it is time."""
    close = budget.spec.close
    return close if close and close.scope in ("", scope) and at(close.at) <= now else None


def breaker_of(budget: str, scope: str, ledger: LedgerSpec) -> Breaker | None:
    """What the Ledger says of it."""
    return next((each for each in ledger.breakers if (each.budget, each.scope) == (budget, scope)), None)


def sentence_of(breaker: Breaker) -> str:
    """What event, log, condition and `kok budget` say of it."""
    words = f": {breaker.reason}" if breaker.reason else ""
    return f"the breaker of {breaker.scope} is {breaker.phase} since {breaker.since}{words}"


def progressed(weighed: Weighed) -> Breaker | None:
    """What the breaker is by now; None if it is closed and nothing has to be remembered."""
    found = breaker_of(weighed.budget.metadata.name, weighed.scope, weighed.ledger)
    hold = hold_of(weighed.budget, weighed.now, weighed.scope)
    if hold and hold.mode is HoldMode.Disabled:
        return None
    if found is None or found.phase is BreakerPhase.Closed:
        return _tripped_by_failures(weighed, found) or _tripped_by_storm(weighed, found) or _remembered(weighed, found)
    close = close_of(weighed.budget, weighed.scope, weighed.now)
    if close and at(found.opened_at or found.since) <= at(close.at):
        return closed(weighed, found, f"closed{f' by {close.by}' if close.by else ''}: {close.reason}")
    if found.phase is BreakerPhase.Open:
        return _cooled_down(weighed, _looked_at(weighed, found))
    return _probed(weighed, found)


def refusal_by(weighed: Weighed, breaker: Breaker | None) -> Refusal | None:
    """Whether a person or the breaker says no. Rollbacks and repairs pass."""
    if weighed.purpose is not Purpose.Forward:
        return None
    name, scope = weighed.budget.metadata.name, weighed.scope
    hold = hold_of(weighed.budget, weighed.now, weighed.scope)
    if hold and hold.mode is HoldMode.ForcedOpen:
        by = f" by {hold.by}" if hold.by else ""
        return Refusal(
            name, scope, "hold", f"it is frozen until {hold.until}{by}: {hold.reason}; kok budget unfreeze {name}", at(hold.until)
        )
    if breaker is None or breaker.phase is BreakerPhase.Closed:
        return None
    if breaker.phase is BreakerPhase.Open:
        until = at(breaker.since) + timedelta(seconds=breaker.cool_down_seconds)
        words = f"open since {breaker.since}: {breaker.reason}; {_ends(breaker, stamp_up(until))}, or by kok budget close {name}"
        return Refusal(name, scope, "breaker", words, max(until, weighed.now + CALM))
    if breaker.probe:
        return Refusal(name, scope, "breaker", f"half open, and {breaker.probe} is tried first; one at a time")
    return None


def _ends(breaker: Breaker, until: str) -> str:
    """Until when, and what else it waits for."""
    more = {BreakerCause.Verdict: " and until that rollout has ended", BreakerCause.Storm: " and until half of them are back"}
    still = more.get(breaker.cause, "") if not breaker.calm_since else ""
    return f"it cools down until {until} at least{still}"


def tripped(weighed: Weighed, trip: Trip) -> Breaker:
    """Open. An attempt to exceed leaves one that is open as it is; what is worse begins its cool-down anew, doubled for one that was half open."""
    rule, found = weighed.budget.spec.breaker, breaker_of(weighed.budget.metadata.name, weighed.scope, weighed.ledger)
    again = found if found and found.phase is not BreakerPhase.Closed else None
    if again and again.phase is BreakerPhase.Open and trip.cause is BreakerCause.Exceeded:
        return again
    cool_down = again.cool_down_seconds if again else rule.cool_down_seconds
    if again and again.phase is BreakerPhase.HalfOpen:
        cool_down = min(cool_down * 2, LONGEST_COOL_DOWN)
    return Breaker(
        budget=weighed.budget.metadata.name,
        scope=weighed.scope,
        phase=BreakerPhase.Open,
        since=stamp_up(weighed.now),
        opened_at=stamp_up(weighed.now),
        cool_down_seconds=cool_down,
        reason=trip.reason[:REASON],
        cause=trip.cause,
        origin=trip.origin,
        witness=trip.witness,
    )


def closed(weighed: Weighed, found: Breaker, why: str = "") -> Breaker:
    """Closed from now on: what was before says nothing any more."""
    changes = {"phase": BreakerPhase.Closed, "since": stamp_up(weighed.now), "probe": "", "reason": why[:REASON]}
    return found.model_copy(update=changes)


def trips_on(weighed: Weighed) -> bool:
    """Whether an attempt to exceed opens it."""
    hold = hold_of(weighed.budget, weighed.now, weighed.scope)
    return weighed.budget.spec.on_exceed is OnExceed.TripBreaker and weighed.purpose is Purpose.Forward and hold is None


def probing(breaker: Breaker, op_id: str) -> Breaker:
    """Half open, with that operation as its probe."""
    return breaker.model_copy(update={"probe": op_id})


def with_calm(breaker: Breaker, now: datetime, *, is_calm: bool) -> Breaker:
    """It remembers since when its cause is below the lower threshold; unchanged while that does not change."""
    if is_calm == bool(breaker.calm_since):
        return breaker
    return breaker.model_copy(update={"calm_since": stamp_up(now) if is_calm else ""})


def _remembered(weighed: Weighed, found: Breaker | None) -> Breaker | None:
    """A closed one is remembered as long as some window holds what was before."""
    rate, rule = weighed.budget.spec.rate, weighed.budget.spec.breaker
    longest = max(rate.window_seconds if rate else PLAIN_WINDOW, rule.storm.window_seconds)
    return found if found and weighed.now - at(found.since) < timedelta(seconds=longest) else None


def _ended(weighed: Weighed, after: datetime | None) -> list[Spent]:
    """Operations of the window that succeeded or failed, granted after the last close."""
    return [
        each for each in weighed.spent() if each.outcome in (Outcome.Succeeded, Outcome.Failed) and (after is None or at(each.at) > after)
    ]


def _tripped_by_failures(weighed: Weighed, found: Breaker | None) -> Breaker | None:
    """By targets: one that fails again and again is one. In the fleet's scope the trouble of one cluster is not everybody's."""
    rule = weighed.budget.spec.breaker
    samples = _ended(weighed, at(found.since) if found else None)
    ordered = sorted(samples, key=lambda each: at(each.at))
    targets = {(each.namespace, each.target.cluster, each.target.kind, each.target.name): each for each in ordered}
    failed = [each for each in targets.values() if each.outcome is Outcome.Failed]
    if rule.failure_percent is None or len(targets) < rule.minimum_samples or len(failed) * 100 < rule.failure_percent * len(targets):
        return None
    if weighed.budget.spec.scope.per is Per.Fleet and len(_clusters(failed)) == 1 < len(_clusters(samples)):
        return None
    last = failed[-1]
    words = f"the last operation of {len(failed)} of {len(targets)} targets failed, lately {last.operation} of {last.target.kind} {last.target.name}"
    return tripped(weighed, Trip(BreakerCause.Failures, words))


def _clusters(spent: Iterable[Spent]) -> set[tuple[str, str]]:
    return {(each.namespace, each.target.cluster) for each in spent}


def _tripped_by_storm(weighed: Weighed, found: Breaker | None) -> Breaker | None:
    losses = storm.losses_in(weighed, after=at(found.since) if found else None)
    if losses is None or not losses.are_storm:
        return None
    return tripped(weighed, Trip(BreakerCause.Storm, losses.words, witness=storm.witness_of(weighed)))


def _looked_at(weighed: Weighed, found: Breaker) -> Breaker:
    """One that a storm opened, by what is lost now; as it is if nobody looked."""
    losses = storm.losses_in(weighed) if found.cause is BreakerCause.Storm else None
    return found if losses is None else with_calm(found, weighed.now, is_calm=losses.are_fewer_than(LOWER))


def _cooled_down(weighed: Weighed, found: Breaker) -> Breaker:
    if weighed.now - at(found.since) < timedelta(seconds=found.cool_down_seconds) or not _is_calm(weighed, found):
        return found
    return found.model_copy(update={"phase": BreakerPhase.HalfOpen, "since": stamp_up(weighed.now), "probe": ""})


def _is_calm(weighed: Weighed, found: Breaker) -> bool:
    """Whether the cause was below its lower threshold for a while, and the rate at or below half of its limit, if there is one."""
    if found.cause in WATCHED and not (found.calm_since and weighed.now - at(found.calm_since) >= CALM):
        return False
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
        return closed(weighed, found)
    if outcome is Outcome.Cancelled:
        return found.model_copy(update={"probe": ""})
    overdue = weighed.now - began >= timedelta(seconds=weighed.budget.spec.breaker.probe_seconds)
    if outcome is Outcome.Failed or overdue or (slot is None and outcome is None):
        return _reopened(
            weighed, found, "failed" if outcome is Outcome.Failed else "did not succeed in time" if overdue else "was never reported"
        )
    return found


def _reopened(weighed: Weighed, found: Breaker, how: str) -> Breaker:
    changes = {
        "phase": BreakerPhase.Open,
        "since": stamp_up(weighed.now),
        "opened_at": stamp_up(weighed.now),
        "cool_down_seconds": min(found.cool_down_seconds * 2, LONGEST_COOL_DOWN),
        "reason": f"its probe {found.probe} {how}"[:REASON],
        "probe": "",
    }
    return found.model_copy(update=changes)
