"""One pool as a pass sees it. Data; built by `machine_operator.pool.observe`, read by the pool ladder and the pool status."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from operators.api.hosts import Host, HostClaim
from operators.api.machines import Machine
from operators.api.pools import HostRelease, MachinePool, PoolOrder
from operators.domain.machine.release import TakenBack, Verdict
from operators.domain.machine.view import ClusterState
from operators.domain.machine.wish import Catalogue
from operators.errors import KokError

MACHINES_FINALIZER = "kok.dev/machines"


@dataclass(frozen=True)
class PoolView:
    """One pool, observed."""

    now: datetime
    pool: MachinePool
    others: tuple[MachinePool, ...]
    """The other pools of the cluster."""
    cluster: ClusterState
    cluster_packages: tuple[str, ...] | None
    """machinePackages of the released version; None while nothing is released, or it cannot be read."""
    catalogue: Catalogue
    released: tuple[HostRelease, ...]
    release_problem: KokError | None
    claims: tuple[HostClaim, ...]
    """Of this pool's name in this namespace, whatever pool object made them; and whoever else has addresses it lists."""
    machines: Mapping[str, Machine]
    """Machines of the business cluster by name."""
    verdicts: Mapping[str, Verdict]
    orders: tuple[PoolOrder, ...] = ()
    """What rollouts ordered."""
    ahead: tuple[str, ...] = ()
    """MachinePackageVersions whose artifacts rollouts want on the hosts before they change them."""
    taken_back: TakenBack | None = None
    """The version of its Cluster, by a rollout."""

    @cached_property
    def hosts(self) -> dict[str, Host]:
        """Hosts that the pool lists, by name."""
        return {host.name: host for host in reversed(self.pool.spec.hosts)}

    @cached_property
    def own_claims(self) -> dict[str, HostClaim]:
        """Claims of this pool's hosts by host name."""
        name, namespace = self.pool.metadata.name, self.pool.metadata.namespace or ""
        return {c.spec.host: c for c in self.claims if (c.spec.namespace, c.spec.pool) == (namespace, name)}

    @property
    def foreign(self) -> dict[str, HostClaim]:
        """Claims of others on addresses that this pool lists, by the name that the host has here."""
        own = {claim.metadata.name for claim in self.own_claims.values()}
        by_place = {(c.spec.address, c.spec.port): c for c in self.claims if c.metadata.name not in own}
        return {h.name: by_place[h.address, h.port] for h in self.pool.spec.hosts if (h.address, h.port) in by_place}
