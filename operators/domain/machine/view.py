"""One machine as a pass sees it: everything that was read, with one `now`. Data and what follows from it directly; decides nothing.

Built by `machine_operator.machine.observe`; read by the ladder and the status. What could not be read is a problem in words, never absent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from operators.api.cluster import Network
from operators.api.hosts import Host, HostClaim
from operators.api.machines import DesiredState, Machine
from operators.api.packages import Artifact
from operators.api.pools import MachinePool, ReadinessGate
from operators.api.risk import Operation
from operators.domain.machine.certificates import CertificateRequest
from operators.domain.machine.difference import PackageDifference, differences
from operators.domain.machine.drain import PodFacts
from operators.domain.machine.effects import EffectRules, PackageChange
from operators.domain.machine.host import DesiredPackage, HostReport
from operators.domain.machine.node import NodeFacts
from operators.domain.machine.our_side import Sight
from operators.domain.machine.reports import GateReport
from operators.domain.machine.steps import Workflow
from operators.errors import KokError

ABANDON = "kok.dev/abandon-host"
"""On a MachinePool, or on a HostClaim whose pool is gone: names of hosts that are let go without being cleaned, separated by commas."""
FORCE_DRAIN = "kok.dev/force-drain"
"""On a MachinePool: names of hosts whose drain may leave pods behind after its deadline, separated by commas."""
KUBELET = "kubelet"


@dataclass(frozen=True, slots=True)
class ClusterState:
    """What of the Cluster matters to machines. `problem` is why nothing can be done at all (it is not there, it cannot be read)."""

    name: str
    paused: bool = False
    deleting: bool = False
    problem: str = ""
    network: Network | None = None
    """The ranges of its pods and Services."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What the meta cluster says of this host. `pool` None: no pool lists it."""

    pool: MachinePool | None = None
    host: Host | None = None
    packages: tuple[str, ...] | None = None
    """What the MachinePoolRelease authorises; None: nothing yet."""
    problem: str = ""
    """Why pools cannot be trusted to be complete now (one is invalid): nothing new is touched and nothing is taken away."""
    abandoned: bool = False
    force_drain: bool = False
    going_back: bool = False
    """Whether what is authorised takes back what a rollout changed."""


@dataclass(frozen=True, slots=True)
class Ownership:
    """HostClaims: `mine` is this host's, `obstacle` somebody else's on the address that the pool lists."""

    mine: HostClaim | None = None
    obstacle: HostClaim | None = None


@dataclass(frozen=True, slots=True)
class Probe:
    """The last look at the host: a report or why there is none."""

    at: datetime
    report: HostReport | None = None
    error: KokError | None = None


class JobPhase(StrEnum):
    """Where an Ansible job is."""

    Running = "Running"
    Finished = "Finished"
    Withheld = "Withheld"
    """Nothing was run: its leave did not hold any more when its turn had come. It is asked for again."""


@dataclass(frozen=True, slots=True)
class JobState:
    """The last Ansible job of this host. `tries` counts runs in a row of the same work that did not make the host right."""

    phase: JobPhase
    signature: str
    since: datetime
    tries: int
    failed: bool = False
    message: str = ""
    bootstrap: str = ""
    """Digest of the bootstrap token it brought to the host."""

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self.phase is JobPhase.Running


@dataclass(frozen=True, slots=True)
class PackageAhead:
    """A package whose artifacts shall lie on the host before anybody installs it."""

    name: str
    component: str
    artifacts: tuple[Artifact, ...]


@dataclass(frozen=True, slots=True)
class Ahead:
    """What rollouts want staged on this host. `unknown`: packages of theirs that are not in the meta cluster."""

    packages: tuple[PackageAhead, ...] = ()
    unknown: tuple[str, ...] = ()
    keep: frozenset[str] = frozenset()
    """Digests of these packages, of what the host is authorised for and of what its pool wishes: nothing of them is taken out."""
    job: JobState | None = None
    """The last run that staged something here."""
    is_known: bool = False
    """Whether all of this could be read; else nothing is staged, and nothing taken out."""


@dataclass(frozen=True, slots=True)
class Token:
    """The live bootstrap token of this machine; `digest` stands for its secret."""

    id: str
    digest: str
    expires: datetime


@dataclass(frozen=True, slots=True)
class HeldGrant:
    """A grant of ours for this machine whose outcome was not reported."""

    name: str
    operation: Operation
    workflow: str
    step: str
    attempt: int
    granted_at: datetime | None
    """None: not answered yet."""


