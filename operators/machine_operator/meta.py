"""What the meta cluster says, from the cache: the Cluster, its pools, releases, claims, package versions, grants. Reads only; used by both observers.

An object that cannot be parsed is never taken for absent: it becomes a problem in words, and nothing is taken away while there is one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from ipaddress import ip_network

from operators.api.cluster import Cluster, EndpointType
from operators.api.cluster_release import AuthorisedBy, ClusterRelease
from operators.api.hosts import HostClaim
from operators.api.packages import ClusterPackageVersion, MachinePackageVersion
from operators.api.pools import HostRelease, MachinePool, MachinePoolRelease, PoolOrder, StagingWish
from operators.api.risk import Decision, OperationGrant
from operators.domain.machine.release import TakenBack
from operators.domain.machine.render import ClusterFacts
from operators.domain.machine.times import parse_time
from operators.domain.machine.view import ClusterState, HeldGrant
from operators.domain.risk.identity import at
from operators.errors import ErrorCode, KokError
from operators.machine_operator import kinds
from operators.machine_operator.world import World
from operators.ports.kube import Manifest

NODE_PROXY = "https://127.0.0.1:6443"
"""Where nodes find the API server when the Cluster's endpoint has additionalHosts: the machine package api-proxy listens there."""


@dataclass(frozen=True, slots=True)
class Pools:
    """The cluster's pools, and why they may be incomplete."""

    items: tuple[MachinePool, ...]
    problem: str


