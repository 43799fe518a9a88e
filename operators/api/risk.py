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
    ApplyPackage = "ApplyPackage"


class Target(Model):
    """What the act is done to."""

    kind: Annotated[str, Field(min_length=1, max_length=63)]
    """Machine, Cluster, Pod, ..."""
    name: DnsName
    cluster: DnsLabel
    """The business cluster it belongs to."""
    pool: Annotated[str, Field(max_length=63)] = ""
    """The pool of a Machine: the scope of the plain limit."""
    zone: Annotated[str, Field(max_length=63)] = ""


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
                "&& self.attempt == oldSelf.attempt && self.step == oldSelf.step && self.workflow == oldSelf.workflow",
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
    operation: Operation
    target: Target
    requester: Annotated[str, Field(max_length=253)]
    granted_at: Timestamp
    expires_at: Timestamp


class LedgerSpec(Model):
    """Everything the risk centre must not forget."""

    in_flight: Annotated[tuple[InFlight, ...], Field(max_length=2000, json_schema_extra=list_map("namespace", "opId"))] = ()
    """Slots taken: granted and neither settled nor seen to be over."""
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
