"""OperationGrant and Ledger: one request for one dangerous act, and the risk centre's serialisation point. Rules: docs/architecture.md, "The risk centre"."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field

from operators.api.base import Column, DnsLabel, DnsName, KindInfo, Model, Resource, Scope, Text, Timestamp, cel, list_map, rules


class Operation(StrEnum):
    """The closed list of dangerous acts; anything else is denied."""

    DeleteMachine = "DeleteMachine"
    ReinstallOS = "ReinstallOS"
    PowerCycle = "PowerCycle"
    Reboot = "Reboot"
    Drain = "Drain"
    Cordon = "Cordon"
    RestartMaster = "RestartMaster"
    RemoveEtcdMember = "RemoveEtcdMember"
    UpgradePlane = "UpgradePlane"
    DeletePlane = "DeletePlane"
    ApplyPackage = "ApplyPackage"


class Purpose(StrEnum):
    """What an act is part of: only rollbacks and repairs may use what a budget keeps for them."""

    Forward = "Forward"
    Rollback = "Rollback"
    Repair = "Repair"


class Target(Model):
    """What the act is done to."""

    kind: Annotated[str, Field(min_length=1, max_length=63)]
    """Machine, Cluster, Pod, ..."""
    name: DnsName
    """Of the object."""
    cluster: DnsLabel
    """The business cluster it belongs to."""
    pool: Annotated[str, Field(max_length=63)] = ""
    """The pool of a Machine."""
    zone: Annotated[str, Field(max_length=63)] = ""
    """The failure domain of a Machine."""


class Outcome(StrEnum):
    """How an act ended, as its holder reports it."""

    Succeeded = "Succeeded"
    Failed = "Failed"
    Cancelled = "Cancelled"


class OperationGrantSpec(Model):
    """The request, which never changes, and the holder's report of its end, which is written once."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            cel(
                "self.operation == oldSelf.operation && self.target == oldSelf.target && self.requester == oldSelf.requester "
                "&& self.attempt == oldSelf.attempt && self.step == oldSelf.step && self.workflow == oldSelf.workflow "
                "&& has(self.purpose) == has(oldSelf.purpose) && (!has(self.purpose) || self.purpose == oldSelf.purpose)",
                "a request never changes; a new try is a new OperationGrant with the next attempt",
            ),
            cel("!has(oldSelf.outcome) || (has(self.outcome) && self.outcome == oldSelf.outcome)", "the outcome is reported once"),
        )
    )

    operation: Operation
    """One of the closed list."""
    target: Target
    """What it is done to."""
    requester: Annotated[str, Field(min_length=1, max_length=253)]
    """Who will act, for example machine-operator/demo."""
    workflow: Annotated[str, Field(max_length=63)] = ""
    """What it is part of: decommission, update, ..."""
    step: Annotated[str, Field(max_length=63)] = ""
    """Which step of it."""
    purpose: Purpose = Purpose.Forward
    """Rollback and Repair may use what budgets keep for them."""
    attempt: Annotated[int, Field(ge=0, le=10000)] = 0
    """A denial is final for its attempt; a new try is the next one."""
    reason: Text = ""
    """Why, one sentence."""
    ttl_seconds: Annotated[int, Field(ge=10, le=86400)] = 900
    """The holder is expected to report within this time after the grant; later the grant is Unknown and still counts."""
    outcome: Outcome | None = None
    """The holder's report; frees the slot."""


class Decision(StrEnum):
    """The risk centre's answer."""

    Granted = "Granted"
    """The holder may act until expiresAt."""
    Denied = "Denied"
    """Final for this attempt."""
    Unknown = "Unknown"
    """Was granted, and no outcome came in time: nobody may act on it any more, and it still counts."""


class OperationGrantStatus(Model):
    """Written by the risk centre only."""

    decision: Decision | None = None
    """Granted or Denied; absent until answered; Unknown when a granted act was not reported in time."""
    message: Text = ""
    """Why; for a denial which limit said no and who holds it."""
    decided_at: Timestamp | None = None
    """When the risk centre answered."""
    expires_at: Timestamp | None = None
    """When the grant turns Unknown (still counted) if no outcome was reported."""
    retry_after_seconds: Annotated[int, Field(ge=0)] | None = None
    """With Denied: when a new attempt makes sense."""
    settled_at: Timestamp | None = None
    """When the slot was freed."""


class OperationGrant(Resource):
    """One request for one dangerous act on one target; its name is the operation's id. Answered by the risk centre only."""

    INFO: ClassVar[KindInfo] = KindInfo(
        plural="operationgrants",
        short=("og",),
        scope=Scope.Namespaced,
        columns=(
            Column("Operation", ".spec.operation"),
            Column("Target", ".spec.target.name"),
            Column("Decision", ".status.decision"),
            Column("Outcome", ".spec.outcome"),
            Column("Message", ".status.message", priority=1),
            Column("Age", ".metadata.creationTimestamp", "date"),
        ),
    )
    kind: Literal["OperationGrant"] = "OperationGrant"
    spec: OperationGrantSpec
    status: OperationGrantStatus | None = None