@dataclass(frozen=True, slots=True)
class Mates:
    """The other machines of the pool: how many take pods, and how many of those that come first by name ask for leave to be cordoned."""

    open: int = 0
    asking: int = 0


@dataclass(frozen=True, slots=True)
class Business:
    """What the business cluster shows of the machine. Nothing of it decides what is done to hosts, but `desiredState` and gates."""

    machine: Machine | None = None
    node: NodeFacts | None = None
    pods: tuple[PodFacts, ...] | None = None
    """Pods a drain would move, read live; None when nobody asked for them."""
    requests: tuple[CertificateRequest, ...] = ()
    token: Token | None = None
    reports: tuple[GateReport, ...] = ()
    unprotected: str = "it has not been looked at whether reports are bound to their writers"
    """Why no report can be believed now; empty if the policies that bind writers are in force."""
    mates: Mates = field(default_factory=Mates)


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds."""

    probe: float = 60.0
    retry_first: float = 5.0
    retry_cap: float = 300.0
    drain_deadline: float = 900.0
    grant_poll: float = 5.0
    migrate_grace: float = 5.0
    job_pause: float = 2.0


@dataclass(frozen=True, slots=True)
class MachineView:
    """One machine, observed."""

    now: datetime
    name: str
    cluster: ClusterState
    wish: Wish
    owned: Ownership
    desired: tuple[DesiredPackage, ...] = ()
    """Authorised packages filled in for this host; for a host that leaves, those it ever got."""
    desired_problem: KokError | None = None
    sight: Sight = field(default_factory=Sight)
    planned: tuple[PackageChange, ...] = ()
    """What the pool wishes and this host is not authorised for yet."""
    rules: EffectRules = field(default_factory=EffectRules)
    business: Business = field(default_factory=Business)
    probe: Probe | None = None
    job: JobState | None = None
    grants: tuple[HeldGrant, ...] = ()
    times: Times = field(default_factory=Times)
    ahead: Ahead = field(default_factory=Ahead)

    @property
    def report(self) -> HostReport | None:
        """What the last probe found, if it found anything."""
        return self.probe.report if self.probe else None

    @property
    def node(self) -> NodeFacts | None:
        """The Node of that name."""
        return self.business.node

    @property
    def desired_state(self) -> DesiredState:
        """What a business admin asks for; InService without a Machine."""
        return self.business.machine.spec.desired_state if self.business.machine else DesiredState.InService

    @property
    def gates(self) -> tuple[ReadinessGate, ...]:
        """The pool's gates, then those a business admin added; the pool's win."""
        pools = self.wish.pool.spec.readiness_gates if self.wish.pool else ()
        added = self.business.machine.spec.readiness_gates if self.business.machine else ()
        return (*pools, *(gate for gate in added if gate.type not in {own.type for own in pools}))

    @property
    def differences(self) -> tuple[PackageDifference, ...]:
        """What on the host is not as wanted; empty also while nothing is known of it."""
        return differences(self.desired, self.report, self.rules) if self.report else ()

    @property
    def is_wished(self) -> bool:
        """Whether a pool lists the host under the claim it has (or without one): same pool object, same address."""
        host, claim, pool = self.wish.host, self.owned.mine, self.wish.pool
        if host is None or pool is None or pool.deleting:
            return False
        return claim is None or (claim.spec.address, claim.spec.port, claim.spec.pool_uid) == (host.address, host.port, pool.metadata.uid)

    @property
    def is_leaving(self) -> bool:
        """Whether it is to be drained and cleaned."""
        return not self.is_wished or self.desired_state is DesiredState.Decommissioned

    @property
    def drain_workflow(self) -> Workflow | None:
        """Why the node should be empty now, if it should."""
        if self.is_leaving:
            return Workflow.decommission
        if self.desired_state is DesiredState.Maintenance:
            return Workflow.maintenance
        return None

    @property
    def job_is_current(self) -> bool:
        """Whether the last probe is younger than the last job: only then a report says how the job went."""
        return self.job is None or (self.probe is not None and self.probe.at >= self.job.since)


def names_in(text: str) -> frozenset[str]:
    """Host names of an annotation, separated by commas."""
    return frozenset(filter(None, (part.strip() for part in text.split(","))))


def is_named(annotations: Mapping[str, str], annotation: str, host: str) -> bool:
    """Whether a person named this host in that annotation."""
    return host in names_in(annotations.get(annotation, ""))
