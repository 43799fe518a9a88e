"""Which OperationGrants may be forgotten, and what a Ledger that was lost must hold. Pure; called by cluster_operator/risk and services/ledger.

A finished grant is history for a day, and a namespace keeps at most the last 200 of them: a requester that is denied for days must not fill etcd.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime, timedelta

from operators.api.risk import Decision, InFlight, LedgerSpec, OperationGrant, OperationGrantStatus, Spent
from operators.domain.risk.bookkeeping import LOG_ROOM
from operators.domain.risk.identity import at

KEPT_FOR = timedelta(hours=24)
KEPT_PER_NAMESPACE = 200
NEVER_BEFORE = timedelta(minutes=10)
"""Longer than any retryAfter: the attempt that was denied last must be there when its requester comes back."""


def finished_at(grant: OperationGrant) -> datetime | None:
    """When it was denied or settled; None while it is pending, granted or Unknown."""
    status = grant.status or OperationGrantStatus()
    if status.settled_at:
        return at(status.settled_at)
    return at(status.decided_at) if status.decision is Decision.Denied and status.decided_at else None


def forgettable(grants: Iterable[OperationGrant], now: datetime) -> list[OperationGrant]:
    """Finished grants that are older than a day, or beyond the last 200 of their namespace; oldest first."""
    finished: dict[str, list[tuple[datetime, OperationGrant]]] = defaultdict(list)
    for grant in grants:
        if moment := finished_at(grant):
            finished[grant.metadata.namespace or ""].append((moment, grant))
    found = []
    for entries in finished.values():
        entries.sort(key=lambda entry: (entry[0], entry[1].metadata.name), reverse=True)
        found += [
            (moment, grant)
            for rank, (moment, grant) in enumerate(entries)
            if now - moment >= NEVER_BEFORE and (rank >= KEPT_PER_NAMESPACE or now - moment >= KEPT_FOR)
        ]
    return [grant for _, grant in sorted(found, key=lambda entry: (entry[0], entry[1].metadata.name))]


def rebuilt_ledger(grants: Iterable[OperationGrant], epoch: int) -> LedgerSpec:
    """The Ledger that the stored grants imply: every grant that somebody may be acting on, and a log of all that were granted.

    Grants that were deleted are not known to it; breakers that were open are closed.
    """
    stored = list(grants)
    log = sorted(filter(None, (_spent_of(grant) for grant in stored)), key=lambda spent: (at(spent.at), spent.op_id))[-LOG_ROOM:]
    in_flight = tuple(_entry_of(grant, status) for grant in stored if (status := _in_flight(grant)))
    return LedgerSpec(in_flight=in_flight, log=tuple(log), time=log[-1].at if log else None, epoch=epoch)


def _spent_of(grant: OperationGrant) -> Spent | None:
    status, spec = grant.status or OperationGrantStatus(), grant.spec
    if status.decision not in (Decision.Granted, Decision.Unknown) or not status.decided_at:
        return None
    return Spent(
        op_id=grant.metadata.name,
        namespace=grant.metadata.namespace or "",
        operation=spec.operation,
        target=spec.target,
        purpose=spec.purpose,
        at=status.decided_at,
        outcome=spec.outcome,
    )


def _in_flight(grant: OperationGrant) -> OperationGrantStatus | None:
    status = grant.status or OperationGrantStatus()
    granted = status.decision in (Decision.Granted, Decision.Unknown)
    return status if granted and not status.settled_at and not grant.spec.outcome else None


def _entry_of(grant: OperationGrant, status: OperationGrantStatus) -> InFlight:
    created = grant.metadata.creation_timestamp or "1970-01-01T00:00:00Z"
    return InFlight(
        op_id=grant.metadata.name,
        namespace=grant.metadata.namespace or "",
        operation=grant.spec.operation,
        target=grant.spec.target,
        requester=grant.spec.requester,
        purpose=grant.spec.purpose,
        granted_at=status.decided_at or created,
        expires_at=status.expires_at or created,
    )
