"""MachinePool and MachinePoolRelease: hosts as wished, and what each is authorised for. Read by the Machine-Operator."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field

from operators.api.base import (
    LIST_SET,
    Column,
    Conditions,
    DnsLabel,
    DnsName,
    KindInfo,
    Model,
    ObservedGeneration,
    Resource,
    Scope,
    Text,
    Timestamp,
    cel,
    list_map,
    rules,
)
from operators.api.cluster_release import AuthorisedBy
from operators.api.hosts import Host, PackageNames
from operators.api.labels import LabelKey, Labels, LabelValue
from operators.api.pending import Effect, PendingSum

PRINTABLE = r"^[^\x00-\x1f\x7f]*$"


class FollowCluster(StrEnum):
    """Where a pool's packages come from."""

    Cluster = "Cluster"


class PoolPackages(Model):
    """Which MachinePackageVersions the hosts get."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            cel("has(self.follow) != has(self.explicit)", "set either follow: Cluster or explicit: [...], not both and not neither")
        )
    )

    follow: FollowCluster | None = None
    """Cluster: what the cluster's ClusterPackageVersion lists."""
    explicit: Annotated[tuple[DnsName, ...], Field(max_length=32, json_schema_extra=LIST_SET)] | None = None
    """Exactly these."""
    extra: Annotated[tuple[DnsName, ...], Field(max_length=32, json_schema_extra=LIST_SET)] = ()
    """In addition; replaces a followed package of the same component."""


class GateSource(StrEnum):
    """Where a readiness gate is read from."""

    ConfigMap = "ConfigMap"
    NodeCondition = "NodeCondition"


RESERVED_GATES = ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure", "NetworkUnavailable")
"""Conditions of a Node that the kubelet and its controllers write: no report may be shown in their place."""


class ReadinessGate(Model):
    """One condition that must hold before the node takes pods, beside kok's own."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            cel(
                "(has(self.source) && self.source == 'NodeCondition') || (has(self.reporter) && self.reporter != '')",
                "a gate that is read from a ConfigMap needs a reporter: the user name whose reports count",
            ),
            cel(
                f"(has(self.source) && self.source == 'NodeCondition') || !(self.type in {list(RESERVED_GATES)})",
                "this condition is the kubelet's own; use source: NodeCondition, or another type",
            ),
        )
    )

    type: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9]*$", min_length=1, max_length=63)]
    """For example LogAgentReady."""
    source: GateSource = GateSource.ConfigMap
    """A condition ConfigMap, or a condition of the Node."""
    reporter: Annotated[str, Field(pattern=PRINTABLE, max_length=253)] = ""
    """The only identity whose reports count (ConfigMap), for example system:serviceaccount:logging:agent."""
    max_age_seconds: Annotated[int, Field(ge=10, le=86400)] = 600
    """ConfigMap: the reporter must have renewed its Lease within this time. NodeCondition: the condition's last heartbeat must be younger."""


class TaintEffect(StrEnum):
    """As in core/v1."""

    NoSchedule = "NoSchedule"
    PreferNoSchedule = "PreferNoSchedule"
    NoExecute = "NoExecute"


class Taint(Model):
    """A taint the pool's nodes carry."""

    key: LabelKey
    """As in core/v1."""
    value: LabelValue = ""
    """As in core/v1."""
    effect: TaintEffect


class MaxUnavailable(Model):
    """How many hosts of a pool may be out of service at once: min(count, percent rounded down), but at least floor."""

    count: Annotated[int, Field(ge=0, le=200)] = 1
    """Hosts, whatever the size of the pool."""
    percent: Annotated[int, Field(ge=0, le=100)] = 10
    """Of the pool's hosts, rounded down."""
    floor: Annotated[int, Field(ge=0, le=10)] = 1
    """At least so many, or a small pool would never change."""


class KubeletMinor(StrEnum):
    """What a kubelet minor upgrade does first."""

    Drain = "Drain"
    InPlace = "InPlace"


