"""Everything one pass over a Cluster has observed, with one `now`. Data only: made by cluster_operator.cluster.observe, read by the ladder and the status.

What could not be read is `Unknown` with the reason in words; no rung acts on an Unknown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from operators.api.cluster import Cluster
from operators.api.cluster_release import ClusterRelease
from operators.api.packages import ClusterPackageVersion
from operators.api.pending import PendingChanges
from operators.api.risk import Operation
from operators.domain.plane.certificates import LeafSpec, RootSpec
from operators.domain.plane.drift import ObjectId
from operators.domain.plane.etcd_view import EtcdView, MemberPod
from operators.domain.plane.inputs import Manifest, Names, PlaneEndpoint
from operators.domain.plane.upgrade_view import UpgradeFacts
from operators.errors import ErrorCode, KokError


@dataclass(frozen=True, slots=True)
class Unknown:
    """A part of the world that could not be read."""

    reason: str


@dataclass(frozen=True, slots=True)
class Workload:
    """A StatefulSet or Deployment and its pods, as observed."""

    component: str
    wanted: int
    ready: int
    settled: bool
    """Whether its controller has seen the last spec and every pod is of it."""
    trouble: str = ""
    """What keeps a pod from being ready, with the words of the kubelet or scheduler; empty if nothing is known."""
    unready: tuple[str, ...] = ()
    """Names of pods that exist and are not ready."""
    outdated: tuple[str, ...] = ()
    """Pods of an older revision, for workloads that kok rolls itself; the one to go first is first."""

    @property
    def is_up(self) -> bool:
        """All pods wanted are ready and of the last spec."""
        return self.settled and self.ready >= self.wanted and not self.outdated

    @property
    def shortfall(self) -> str:
        """In words what is missing; empty when it is up."""
        if self.is_up:
            return ""
        counted = f"{self.component} has {min(self.ready, self.wanted)} of {self.wanted} pods ready"
        if self.ready >= self.wanted:
            counted = f"{self.component} is rolling"
        return f"{counted}: {self.trouble}" if self.trouble else counted


@dataclass(frozen=True, slots=True)
class RootKeys:
    """The root Secrets and their sealed copy. `live` says that both were read from the API server, not from a cache."""

    specs: tuple[RootSpec, ...]
    faults: Mapping[str, str]
    """Root Secret -> why it cannot be used; sound ones are absent."""
    sealed: Manifest | Unknown | None
    sealed_faults: Mapping[str, str] = field(default_factory=dict)
    """Root Secret -> why the sealed copy of it cannot be used."""
    differing: tuple[str, ...] = ()
    """Sound root Secrets whose sound sealed copy says something else."""
    live: bool = False


@dataclass(frozen=True, slots=True)
class LeafFault:
    """A leaf that must be issued (again), and why."""

    spec: LeafSpec
    reason: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What should exist, stamped and ready to be compared."""

    components: Mapping[str, tuple[Manifest, ...]]
    waiting: Mapping[str, str]
    """Component -> why it cannot be rendered yet."""
    inside: tuple[Manifest, ...] = ()
    beside: tuple[tuple[str, str], ...] = ()
    """apiVersion and kind of what the other end of a hop has inside: where something may be left that this end does not have."""


@dataclass(frozen=True, slots=True)
class BusinessApi:
    """The business cluster, as its API answered."""

    version: str
    """gitVersion without its v."""
    missing: tuple[ObjectId, ...] = ()
    """Objects of ours in there that are not (rightly) there."""
    differing: str = ""
    """The first of them, in words."""
    surplus: tuple[Manifest, ...] = ()
    """What kok once put there and the plan does not have."""
    agents: tuple[int, int] = (0, 0)
    """Konnectivity agents that are connected, and nodes that should have one."""
    checked: bool = False
    """Whether the objects were compared with this very plan, a minute ago at most."""


@dataclass(frozen=True, slots=True)
class Pool:
    """A MachinePool of this namespace."""

    name: str
    cluster: str
    deleting: bool
    machines: int
    ready: int
    message: str
    pending: tuple[PendingChanges, ...] = ()
    """Changes of its machines that are still to come, as it shows them."""


