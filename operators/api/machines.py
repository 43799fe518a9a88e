"""MachinePool, MachinePoolRelease, HostClaim, Machine: hosts as wished, authorised, owned and shown. Read by the Machine-Operator."""

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
from operators.api.pending import Effect, PendingChange, PendingSum

HostKey = Annotated[str, Field(pattern=r"^(ssh-ed25519|ecdsa-sha2-nistp(256|384|521)|ssh-rsa) [A-Za-z0-9+/]+={0,2}$", max_length=1024)]
LABEL_KEY = r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"
OURS = cel("!self.startsWith('kok.dev/')", "kok.dev/ is kok's own; use a prefix of yours")
LabelKey = Annotated[str, Field(pattern=LABEL_KEY, max_length=317, json_schema_extra=rules(OURS))]
LabelValue = Annotated[str, Field(pattern=r"^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$", max_length=63)]
Labels = Annotated[
    dict[str, LabelValue],
    Field(
        max_length=32,
        json_schema_extra=rules(
            cel(f"self.all(k, k.matches('{LABEL_KEY}'))", "a label's key is an optional DNS prefix and a name: example.org/pool"),
            cel("self.all(k, !k.startsWith('kok.dev/'))", "labels under kok.dev/ are kok's own; use a prefix of yours"),
        ),
    ),
]
PRINTABLE = r"^[^\x00-\x1f\x7f]*$"


class Power(Model):
    """Out-of-band management of a host."""

    redfish_url: Annotated[str, Field(alias="redfishURL", pattern=r"^https?://[^\s]+$", max_length=1024)]
    """Address of the BMC."""
    secret_name: DnsName
    """Secret with `username` and `password`."""


class Host(Model):
    """One host that SSH reaches. What stands here is the authority: host keys are pinned, never learned."""

    name: DnsLabel
    """Name of the host, of its Machine and of its Node."""
    address: Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9.:-]*[A-Za-z0-9])?$", max_length=253)]
    """IP address or name."""
    port: Annotated[int, Field(ge=1, le=65535)] = 22
    """sshd's port."""
    user: Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_-]{0,31}$", max_length=32)] = "root"
    """root, or a user with password-less sudo."""
    host_keys: Annotated[tuple[HostKey, ...], Field(max_length=8, json_schema_extra=LIST_SET)] = ()
    """Public host keys, as ssh-keyscan prints them; without one nothing connects (`kok host scan` prints what to commit)."""
    zone: LabelValue = ""
    """Failure domain."""
    rack: LabelValue = ""
    """Failure domain within a zone."""
    power: Power | None = None
    """Out-of-band management, where there is any."""


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
    value: LabelValue = ""
    effect: TaintEffect


class MaxUnavailable(Model):
    """How many hosts of a pool may be out of service at once: min(count, percent rounded down), but at least floor."""

    count: Annotated[int, Field(ge=0, le=200)] = 1
    percent: Annotated[int, Field(ge=0, le=100)] = 10
    floor: Annotated[int, Field(ge=0, le=10)] = 1


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
    taints: Annotated[tuple[Taint, ...], Field(max_length=16)] = ()
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


class MachinePoolStatus(Model):
    """Displays only."""

    observed_generation: ObservedGeneration = 0
    machines: Annotated[int, Field(ge=0)] = 0
    """Machines that exist."""
    ready: Annotated[int, Field(ge=0)] = 0
    """Open to pods."""
    gates: Annotated[tuple[GateCount, ...], Field(max_length=48, json_schema_extra=list_map("type"))] = ()
    """Each readiness gate, and how many machines it closes and would close."""
    pending: PendingSum = ()
    """Changes that are still to come, authorised or not."""
    message: Text = ""
    """What is in hand, one sentence."""
    conditions: Conditions = ()


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


PackageNames = Annotated[tuple[DnsName, ...], Field(max_length=64, json_schema_extra=LIST_SET)]


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


class MachinePoolReleaseSpec(Model):
    """Which host is authorised for which packages."""

    hosts: Annotated[tuple[HostRelease, ...], Field(max_length=200, json_schema_extra=list_map("name"))] = ()


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


class HostClaimSpec(Model):
    """Who owns a host. Creating the object is the lock."""

    address: Annotated[str, Field(max_length=253)]
    port: Annotated[int, Field(ge=1, le=65535)]
    namespace: DnsLabel
    """Namespace of the owning pool."""
    cluster: DnsLabel
    pool: DnsLabel
    host: DnsLabel
    pool_uid: Annotated[str, Field(max_length=64)]
    """A pool made anew under the same name does not inherit the claim."""
    claimed_at: Timestamp
    packages: PackageNames = ()
    """Packages that were ever authorised for this host under this claim: what cleaning must remove, also when the pool is gone."""
    connection: Host
    """How the host was reached when it was last authorised, so that it can be cleaned after it left the pool."""


class HostClaim(Resource):
    """Which pool owns a host; named by the hash of the host's identity (address and port). Written by operators only."""

    INFO: ClassVar[KindInfo] = KindInfo(
        plural="hostclaims",
        short=(),
        scope=Scope.Cluster,
        columns=(
            Column("Address", ".spec.address"),
            Column("Namespace", ".spec.namespace"),
            Column("Pool", ".spec.pool"),
            Column("Host", ".spec.host"),
            Column("Age", ".metadata.creationTimestamp", "date"),
        ),
        status=False,
    )
    kind: Literal["HostClaim"] = "HostClaim"
    spec: HostClaimSpec


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
    phase: Annotated[str, Field(max_length=64)] = ""
    """The rung in hand, one word."""
    message: Text = ""
    """The reason of the last step, one sentence."""
    address: Annotated[str, Field(max_length=253)] = ""
    boot_id: Annotated[str, Field(alias="bootID", max_length=64)] = ""
    """The kernel's boot id at the last probe."""
    packages: Annotated[tuple[ObservedPackage, ...], Field(max_length=64, json_schema_extra=list_map("component"))] = ()
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