class UpdateStrategy(Model):
    """How changes reach the hosts: batch by batch, the next one only when every host of the last is in service with the new packages."""

    max_unavailable: MaxUnavailable = MaxUnavailable()
    """How many hosts may be out of service at once, for whatever reason."""
    per_zone: Annotated[int, Field(ge=1, le=200)] = 1
    """How many of them in one zone; hosts without a zone are not limited by it."""
    partition: Annotated[int, Field(ge=0, le=200)] = 0
    """So many hosts, the first by name, keep what they have."""
    paused: bool = False
    """No further host is authorised; hosts that are authorised are finished."""
    max_effect: Effect = Effect.Drain
    """The worst that a change may do to the pods of a host; what needs more waits, and says so (`status.pending`)."""
    kubelet_minor: KubeletMinor = KubeletMinor.Drain
    """Whether a node is drained before its kubelet's minor changes; InPlace: as the package says."""


class MachinePoolSpec(Model):
    """The wish."""

    cluster_name: Annotated[
        DnsLabel,
        Field(json_schema_extra=rules(cel("self == oldSelf", "a pool stays with its cluster; create another pool and move the hosts"))),
    ]
    """The Cluster of this namespace."""
    hosts: Annotated[
        tuple[Host, ...],
        Field(
            max_length=200,
            json_schema_extra=list_map("name")
            | rules(
                cel(
                    "self.all(h, self.exists_one(o, o.address == h.address && o.port == h.port))",
                    "two hosts have the same address and port; a host belongs into a pool once",
                )
            ),
        ),
    ] = ()
    """At most 200; more hosts are more pools."""
    packages: PoolPackages
    """What is installed on them."""
    labels: Labels = Field(default_factory=dict)
    """Labels of the nodes."""
    taints: Annotated[tuple[Taint, ...], Field(max_length=16, json_schema_extra=list_map("key", "effect"))] = ()
    """Taints of the nodes."""
    readiness_gates: Annotated[tuple[ReadinessGate, ...], Field(max_length=16, json_schema_extra=list_map("type"))] = ()
    """Beside kok's own gates."""
    update: UpdateStrategy = UpdateStrategy()
    """How changes reach the hosts."""


class GateCount(Model):
    """One gate of a pool, counted over its machines that have a Node."""

    type: Annotated[str, Field(max_length=63)]
    """The gate."""
    holds: Annotated[int, Field(ge=0)] = 0
    """Machines on which it holds."""
    closed: Annotated[int, Field(ge=0)] = 0
    """Machines that take no new pods and on which it does not hold."""
    would_close: Annotated[int, Field(ge=0)] = 0
    """Machines that still take pods although it does not hold: they are closed one after the other, as budgets allow."""


class PoolStaging(Model):
    """Artifacts of one package that a rollout wants on the hosts before it changes them, counted over the pool's hosts."""

    package: DnsName
    """The MachinePackageVersion."""
    hosts: Annotated[int, Field(ge=0)] = 0
    """Hosts of the pool."""
    staged: Annotated[int, Field(ge=0)] = 0
    """Hosts that were seen to have all of its artifacts."""
    failed: Annotated[int, Field(ge=0)] = 0
    """Hosts that did not get them so far; they are tried again, and nothing waits for them."""
    trouble: Text = ""
    """Why, of the first of those by name."""


class MachinePoolStatus(Model):
    """Displays only."""

    observed_generation: ObservedGeneration = 0
    """metadata.generation this was derived from."""
    machines: Annotated[int, Field(ge=0)] = 0
    """Machines that exist."""
    ready: Annotated[int, Field(ge=0)] = 0
    """Open to pods."""
    gates: Annotated[tuple[GateCount, ...], Field(max_length=48, json_schema_extra=list_map("type"))] = ()
    """Each readiness gate, and how many machines it closes and would close."""
    pending: PendingSum = ()
    """Changes that are still to come, authorised or not."""
    staging: Annotated[tuple[PoolStaging, ...], Field(max_length=64, json_schema_extra=list_map("package"))] = ()
    """What rollouts want on the hosts before they change them, and how far that is."""
    message: Text = ""
    """What is in hand, one sentence."""
    conditions: Conditions = ()
    """Ready, Reconciling, Stalled, GatesHold."""


