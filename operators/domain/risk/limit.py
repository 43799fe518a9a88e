"""May this operation start? The plain limit: one target at a time per pool (or per cluster, for targets without a pool); anything unclear is no.

Pure: the answer depends on the request, the Ledger as it was read, and `now`. Called by services/ledger.py between a quorum read and a
compare-and-swap, so two risk centres that both say yes cannot both write it down. Budgets join as further RULES.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from operators.api.risk import InFlight, LedgerSpec, Operation, OperationGrant, Target
from operators.domain.risk.identity import EntryKey, TargetKey, at, key_of, scope_of, stamp, target_key_of
from operators.errors import ErrorCode

LEDGER_ROOM = 1000
"""Entries at most: far below what one object in etcd can hold (1.5 MiB) even if every name is as long as it may be."""
PLAIN_LIMIT = 1
"""Targets that may be in the hands of dangerous operations at once, per scope."""
FIRST_RETRY, LAST_RETRY = 5, 120
"""Seconds until a denied request may come again: doubled with every attempt, so that many who wait do not flood the API."""
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

    @property
    def target_key(self) -> TargetKey:
        """Which target."""
        return target_key_of(self.key.namespace, self.target)

    def holds(self, entry: InFlight) -> bool:
        """Whether the entry is the requester's own, for this target: chained operations on one target count it once."""
        return entry.requester == self.requester and target_key_of(entry.namespace, entry.target) == self.target_key


def ask_of(grant: OperationGrant) -> Ask:
    """The request of an OperationGrant."""
    spec, metadata = grant.spec, grant.metadata
    key = EntryKey(metadata.namespace or "", metadata.name)
    return Ask(key, spec.operation.value, spec.target, spec.requester, attempt=spec.attempt, ttl_seconds=spec.ttl_seconds)


@dataclass(frozen=True, slots=True)
class Granted:
    """Yes. `entry` is in the Ledger already (`recorded`), or must be written into it, in place of `supersedes`, before anybody is told."""

    entry: InFlight
    recorded: bool
    supersedes: tuple[EntryKey, ...] = ()

    @property
    def message(self) -> str:
        """The sentence for the grant's status."""
        return f"granted until {self.entry.expires_at}"


@dataclass(frozen=True, slots=True)
class Denied:
    """No, for this attempt. `message` says which limit and who holds it since when; a new attempt makes sense after `retry_after` seconds."""

    message: str
    retry_after: int
    code: ErrorCode = ErrorCode.BudgetDenied


Verdict = Granted | Denied


def decide(ask: Ask, ledger: LedgerSpec, now: datetime) -> Verdict:
    """The answer. An operation that is in the Ledger already gets the answer it got then, so that a crash never spends twice."""
    for entry in ledger.in_flight:
        if key_of(entry) == ask.key:
            return _again(ask, entry)
    for rule in RULES:
        if message := rule(ask, ledger, now):
            return denied(ask, message)
    return _grant(ask, ledger, now)


def denied(ask: Ask, message: str, code: ErrorCode = ErrorCode.BudgetDenied) -> Denied:
    """A denial with the time after which the next attempt makes sense."""
    return Denied(message[:TEXT_LIMIT], min(LAST_RETRY, FIRST_RETRY << min(ask.attempt, 10)), code)


def _again(ask: Ask, entry: InFlight) -> Verdict:
    if entry.operation.value != ask.operation or not ask.holds(entry):
        return denied(ask, f"the Ledger holds {ask.key.op_id} for another request ({_words_of(entry)}): what this one is for is unclear")
    return Granted(entry, recorded=True)


def _grant(ask: Ask, ledger: LedgerSpec, now: datetime) -> Granted:
    operation = Operation(ask.operation)
    granted_at = latest(ledger, now)
    entry = InFlight(
        op_id=ask.key.op_id,
        namespace=ask.key.namespace,
        operation=operation,
        target=ask.target,
        requester=ask.requester,
        granted_at=stamp(granted_at),
        expires_at=stamp(granted_at + timedelta(seconds=ask.ttl_seconds)),
    )
    superseded = tuple(key_of(each) for each in ledger.in_flight if ask.holds(each) and each.operation == operation)
    return Granted(entry, recorded=False, supersedes=superseded)


def latest(ledger: LedgerSpec, now: datetime) -> datetime:
    """`now`, but never before anything that is in the Ledger: a clock that goes backwards gives nothing back."""
    return max([now, *(at(entry.granted_at) for entry in ledger.in_flight)])


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
            return f"one requester at a time for {ask.target.kind} {ask.target.name}: {_holder(entry, now)}"
    return ""


def scope_is_free(ask: Ask, ledger: LedgerSpec, now: datetime) -> str:
    """The plain limit: occupancy is the union of targets, so the requester's own target counts once however many operations hold it."""
    scope = scope_of(ask.key.namespace, ask.target)
    others = [
        entry
        for entry in sorted(ledger.in_flight, key=lambda entry: (at(entry.granted_at), key_of(entry)))
        if scope_of(entry.namespace, entry.target) == scope and target_key_of(entry.namespace, entry.target) != ask.target_key
    ]
    targets = {target_key_of(entry.namespace, entry.target) for entry in others}
    if len(targets) + 1 <= PLAIN_LIMIT:
        return ""
    more = f" (and {len(targets) - 1} more)" if len(targets) > 1 else ""
    return f"one target at a time in {scope}: {_holder(others[0], now)}{more}"


Rule = Callable[[Ask, LedgerSpec, datetime], str]
RULES: tuple[Rule, ...] = (operation_is_known, ledger_has_room, target_is_free, scope_is_free)
"""Each says why not, or nothing. All of them must agree; the first that does not is told."""


def is_expired(entry: InFlight, now: datetime) -> bool:
    """Whether its holder should have reported by now."""
    return now >= at(entry.expires_at)


def _words_of(entry: InFlight) -> str:
    return f"{entry.operation.value} of {entry.target.kind} {entry.target.name} by {entry.requester}"


def _holder(entry: InFlight, now: datetime) -> str:
    words = f"{_words_of(entry)} holds it since {entry.granted_at} (grant {entry.op_id})"
    if not is_expired(entry, now):
        return words
    return (
        f"{words}; no outcome came by {entry.expires_at}, so it counts until its target is seen healthy or gone, or its outcome is reported"
    )
