"""Reads whether hosts follow a change of planes: releases of the pools of Clusters whose plane is through. Decides nothing; called by observe.

Only pools that follow, of Clusters in hand, are read, by name; one that was found through is not read again for the same authorisation. That is
remembered here only: a new process reads it again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from operators.api.cluster import Cluster
from operators.api.cluster_release import ClusterRelease
from operators.api.pools import MachinePool, MachinePoolRelease
from operators.cluster_operator.cluster import kinds as cluster_kinds
from operators.cluster_operator.cluster.world import Remembered, World
from operators.cluster_operator.rollout.outlook import catalogue_of
from operators.cluster_operator.rollout.probing import ProbeBook
from operators.domain.rollout.followers import Follower, followed, follower_of, is_follower
from operators.domain.rollout.forecast import Catalogue
from operators.domain.rollout.pools import PoolSeen
from operators.domain.rollout.preflight import Fleet
from operators.domain.rollout.view import Hold, MemberFacts

Owner = tuple[Cluster, ClusterRelease | None]
KEPT = 10_000


class FollowerLook:
    """Looks at the pools that follow."""

    def __init__(self, world: World, probes: ProbeBook) -> None:
        self._world, self._probes = world, probes
        self._through: Remembered[datetime] = Remembered(KEPT)

    async def look(self, members: Iterable[str], facts: Mapping[str, MemberFacts], fleet: Fleet) -> dict[str, MemberFacts]:
        """These members as they are with the hosts that follow them; after one that goes back and is not through, none is read. Raises KokError."""
        found = dict(facts)
        wanted = {
            key: facts[key] for key in members if key in facts and facts[key].healthy and facts[key].hold in (Hold.Forward, Hold.Back)
        }
        pools = self._pools(wanted)
        if not pools:
            return found
        catalogue = await catalogue_of(self._world)
        for key, own in pools.items():
            found[key] = await self._member(key, own, fleet[key], wanted[key], catalogue)
            if found[key].following and found[key].hold is Hold.Back:
                break
        return found

    def _pools(self, wanted: Mapping[str, MemberFacts]) -> dict[str, list[MachinePool]]:
        """Of each member the pools that are not known to be through. Raises KokError for one that cannot be read."""
        found: dict[str, list[MachinePool]] = {}
        if not wanted:
            return found
        for manifest in self._world.cache.list(cluster_kinds.POOL):
            home = f"{manifest['metadata']['namespace']}/{manifest['spec'].get('clusterName')}"
            if home in wanted and self._through.get((manifest["metadata"]["uid"], home)) != wanted[home].since:
                found.setdefault(home, []).append(MachinePool.parse(manifest))
        return {key: found[key] for key in wanted if key in found}

    async def _member(self, home: str, pools: Iterable[MachinePool], owner: Owner, facts: MemberFacts, catalogue: Catalogue) -> MemberFacts:
        cluster, plane = owner
        found: list[Follower] = []
        for pool in filter(is_follower, pools):
            seen = PoolSeen(pool, await self._release(pool), home, plane, cluster)
            found.append(self._asked(follower_of(seen, facts, catalogue), pool, home, facts))
        return followed(facts, found, self._probes.tries)

    async def _release(self, pool: MachinePool) -> MachinePoolRelease | None:
        ref = cluster_kinds.POOL_RELEASE.ref(pool.metadata.name, pool.metadata.namespace or "")
        found = await self._world.meta.get(ref)
        return MachinePoolRelease.parse(found) if found else None

    def _asked(self, follower: Follower, pool: MachinePool, home: str, facts: MemberFacts) -> Follower:
        """Its changed nodes are asked for a pod on the way forward; who is through with that is remembered."""
        is_asked = self._probes.asks_nodes and facts.hold is Hold.Forward
        if is_asked:
            self._probes.want_nodes(follower.changed)
        owed = [change for change in follower.changed if is_asked and not ((tries := self._probes.tries.get(change)) and tries.good)]
        if not follower.owes and not owed:
            self._through.put((pool.metadata.uid, home), facts.since)
        return follower if is_asked else Follower(follower.owes, follower.failed)
