"""May this operation start? Every OperationBudget that is about it must agree, in all its scopes at once; anything unclear is no.

Pure: the answer depends on the request, the Ledger as it was read, the facts that were read after it, and `now`. Called by
services/ledger.py between a quorum read and a compare-and-swap, so two risk centres that both say yes cannot both write it down. What a
verdict changes in the Ledger is part of it. A clock that goes backwards refills nothing: time is never before anything in the Ledger.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from operators.api.risk import BreakerCause, BreakerPhase, InFlight, LedgerSpec, Operation, OperationGrant, Purpose, Target, Witness
from operators.domain.risk.bookkeeping import LOG_ROOM, WINDOWS_ROOM, latest, with_breakers, with_entry, without_old
from operators.domain.risk.breaker import Trip, probing, progressed, refusal_by, tripped, trips_on
from operators.domain.risk.facts import Facts
from operators.domain.risk.identity import EntryKey, TargetKey, at, key_of, stamp, stamp_up, target_key_of
from operators.domain.risk.limits import Refusal, Weighed, concurrency_refusal, holder_words, rate_refusal, words_of
from operators.domain.risk.scopes import ClusterId, Place, budgets_about, scope_of
from operators.errors import ErrorCode

LEDGER_ROOM = 1000
"""Entries at most: far below what one object in etcd can hold (1.5 MiB) even if every name is as long as it may be."""
FIRST_RETRY, LAST_RETRY = 5, 120
"""Seconds until a denied request may come again: doubled with every attempt, so that many who wait do not flood the API."""
LONGEST_RETRY = 300
"""Seconds: also who must wait for hours looks again, since a budget may be widened meanwhile."""
TEXT_LIMIT = 1024
KNOWN_OPERATIONS = frozenset(operation.value for operation in Operation)


@dataclass(frozen=True, slots=True)
class Ask:
    """One request as the risk centre weighs it. `operation` is text: what is not on the closed list must be deniable."""

    key: EntryKey
    operation: str
    target: Target
    requester: str
    attempt: int
    ttl_seconds: int
    purpose: Purpose = Purpose.Forward

    @property
    def target_key(self) -> TargetKey:
        """Which target."""
        return target_key_of(self.key.namespace, self.target)

    @property
    def place(self) -> Place:
        """Where it counts."""
        return Place(self.operation, ClusterId(self.key.namespace, self.target.cluster), self.target)

    def holds(self, entry: InFlight) -> bool:
        """Whether the entry is the requester's own, for this target: chained operations on one target count it once."""
        return entry.requester == self.requester and target_key_of(entry.namespace, entry.target) == self.target_key


def ask_of(grant: OperationGrant) -> Ask:
    """The request of an OperationGrant."""
    spec, metadata = grant.spec, grant.metadata
    key = EntryKey(metadata.namespace or "", metadata.name)
    return Ask(key, spec.operation.value, spec.target, spec.requester, spec.attempt, spec.ttl_seconds, spec.purpose)


def ask_of_witness(witness: Witness) -> Ask:
    """The question by which a storm was seen, asked by nobody: only what it looks at matters."""
    return Ask(EntryKey(witness.namespace, "witness"), witness.operation.value, witness.target, "", 0, 0)


@dataclass(frozen=True, slots=True)
class Granted:
    """Yes. `recorded`: it is in the Ledger already; else `ledger` must be written before anybody is told."""

    entry: InFlight
    recorded: bool
    ledger: LedgerSpec

    @property
    def message(self) -> str:
        """The sentence for the grant's status."""
        return f"granted until {self.entry.expires_at}"


@dataclass(frozen=True, slots=True)
class Denied:
    """No, for this attempt. `message` says which budget, which limit of it, who holds it; a new attempt makes sense after `retry_after` seconds."""

    message: str
    retry_after: int
    code: ErrorCode = ErrorCode.BudgetDenied
    refusals: tuple[Refusal, ...] = ()
    ledger: LedgerSpec | None = None
    """To be written, when the attempt opened a breaker or time moved one."""


Verdict = Granted | Denied


def decide(ask: Ask, ledger: LedgerSpec, facts: Facts, now: datetime) -> Verdict:
    """The answer. An operation that is in the Ledger already gets the answer it got then, so that a crash never spends twice."""
    for entry in ledger.in_flight:
        if key_of(entry) == ask.key:
            return _again(ask, entry, ledger)
    for rule in RULES:
        if message := rule(ask, ledger, now):
            return denied(ask, message)
    moment = latest(ledger, now)
    about = budgets_about(facts.budgets, ask.place, facts.labels)
    if not about:
        return denied(ask, _no_budget(ask))
    every = [Weighed(each, scope_of(each.spec.scope.per, ask.place), ask.place, ask.purpose, ledger, facts, moment) for each in about]
    return _weigh(ask, without_old(ledger, facts, moment), every)


def _no_budget(ask: Ask) -> str:
    return (
        f"no OperationBudget is about {ask.operation} of {ask.target.kind} {ask.target.name} in cluster {ask.place.cluster}: "
        "without a budget nothing is allowed (kubectl get operationbudgets)"
    )


