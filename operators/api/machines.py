"""Machine: one host as its business cluster sees it, and what an admin may ask of it there. Written by the Machine-Operator."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from operators.api.base import Column, Conditions, DnsLabel, KindInfo, Model, ObservedGeneration, Resource, Scope, Text, Timestamp, list_map
from operators.api.hosts import PackageNames
from operators.api.pending import Effect, PendingChange
from operators.api.pools import ReadinessGate


class DesiredState(StrEnum):
    """What a business admin may ask of a Machine."""

    InService = "InService"
    Maintenance = "Maintenance"
    Decommissioned = "Decommissioned"


class MachineSpec(Model):
    """The host's name, its packages (a copy of the release), its gates, and what state is asked for."""

    pool: DnsLabel
    """MachinePool in the meta cluster, for people."""
    packages: PackageNames = ()
    """Copied from the MachinePoolRelease; only the Machine-Operator writes it."""
    readiness_gates: Annotated[tuple[ReadinessGate, ...], Field(max_length=32, json_schema_extra=list_map("type"))] = ()
    """What must hold beside kok's own gates."""
    desired_state: DesiredState = DesiredState.InService
    """InService, Maintenance (cordoned and drained, kept), Decommissioned (drained, cleaned, removed)."""


class ObservedPackage(Model):
    """One package on the host."""

    component: DnsLabel
    """What it is a version of."""
    wanted: Annotated[str, Field(max_length=253)] = ""
    """MachinePackageVersion; empty when it is to be removed."""
    version: Annotated[str, Field(max_length=128)] = ""
    """What the host says; empty when absent."""
    matches: bool
    """Whether files, units, settings and version are as wanted."""
    pending: Effect | None = None
    """What making it match will do to the host's pods."""
    difference: Text = ""
    """The first thing that differs."""


class Repair(Model):
    """Something that was changed on the host by hand, and was put back."""

    component: DnsLabel
    """Whose package it belongs to."""
    found: Text
    """What was wrong, one sentence."""
    found_at: Timestamp
    """When kok set out to put it back."""
    put_back_at: Timestamp | None = None
    """When a look found it right again; absent: not yet."""


REPAIRS_KEPT = 16


class MachineStatus(Model):
    """Displays only; rebuilt from host, Node and gates at every pass."""

    observed_generation: ObservedGeneration = 0
    """metadata.generation this was derived from."""
    phase: Annotated[str, Field(max_length=64)] = ""
    """The rung in hand, one word."""
    message: Text = ""
    """The reason of the last step, one sentence."""
    address: Annotated[str, Field(max_length=253)] = ""
    """Where SSH finds the host."""
    boot_id: Annotated[str, Field(alias="bootID", max_length=64)] = ""
    """The kernel's boot id at the last probe."""
    packages: Annotated[tuple[ObservedPackage, ...], Field(max_length=64, json_schema_extra=list_map("component"))] = ()
    """What is wanted, and what was found at the last look."""
    pending: Annotated[tuple[PendingChange, ...], Field(max_length=64, json_schema_extra=list_map("component"))] = ()
    """Changes that are still to come, and what each does to the host's pods."""
    repairs: Annotated[tuple[Repair, ...], Field(max_length=REPAIRS_KEPT)] = ()
    """The last things that were changed by hand and put back, the newest last."""
    conditions: Conditions = ()
    """Ready, Reconciling, Stalled, HostReachable, PackagesReady, NodeReady, GatesOpen, Drained and each gate."""


class Machine(Resource):
    """One host of this business cluster. Lives in the business cluster, so that its admins can see and ask; decisions read hosts and packages from the meta cluster only."""

    INFO: ClassVar[KindInfo] = KindInfo(
        plural="machines",
        short=("kma",),
        scope=Scope.Cluster,
        home="business",
        columns=(
            Column("Pool", ".spec.pool"),
            Column("State", ".spec.desiredState"),
            Column("Ready", ".status.conditions[?(@.type=='Ready')].status"),
            Column("Phase", ".status.phase"),
            Column("Message", ".status.message", priority=1),
            Column("Age", ".metadata.creationTimestamp", "date"),
        ),
    )
    kind: Literal["Machine"] = "Machine"
    spec: MachineSpec
    status: MachineStatus | None = None
