"""What the risk centre does next about one OperationGrant: one rung at a time, from the grant, the Ledger and a look at the target.

Pure. Called by cluster_operator/risk/grants.py. The order of reading matters and is the caller's duty: the grant before the Ledger, because
the Ledger is written before the grant's status, so a grant that says Granted was in the Ledger when it was read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from operators.api.risk import Decision, InFlight, LedgerSpec, OperationGrant, OperationGrantStatus
from operators.domain.risk.identity import EntryKey, at, key_of
from operators.domain.risk.sighting import Sighted, Sighting
from operators.errors import KokError

UNKNOWN_GRACE = 60.0
"""Seconds between the end of a grant's time and the earliest freeing of its slot by a look at the target: whoever checked the grant in its last second is done by then."""
LOOK_AGAIN = 30.0
"""Seconds between two looks at a target whose holder vanished, and between two reads of a Ledger that is not there."""


@dataclass(frozen=True, slots=True)
class GrantView:
    """Everything one pass looks at. `ledger` is the error if it could not be read, None if a request that nobody answered needs no reading;
    `sighted` is set for grants that are Unknown only.
    """

    grant: OperationGrant
    ledger: LedgerSpec | KokError | None
    now: datetime
    sighted: Sighted | None = None

    @property
    def key(self) -> EntryKey:
        """Its operation."""
        return EntryKey(self.grant.metadata.namespace or "", self.grant.metadata.name)

    @property
    def status(self) -> OperationGrantStatus:
        """Its status; empty before the first answer."""
        return self.grant.status or OperationGrantStatus()

    @property
    def entry(self) -> InFlight | None:
        """Its slot in the Ledger."""
        if not isinstance(self.ledger, LedgerSpec):
            return None
        return next((entry for entry in self.ledger.in_flight if key_of(entry) == self.key), None)


@dataclass(frozen=True, slots=True)
class Answer:
    """Weigh it against the Ledger and write down what came out."""

    reason: str = "asked"
    after: float | None = 0.0


@dataclass(frozen=True, slots=True)
class Settle:
    """Free its slot in the Ledger, if there is one, and say so in its status."""

    reason: str
    after: float | None = 0.0


@dataclass(frozen=True, slots=True)
class MarkUnknown:
    """Its time is over: nobody may act on it any more, and it still counts."""

    reason: str
    after: float | None = 0.0


@dataclass(frozen=True, slots=True)
class Hold:
    """Nothing to do until `after` seconds passed, or until it changes."""

    reason: str
    after: float | None = None


Step = Answer | Settle | MarkUnknown | Hold


def next_step(view: GrantView) -> Step:
    """The first rung with something to do."""
    for rung in LADDER:
        if step := rung(view):
            return step
    return Hold("settled")


def denied(view: GrantView) -> Step | None:
    """A denial is final: if another risk centre took a slot for it meanwhile, nobody can use it, so it is given back."""
    if view.status.decision is not Decision.Denied:
        return None
    return Settle("denied, so its slot is free") if view.entry else Hold("denied")


def reported(view: GrantView) -> Step | None:
    """The holder reported the end, before or after it was answered."""
    outcome = view.grant.spec.outcome
    if outcome is None or (view.status.settled_at and not view.entry):
        return None
    if isinstance(view.ledger, KokError):
        return Hold(view.ledger.message, after=LOOK_AGAIN)
    return Settle(f"its holder reported {outcome.value}")


def unanswered(view: GrantView) -> Step | None:
    """Nobody answered yet."""
    return Answer() if view.status.decision is None and not view.status.settled_at else None


def ledger_is_lost(view: GrantView) -> Step | None:
    """Without the Ledger nothing is freed; who was granted before keeps the grant."""
    if not isinstance(view.ledger, KokError) or view.status.settled_at:
        return None
    return Hold(view.ledger.message, after=LOOK_AGAIN)


def given_up(view: GrantView) -> Step | None:
    """Granted once and in the Ledger no more: a newer operation of its requester on the same target took its place."""
    if view.entry and view.status.settled_at:
        return Settle("it was settled before")
    if view.entry or view.status.settled_at:
        return None
    return Settle("its slot was taken over by a newer operation of its requester on the same target")


def in_time(view: GrantView) -> Step | None:
    """The holder is expected to be at work."""
    entry = view.entry
    if entry is None:
        return None
    left = (at(entry.expires_at) - view.now).total_seconds()
    if view.status.decision is Decision.Unknown:
        return None
    if left > 0:
        return Hold(f"granted, in the hands of {entry.requester}", after=left)
    return MarkUnknown(
        f"{entry.requester} reported no outcome by {entry.expires_at}: it still counts until its target is seen healthy or gone"
    )


def unknown(view: GrantView) -> Step | None:
    """Only what is seen of the target frees the slot of a holder that vanished."""
    entry, sighted = view.entry, view.sighted
    if entry is None or sighted is None:
        return None
    overdue = (view.now - at(entry.expires_at)).total_seconds()
    if overdue < UNKNOWN_GRACE:
        return Hold("its holder may be about to report", after=UNKNOWN_GRACE - overdue)
    if sighted.frees:
        return Settle(
            f"its holder never reported; {entry.target.kind} {entry.target.name} was seen {sighted.sighting.lower()}: {sighted.detail}"
        )
    return Hold(
        f"its holder never reported, and {entry.target.kind} {entry.target.name} is not seen healthy: {sighted.detail}", after=LOOK_AGAIN
    )


Rung = Callable[[GrantView], Step | None]
LADDER: tuple[Rung, ...] = (denied, reported, unanswered, ledger_is_lost, given_up, in_time, unknown)


def frees_orphan(entry: InFlight, sighted: Sighted, now: datetime) -> bool:
    """Whether a slot whose OperationGrant was deleted may be freed. Without the object nobody can verify, so nobody can begin; who began may still act."""
    if sighted.sighting is Sighting.Gone:
        return True
    return sighted.frees and (now - at(entry.expires_at)).total_seconds() >= UNKNOWN_GRACE
