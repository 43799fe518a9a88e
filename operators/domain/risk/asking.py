"""The other side of a grant: what somebody who wants to act does next, from the OperationGrants of that act as they are stored.

Pure, so a restarted process goes on with the right attempt. Called by adapters/grants_kube.py and its twin.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from operators.api.risk import Decision, Operation, OperationGrant, OperationGrantStatus
from operators.domain.risk.identity import at

POLL = 2.0
"""Seconds until an unanswered request is looked at again."""


@dataclass(frozen=True, slots=True)
class Create:
    """Ask the risk centre, with this attempt."""

    attempt: int


@dataclass(frozen=True, slots=True)
class Held:
    """It was granted, and it is still good."""

    grant: OperationGrant


@dataclass(frozen=True, slots=True)
class Wait:
    """Not yet, or denied; `attempt` is the one to ask with after `seconds`."""

    message: str
    seconds: float
    denied: bool
    attempt: int


def next_ask(stored: Sequence[OperationGrant], first_attempt: int, now: datetime) -> Create | Held | Wait:
    """From all attempts of one act. Only the newest counts; a new one is made only when it can no longer be used.

    A grant whose time ran out is not used again, not even by its own holder: the next attempt takes over its slot (the target counts once).
    """
    if not stored:
        return Create(first_attempt)
    newest = max(stored, key=lambda grant: grant.spec.attempt)
    following = Create(max(newest.spec.attempt + 1, first_attempt))
    status = newest.status or OperationGrantStatus()
    if newest.spec.outcome or status.settled_at or newest.deleting:
        return following
    if status.decision is None:
        return Wait(f"asked to {words_of(newest)}; the risk centre has not answered yet", POLL, denied=False, attempt=newest.spec.attempt)
    if status.decision is Decision.Denied:
        left = _retry_left(newest, status, now)
        return following if left <= 0 else Wait(status.message, left, denied=True, attempt=following.attempt)
    return Held(newest) if not why_invalid(newest, now) else following


def why_invalid(grant: OperationGrant, now: datetime) -> str:
    """Why nobody may act on it; empty if its holder may. What does not say clearly yes is no."""
    status = grant.status or OperationGrantStatus()
    if grant.deleting:
        return "it is being deleted"
    if status.decision is not Decision.Granted:
        return f"it is {status.decision.value if status.decision else 'not answered yet'}"
    if grant.spec.outcome or status.settled_at:
        return "it is settled"
    if status.expires_at is None:
        return "it says no time"
    if now >= at(status.expires_at):
        return f"its time was over at {status.expires_at}"
    return ""


def words_of(grant: OperationGrant) -> str:
    """What is asked, for a sentence."""
    return f"{grant.spec.operation.value} {grant.spec.target.kind} {grant.spec.target.name}"


def is_for(grant: OperationGrant, operation: Operation, target_name: str) -> bool:
    """Whether it is for this act and no other."""
    return grant.spec.operation is operation and grant.spec.target.name == target_name


def _retry_left(newest: OperationGrant, status: OperationGrantStatus, now: datetime) -> float:
    decided = at(status.decided_at) if status.decided_at else now
    return (decided + timedelta(seconds=status.retry_after_seconds or 0) - now).total_seconds()