def _weigh(ask: Ask, kept: LedgerSpec, every: list[Weighed]) -> Verdict:
    """All budgets together: all agree and it is one write, or the words of all that do not."""
    breakers = {(each.budget.metadata.name, each.scope): progressed(each) for each in every}
    refusals, opened = [], dict(breakers)
    for each in every:
        name = (each.budget.metadata.name, each.scope)
        limits = [found for found in (rate_refusal(each), concurrency_refusal(each)) if found]
        if limits and trips_on(each):
            words = f"{ask.operation} of {ask.target.kind} {ask.target.name} by {ask.requester} exceeded its {limits[0].limit}"
            opened[name] = tripped(each, Trip(BreakerCause.Exceeded, words))
        refusals += [found for found in (refusal_by(each, breakers[name]), *limits) if found]
    after = with_breakers(kept, opened)
    moment = every[0].now
    if not refusals and (full := _no_room(after)):
        return denied(ask, full)
    if refusals:
        changed = after.breakers != every[0].ledger.breakers
        return _refused(ask, refusals, moment, after.model_copy(update={"time": stamp_up(moment)}) if changed else None)
    entry = _entry(ask, moment)
    forward = ask.purpose is Purpose.Forward
    probes = {
        name: probing(each, ask.key.op_id) for name, each in opened.items() if forward and each and each.phase is BreakerPhase.HalfOpen
    }
    replaced = [key_of(each) for each in kept.in_flight if ask.holds(each) and each.operation == entry.operation]
    return Granted(entry, recorded=False, ledger=with_entry(with_breakers(after, opened | probes), entry, replaced, every))


def _no_room(ledger: LedgerSpec) -> str:
    """The Ledger is one object and stays small; what a window needs is never dropped for room."""
    if len(ledger.log) >= LOG_ROOM:
        return f"the Ledger's log is full: {len(ledger.log)} operations are inside some budget's window; it is free when the oldest, of {ledger.log[0].at}, leaves"
    if len(ledger.windows) >= WINDOWS_ROOM:
        return f"the Ledger holds {len(ledger.windows)} frozen denominators (at most {WINDOWS_ROOM})"
    return ""


def _refused(ask: Ask, refusals: list[Refusal], now: datetime, ledger: LedgerSpec | None) -> Denied:
    """Free when the last of them is; one that cannot say when makes the requester look again soon, less often with every attempt."""
    waits = [(each.free_at - now).total_seconds() for each in refusals if each.free_at]
    patience = min(LAST_RETRY, FIRST_RETRY << min(ask.attempt, 10))
    retry = min(LONGEST_RETRY, max([patience, *(int(wait) + 1 for wait in waits)]))
    return Denied("; and ".join(str(each) for each in refusals)[:TEXT_LIMIT], retry, refusals=tuple(refusals), ledger=ledger)


def denied(ask: Ask, message: str, code: ErrorCode = ErrorCode.BudgetDenied) -> Denied:
    """A denial with the time after which the next attempt makes sense."""
    return Denied(message[:TEXT_LIMIT], min(LAST_RETRY, FIRST_RETRY << min(ask.attempt, 10)), code)


def _again(ask: Ask, entry: InFlight, ledger: LedgerSpec) -> Verdict:
    if entry.operation.value != ask.operation or not ask.holds(entry):
        return denied(ask, f"the Ledger holds {ask.key.op_id} for another request ({words_of(entry)}): what this one is for is unclear")
    return Granted(entry, recorded=True, ledger=ledger)


def _entry(ask: Ask, now: datetime) -> InFlight:
    return InFlight(
        op_id=ask.key.op_id,
        namespace=ask.key.namespace,
        operation=Operation(ask.operation),
        target=ask.target,
        requester=ask.requester,
        purpose=ask.purpose,
        granted_at=stamp(now),
        expires_at=stamp(now + timedelta(seconds=ask.ttl_seconds)),
    )


def operation_is_known(ask: Ask, ledger: LedgerSpec, now: datetime) -> str:
    """The list of dangerous operations is closed."""
    if ask.operation in KNOWN_OPERATIONS:
        return ""
    return f"operation {ask.operation!r} is not on the list of dangerous operations ({', '.join(Operation)}); unknown means no"


def ledger_has_room(ask: Ask, ledger: LedgerSpec, now: datetime) -> str:
    """The Ledger is one object and stays small."""
    if len(ledger.in_flight) < LEDGER_ROOM:
        return ""
    return f"the Ledger is full: {len(ledger.in_flight)} operations are in flight (at most {LEDGER_ROOM})"


def target_is_free(ask: Ask, ledger: LedgerSpec, now: datetime) -> str:
    """Two requesters never act on one target, in whatever pool they say it is."""
    for entry in ledger.in_flight:
        if target_key_of(entry.namespace, entry.target) == ask.target_key and entry.requester != ask.requester:
            return f"one requester at a time for {ask.target.kind} {ask.target.name}: {holder_words(entry, now)}"
    return ""


Rule = Callable[[Ask, LedgerSpec, datetime], str]
RULES: tuple[Rule, ...] = (operation_is_known, ledger_has_room, target_is_free)
"""Each says why not, or nothing. They hold whatever the budgets say."""


def is_expired(entry: InFlight, now: datetime) -> bool:
    """Whether its holder should have reported by now."""
    return now >= at(entry.expires_at)