class InFlight(Model):
    """One slot that is taken."""

    op_id: Annotated[str, Field(max_length=253)]
    """Name of the grant."""
    namespace: DnsLabel
    """Of the grant."""
    operation: Operation
    target: Target
    requester: Annotated[str, Field(max_length=253)]
    """Who asked for it."""
    purpose: Purpose = Purpose.Forward
    granted_at: Timestamp
    """When it was given."""
    expires_at: Timestamp
    """When it turns Unknown, and is still counted."""


class Spent(Model):
    """One operation that was granted, as rates count it."""

    op_id: Annotated[str, Field(max_length=253)]
    """Name of the grant."""
    namespace: DnsLabel
    """Of the grant."""
    operation: Operation
    target: Target
    purpose: Purpose = Purpose.Forward
    at: Timestamp
    """When it was granted."""
    outcome: Outcome | None = None
    """How it ended, as far as its holder said."""


class Window(Model):
    """The number of targets that percentages of one budget are taken of, in one scope: counted at the window's start and kept until its end."""

    budget: DnsName
    """The OperationBudget."""
    scope: Annotated[str, Field(max_length=253)]
    """As domain/risk/scopes.py writes it."""
    started_at: Timestamp
    """When it was counted."""
    targets: Annotated[int, Field(ge=0)]
    """How many there were then."""


class BreakerPhase(StrEnum):
    """State of a breaker; one that was never open is not written down."""

    Closed = "Closed"
    """It was open lately: what ended before says nothing any more."""
    Open = "Open"
    """Forward operations are denied."""
    HalfOpen = "HalfOpen"
    """One probe at a time."""


class BreakerCause(StrEnum):
    """What opened a breaker."""

    Exceeded = "Exceeded"
    """Somebody tried to exceed a limit."""
    Failures = "Failures"
    """Too many operations failed."""
    Verdict = "Verdict"
    """A rollout found bad what it brought into the scope."""
    Storm = "Storm"
    """Too many targets were lost without anybody's leave."""


class Witness(Model):
    """A request by which a storm was seen: whoever looks again looks as it did."""

    namespace: DnsLabel
    """Of the request."""
    operation: Operation
    target: Target
    """What it was about."""


class Breaker(Model):
    """A breaker that is or was lately open, of one budget in one scope."""

    budget: DnsName
    """The OperationBudget."""
    scope: Annotated[str, Field(max_length=253)]
    """As domain/risk/scopes.py writes it."""
    phase: BreakerPhase
    since: Timestamp
    """When it came into this phase."""
    cool_down_seconds: Annotated[int, Field(ge=1)]
    """Doubled with every probe that failed."""
    reason: Text = ""
    """What tripped it, one sentence; of a closed one, who closed it."""
    cause: BreakerCause = BreakerCause.Exceeded
    """What sort of thing that was."""
    opened_at: Annotated[str, Field(max_length=64)] = ""
    """When it opened last; empty of one from before this was written down: then `since` counts."""
    origin: Annotated[str, Field(max_length=253)] = ""
    """Of a Verdict: which, as in `verdicts`."""
    calm_since: Annotated[str, Field(max_length=64)] = ""
    """Of a Verdict or a Storm: since when the cause is below its lower threshold; empty while it is not."""
    witness: Witness | None = None
    """Of a Storm."""
    probe: Annotated[str, Field(max_length=253)] = ""
    """HalfOpen: the grant that is tried now; empty while none is."""


class LedgerSpec(Model):
    """Everything the risk centre must not forget."""

    in_flight: Annotated[tuple[InFlight, ...], Field(max_length=2000, json_schema_extra=list_map("namespace", "opId"))] = ()
    """Slots taken: granted and neither settled nor seen to be over."""
    log: Annotated[tuple[Spent, ...], Field(max_length=2000)] = ()
    """What was granted, oldest first, as long as some budget's window needs it."""
    windows: Annotated[tuple[Window, ...], Field(max_length=2000, json_schema_extra=list_map("budget", "scope"))] = ()
    """Frozen denominators of percentages."""
    breakers: Annotated[tuple[Breaker, ...], Field(max_length=1000, json_schema_extra=list_map("budget", "scope"))] = ()
    """Breakers that are or were lately open."""
    verdicts: Annotated[tuple[Annotated[str, Field(max_length=253)], ...], Field(max_length=300)] = ()
    """FAIL verdicts of the last day (uid of the FleetRollout/stage) that were taken into account: none opens a breaker twice."""
    releases: Annotated[int, Field(ge=0)] = 0
    """Rises with every slot that was freed: who looked at the targets before must look again."""
    time: Timestamp | None = None
    """The latest moment that was written: time does not go back behind it."""
    epoch: Annotated[int, Field(ge=0)] = 0
    """Rises with every risk centre that took office; an older one's writes fail."""


class Ledger(Resource):
    """The risk centre's serialisation point, changed by compare-and-swap only. One object, `ledger`, in kok-system."""

    INFO: ClassVar[KindInfo] = KindInfo(
        plural="ledgers",
        short=(),
        scope=Scope.Namespaced,
        columns=(Column("Epoch", ".spec.epoch", "integer"), Column("Age", ".metadata.creationTimestamp", "date")),
        status=False,
    )
    kind: Literal["Ledger"] = "Ledger"
    spec: LedgerSpec
