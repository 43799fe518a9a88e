"""Leave to act: dangerous verbs take a `Grant`, and only the risk centre's answer makes one. Any error on the way means no.

Asking is idempotent: the same request finds the same OperationGrant, so a crash between grant and act never spends twice.
Real: adapters/grants_kube.py. Called by both operators.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NewType, Protocol

from operators.api.risk import Operation, Outcome, Purpose, Target
from operators.errors import ErrorCode, KokError

OpId = NewType("OpId", str)


@dataclass(frozen=True, slots=True)
class GrantRequest:
    """One dangerous act, named so that the same act has the same name after a restart."""

    namespace: str
    """Meta namespace of the business cluster."""
    operation: Operation
    target: Target
    target_uid: str
    """uid of the object (Machine, claim, ...): an object made anew is another act."""
    requester: str
    workflow: str
    step: str
    attempt: int
    reason: str
    ttl_seconds: int = 900
    purpose: Purpose = Purpose.Forward
    """Rollback and Repair may use what budgets keep for them."""


@dataclass(frozen=True, slots=True)
class Grant:
    """Proof that the risk centre said yes. Made by the grants adapter only; verified again right before the act."""

    op_id: OpId
    namespace: str
    uid: str
    operation: Operation
    target: Target


@dataclass(frozen=True, slots=True)
class Waiting:
    """No answer yet, or denied: `message` says which limit and who holds it; ask again after `retry_after` seconds."""

    message: str
    retry_after: float
    denied: bool
    attempt: int
    """The attempt to ask with next."""


class GrantsPort(Protocol):
    """Asks the risk centre."""

    async def ask(self, request: GrantRequest) -> Grant | Waiting:
        """The grant, or why not (yet). Errors of the API are Waiting with the reason, never a Grant."""
        ...

    async def verify(self, grant: Grant, *, operation: Operation, target: str, left: float = 0.0) -> None:
        """Re-read right before acting. Raises KokError GrantInvalid unless it is granted, unsettled, for this operation and target, and not
        expired `left` seconds from now.
        """
        ...

    async def settle(self, grant: Grant, outcome: Outcome) -> None:
        """Report the end of the act; frees the slot. Idempotent."""
        ...


class NoLeave:
    """GrantsPort of a process that knows no risk centre: nobody may do anything."""

    async def ask(self, request: GrantRequest) -> Grant | Waiting:
        """See GrantsPort."""
        return Waiting(
            f"no risk centre was given that could grant to {request.operation} {request.target.name}", 60.0, True, request.attempt
        )

    async def verify(self, grant: Grant, *, operation: Operation, target: str, left: float = 0.0) -> None:
        """See GrantsPort."""
        raise KokError(ErrorCode.GrantInvalid, f"there is no risk centre that could confirm {grant.op_id}", "nothing was done")

    async def settle(self, grant: Grant, outcome: Outcome) -> None:
        """See GrantsPort."""
        raise KokError(ErrorCode.GrantInvalid, f"there is no risk centre that {grant.op_id} could be reported to", "nothing was done")