class MachinePool(Resource):
    """Hosts of one cluster that are alike: which they are, what is installed on them, when their nodes open."""

    INFO: ClassVar[KindInfo] = KindInfo(
        plural="machinepools",
        short=("kmp",),
        scope=Scope.Namespaced,
        columns=(
            Column("Cluster", ".spec.clusterName"),
            Column("Machines", ".status.machines", "integer"),
            Column("Ready", ".status.ready", "integer"),
            Column("Message", ".status.message", priority=1),
            Column("Age", ".metadata.creationTimestamp", "date"),
        ),
    )
    kind: Literal["MachinePool"] = "MachinePool"
    spec: MachinePoolSpec
    status: MachinePoolStatus | None = None


class HostRelease(Model):
    """What one host is authorised for."""

    name: DnsLabel
    """The host."""
    packages: PackageNames
    """MachinePackageVersions."""
    at: Timestamp
    """When."""
    reason: Text = ""
    """Why, one sentence."""
    before: PackageNames = ()
    """What it was authorised for before this; empty for a new host."""
    opened_at: Timestamp | None = None
    """When the host was first found in service with exactly these packages; absent: not yet."""
    going_back: bool = False
    """Whether this takes back what a rollout changed: leave is then asked for as for a rollback."""


class PoolOrder(Model):
    """What a fleet rollout wants on the hosts in place of one wished package. Holds while the pool wishes that package."""

    component: DnsLabel
    """Of both packages."""
    package: DnsName
    """The MachinePackageVersion that the hosts get."""
    instead_of: DnsName
    """What the pool wished when the order was given."""
    by: AuthorisedBy
    """Rollout, or Undo."""
    rollout: Annotated[str, Field(min_length=1, max_length=253)]
    """The FleetRollout."""
    rollout_uid: Annotated[str, Field(alias="rolloutUID", max_length=64)] = ""
    """Its uid: a rollout made anew under the same name is another one."""
    at: Timestamp
    """When it was given."""
    reason: Text = ""
    """Why, one sentence."""
    max_unavailable: Annotated[int, Field(ge=1, le=200)] = 1
    """Never more hosts out of service at once, whatever the pool allows."""


class StagingWish(Model):
    """Packages whose artifacts a fleet rollout wants on the hosts before it changes them. Authorises nothing: what is installed stays as it is."""

    rollout: Annotated[str, Field(min_length=1, max_length=253)]
    """The FleetRollout."""
    rollout_uid: Annotated[str, Field(alias="rolloutUID", max_length=64)] = ""
    """Its uid: a rollout made anew under the same name is another one."""
    packages: PackageNames
    """MachinePackageVersions."""
    until: Timestamp
    """Renewed while the rollout goes on. Afterwards the wish is none, and what was staged for it alone is removed."""


class MachinePoolReleaseSpec(Model):
    """Which host is authorised for which packages."""

    orders: Annotated[tuple[PoolOrder, ...], Field(max_length=32, json_schema_extra=list_map("component"))] = ()
    """By rollouts, written by the Cluster-Operator; `hosts` are the Machine-Operator's."""
    staging: Annotated[tuple[StagingWish, ...], Field(max_length=32, json_schema_extra=list_map("rollout"))] = ()
    """By rollouts, written by the Cluster-Operator."""
    hosts: Annotated[tuple[HostRelease, ...], Field(max_length=200, json_schema_extra=list_map("name"))] = ()
    """What each host is authorised for."""


class MachinePoolRelease(Resource):
    """What is authorised for the MachinePool of the same name. Written by operators only; a journal, not a display."""

    INFO: ClassVar[KindInfo] = KindInfo(
        plural="machinepoolreleases",
        short=("kmr",),
        scope=Scope.Namespaced,
        columns=(Column("Age", ".metadata.creationTimestamp", "date"),),
        status=False,
    )
    kind: Literal["MachinePoolRelease"] = "MachinePoolRelease"
    spec: MachinePoolReleaseSpec
