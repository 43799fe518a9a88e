"""Reads what a rollout of a machine package looks at: pools from the cache, their releases and the catalogue live. Decides nothing; called by observe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from operators.api.pools import MachinePool, MachinePoolRelease
from operators.cluster_operator.cluster import kinds as cluster_kinds
from operators.cluster_operator.cluster.world import World
from operators.cluster_operator.rollout.outlook import catalogue_of
from operators.domain.rollout.forecast import Catalogue
from operators.domain.rollout.pools import PoolSeen
from operators.domain.rollout.preflight import Fleet
from operators.errors import KokError


@dataclass(frozen=True, slots=True)
class PoolGround:
    """Every pool by namespace/name; `component` is what is changed, empty if the package does not exist."""

    pools: Mapping[str, PoolSeen]
    component: str
    catalogue: Catalogue
    unreadable: Mapping[str, KokError]
    """Pools that are there, and cannot be read."""

    @property
    def homes(self) -> Mapping[str, str]:
        """Pool -> its Cluster."""
        return {key: seen.cluster for key, seen in self.pools.items()}


async def pool_ground(world: World, to: str, fleet: Fleet) -> PoolGround:
    """All of it. A pool that cannot be read is no candidate; of a member it is not the same as gone. Raises KokError."""
    catalogue = await catalogue_of(world)
    releases = {
        (each["metadata"]["namespace"], each["metadata"]["name"]): each
        for each in (await world.meta.list(cluster_kinds.POOL_RELEASE)).items
    }
    package = catalogue.machines.get(to)
    found: dict[str, PoolSeen] = {}
    unreadable: dict[str, KokError] = {}
    for manifest in world.cache.list(cluster_kinds.POOL):
        place = manifest["metadata"]["namespace"], manifest["metadata"]["name"]
        try:
            pool = MachinePool.parse(manifest)
            release = MachinePoolRelease.parse(releases[place]) if place in releases else None
        except KokError as error:
            unreadable[f"{place[0]}/{place[1]}"] = error
            continue
        home = f"{place[0]}/{pool.spec.cluster_name}"
        owner, plane = fleet.get(home, (None, None))
        seen = PoolSeen(pool, release, home, plane, owner)
        found[seen.key] = seen
    return PoolGround(found, package.spec.component if package else "", catalogue, unreadable)