@dataclass(frozen=True, slots=True)
class TakenPort:
    """A node port that the API server refused us, and the Service that has it (no name: none is seen)."""

    field: str
    """spec.endpoint.port or spec.endpoint.konnectivityPort."""
    port: int
    namespace: str = ""
    name: str = ""
    cluster: str = ""
    """Whose endpoint that Service is; empty if it is no Cluster's."""
    unseen: str = ""
    """Why no holder is seen, if that is not because there is none."""


@dataclass(frozen=True, slots=True)
class HeldGrant:
    """An OperationGrant of ours that is granted and not reported yet."""

    name: str
    operation: Operation
    kind: str
    target: str
    granted_at: datetime
    acted: bool
    """Whether the very pod that it was asked for is gone; of a Deployment, whether its spec was changed since."""
    is_there: bool
    """Whether a target of that name exists."""


@dataclass(frozen=True, slots=True)
class PlaneView:
    """One Cluster and its world."""

    now: datetime
    cluster: Cluster
    shown: Manifest
    """The status it shows."""
    fleet: int = 1
    """How many Clusters there are."""
    namespace_phase: str = "Active"
    """Terminating: everything in it is being deleted already, and nothing can be asked there any more."""
    namespace_label: str = ""
    """Value of the namespace's label kok.dev/cluster."""
    older: str = ""
    """Name of another Cluster of this namespace that was there first."""
    release: ClusterRelease | Unknown | None = None
    package: ClusterPackageVersion | Unknown | None = None
    """The authorised one; before the first authorisation the wished one."""
    wish_missing: bool = False
    """Whether no ClusterPackageVersion of the wished name exists, where only a rollout may follow the wish."""
    upgrade: UpgradeFacts | None = None
    """What a change of version needs to know; None while there is none."""
    endpoint: PlaneEndpoint | Unknown | None = None
    endpoint_waits: str = ""
    """Why there is no endpoint yet."""
    tunnel_waits: str = ""
    """Why agents of konnectivity cannot be told yet where to dial."""
    taken_port: TakenPort | None = None
    """A node port of ours that was refused because another has it, and still has."""
    objects: Mapping[ObjectId, Manifest] = field(default_factory=dict)
    """Every object of this cluster in the meta cluster, but for pods."""
    roots: RootKeys | None = None
    leaves: tuple[LeafFault, ...] = ()
    plan: Plan | KokError | None = None
    workloads: Mapping[str, Workload] = field(default_factory=dict)
    etcds: Mapping[str, EtcdView] = field(default_factory=dict)
    """etcds whose members were asked: those that have, or shall have, more than one."""
    stranded: tuple[MemberPod, ...] = ()
    """Pods of other components on nodes that are confirmed to be gone."""
    unrecorded: tuple[str, ...] = ()
    """etcds of which no bootstrap record exists."""
    business: BusinessApi | Unknown = Unknown("the API server has not been asked")
    ssh_secret: str = ""
    """What is wrong with the Secret of machineAccess; empty if it is fine or none is asked for."""
    ssh_code: ErrorCode = ErrorCode.SecretMissing
    """Whether it is missing or of the wrong shape."""
    pools: tuple[Pool, ...] = ()
    claims: tuple[str, ...] = ()
    """Hosts that are still claimed for this cluster, `name (HostClaim x)`."""
    grants: tuple[HeldGrant, ...] = ()
    """Leave to act that is held for this Cluster."""
    remains: tuple[Manifest, ...] = ()
    """While deleting: everything of this cluster that is still there, read live; pods included."""

    @property
    def names(self) -> Names:
        """Names of its objects."""
        return Names.of(self.cluster)

    @property
    def has_lived(self) -> bool:
        """Whether an etcd of this plane ever had a quorum, or may have had: a record or a volume of it exists."""
        volumes = any(each.kind in ("PersistentVolumeClaim", "StatefulSet") for each in self.objects)
        return volumes or len(self.unrecorded) < (2 if self.cluster.spec.etcd.separate_events else 1)