class Meta:
    """Reads of one namespace of the meta cluster."""

    def __init__(self, world: World) -> None:
        self._cache, self._identity = world.cache, world.identity
        self._packages: dict[str, tuple[tuple[str, str], MachinePackageVersion]] = {}

    def cluster(self) -> Cluster | None:
        """Our Cluster. Raises KokError InvalidObject."""
        return self._cache.read(kinds.CLUSTER.ref(self._identity.cluster, self._identity.namespace), Cluster.parse)

    def cluster_state(self) -> ClusterState:
        """What of it matters to machines."""
        name = self._identity.cluster
        try:
            cluster = self.cluster()
        except KokError as error:
            return ClusterState(name, problem=error.message)
        if cluster is None:
            return ClusterState(name, problem=f"Cluster {self._identity.namespace}/{name} is not there: its machines are left as they are")
        return ClusterState(name, cluster.spec.paused, cluster.deleting, network=cluster.spec.network)

    def pools(self) -> Pools:
        """Every pool of the cluster."""
        items, problems = [], []
        for pool in self._cache.read_all(kinds.MACHINE_POOL, _pool_or_problem, namespace=self._identity.namespace):
            if isinstance(pool, str):
                problems.append(pool)
            elif pool.spec.cluster_name == self._identity.cluster:
                items.append(pool)
        return Pools(tuple(items), problems[0] if problems else "")

    def claims(self) -> tuple[HostClaim, ...]:
        """Every claim that is known: all of this namespace, and those of others on addresses that our pools list."""
        return self._cache.read_all(kinds.HOST_CLAIM, HostClaim.parse)

    def released(self, pool: MachinePool) -> tuple[HostRelease, ...]:
        """What is authorised for a pool; a release of an earlier pool of the same name does not count. Raises KokError InvalidObject."""
        release = self._release_of(pool)
        return release.spec.hosts if release else ()

    def orders(self, pool: MachinePool) -> tuple[PoolOrder, ...]:
        """What rollouts ordered for a pool. Raises KokError InvalidObject."""
        release = self._release_of(pool)
        return release.spec.orders if release else ()

    def staging(self, pool: MachinePool) -> tuple[StagingWish, ...]:
        """What rollouts want on the pool's hosts ahead. Raises KokError InvalidObject."""
        release = self._release_of(pool)
        return release.spec.staging if release else ()

    def _release_of(self, pool: MachinePool) -> MachinePoolRelease | None:
        release = self._cache.read(kinds.POOL_RELEASE.ref(pool.metadata.name, self._identity.namespace), MachinePoolRelease.parse)
        if release is None:
            return None
        return release if pool.metadata.uid in {owner.uid for owner in release.metadata.owner_references} else None

    def plane_revision(self) -> str:
        """planeRevision of the released version. Raises KokError."""
        found = self._cache.get(kinds.CLUSTER_RELEASE.ref(self._identity.cluster, self._identity.namespace))
        if found is None:
            raise KokError(
                ErrorCode.NotFound, f"Cluster {self._identity.cluster} has no released package version yet", "it comes by itself"
            )
        return self._package_version(ClusterRelease.parse(found).spec.current.package_version).spec.plane_revision

    def _package_version(self, version: str) -> ClusterPackageVersion:
        package = self._cache.get(kinds.CPV.ref(version))
        if package is None:
            message = f"ClusterPackageVersion {version}, which is released, is not in the meta cluster"
            raise KokError(ErrorCode.PackageMissing, message, "apply it again")
        return ClusterPackageVersion.parse(package)

    def cluster_packages(self) -> tuple[str, ...] | None:
        """machinePackages of the released version; None while there is no release. Raises KokError."""
        found = self._cache.get(kinds.CLUSTER_RELEASE.ref(self._identity.cluster, self._identity.namespace))
        if found is None:
            return None
        spec = self._package_version(ClusterRelease.parse(found).spec.machines_package).spec
        cluster = self.cluster()
        several = cluster is not None and bool(cluster.spec.endpoint.additional_hosts)
        return (*spec.machine_packages, spec.api_proxy_package) if several and spec.api_proxy_package else spec.machine_packages

    def taken_back(self) -> TakenBack | None:
        """Whether the released version is there because a rollout took another one back. Raises KokError."""
        found = self._cache.get(kinds.CLUSTER_RELEASE.ref(self._identity.cluster, self._identity.namespace))
        spec = ClusterRelease.parse(found).spec if found else None
        if spec is None or spec.current.by is not AuthorisedBy.Undo or not spec.history:
            return None
        return TakenBack(at(spec.history[0].at), at(spec.current.at))

    def package(self, name: str) -> MachinePackageVersion:
        """One MachinePackageVersion; parsed once per change: its spec never does, its annotations may. Raises KokError PackageMissing."""
        found = self._cache.get(kinds.MPV.ref(name))
        if found is None:
            message = f"MachinePackageVersion {name} is not in the meta cluster"
            raise KokError(ErrorCode.PackageMissing, message, "apply it again")
        state = (found["metadata"]["uid"], found["metadata"].get("resourceVersion", ""))
        known = self._packages.get(name)
        if known is None or known[0] != state:
            known = self._packages[name] = (state, MachinePackageVersion.parse(found))
        return known[1]

    def catalogue(self) -> dict[str, MachinePackageVersion]:
        """Every MachinePackageVersion by name; one that cannot be parsed counts as missing."""
        names = [manifest["metadata"]["name"] for manifest in self._cache.list(kinds.MPV)]
        readable: dict[str, MachinePackageVersion] = {}
        for name in names:
            try:
                readable[name] = self.package(name)
            except KokError:
                continue
        return readable

    def grants(self, host: str) -> tuple[HeldGrant, ...]:
        """Our requests for this machine that are not over: granted and not reported, or not answered yet."""
        found = [OperationGrant.parse(manifest) for manifest in self._cache.list(kinds.GRANT, namespace=self._identity.namespace)]
        return tuple(_held(grant) for grant in found if grant.spec.target.name == host and _is_open(grant))

    def facts(self, cluster: Cluster) -> ClusterFacts:
        """What package templates may say of the cluster."""
        network = cluster.spec.network
        dns = str(ip_network(network.service_cidr)[10])
        url, wish = self.endpoint(cluster), cluster.spec.endpoint
        facts = ClusterFacts(cluster.metadata.name, url, self._identity.ca_pem, dns, network.domain, network.pod_cidr)
        if not wish.additional_hosts:
            return facts
        hosts = (wish.host, *wish.additional_hosts)
        return replace(facts, api_hosts=hosts, api_port=wish.port or 0, konnectivity_port=wish.konnectivity_port or 0)

    def endpoint(self, cluster: Cluster) -> str:
        """The API server's URL for hosts. Raises KokError NotFound."""
        if cluster.spec.endpoint.additional_hosts:
            return NODE_PROXY
        return self._identity.endpoint or endpoint_of(cluster)


def endpoint_of(cluster: Cluster) -> str:
    """The API server's URL for hosts. Raises KokError NotFound while a load balancer has no address yet."""
    endpoint = cluster.spec.endpoint
    if endpoint.host:
        port = endpoint.port or 6443
        return f"https://{endpoint.host}:{port}"
    if endpoint.type is not EndpointType.NodePort and cluster.status and cluster.status.endpoint:
        return cluster.status.endpoint
    raise KokError(ErrorCode.NotFound, f"Cluster {cluster.metadata.name} has no endpoint address yet", "it comes with its load balancer")


def _is_open(grant: OperationGrant) -> bool:
    status = grant.status
    if grant.spec.outcome or (status and status.settled_at) or grant.deleting:
        return False
    return status is None or status.decision is not Decision.Denied


def _held(grant: OperationGrant) -> HeldGrant:
    spec, status = grant.spec, grant.status
    granted = parse_time(status.decided_at or "") if status and status.decision in (Decision.Granted, Decision.Unknown) else None
    return HeldGrant(grant.metadata.name, spec.operation, spec.workflow, spec.step, spec.attempt, granted)


def _pool_or_problem(manifest: Manifest) -> MachinePool | str:
    """The pool, or what is wrong with it."""
    try:
        return MachinePool.parse(manifest)
    except KokError as error:
        return error.message
