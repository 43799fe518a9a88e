"""Writes what a rollout wants on hosts before it changes them into the releases of its pools. Decides nothing; nothing depends on it.

Called by the controller. What goes wrong here is logged and tried again: a host gets what it lacks in the run that changes it.
"""

from __future__ import annotations

import contextlib

import structlog

from operators.api.pools import MachinePoolRelease, StagingWish
from operators.api.rollout import FleetRollout
from operators.cluster_operator.cluster import kinds as cluster_kinds
from operators.cluster_operator.cluster.world import Remembered, World
from operators.cluster_operator.rollout.pools_look import PoolGround, pool_ground
from operators.domain.rollout.preflight import Fleet
from operators.domain.rollout.staging_pools import LASTS, next_wishes, others, targets_of
from operators.domain.rollout.view import RolloutView, Self
from operators.errors import KokError
from operators.ports.kube import Conflict

log = structlog.get_logger(__name__)
LOOK_SECONDS = 60.0
"""How long a rollout of planes, which looks at no pools otherwise, goes by what it saw of them."""


class PoolStager:
    """One wish per rollout and pool."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._grounds: Remembered[PoolGround] = Remembered(4, LOOK_SECONDS)

    async def look(self, rollout: FleetRollout, view: RolloutView, ground: PoolGround | None, fleet: Fleet) -> PoolGround | None:
        """The pools that this is about: those of a change of machines, or of the Clusters of a rollout with windows. What cannot be read is not there."""
        is_past = view.story.ended is not None and view.now - view.story.ended.at > LASTS
        if ground is not None or not rollout.spec.windows or is_past:
            return ground
        known = self._grounds.get(rollout.metadata.uid) if view.story.ended is None else None
        try:
            return known or self._grounds.put(rollout.metadata.uid, await pool_ground(self._world, "", fleet))
        except KokError as error:
            log.warning("pools cannot be read, so nothing is staged on their hosts", error=error.message)
            return None

    async def keep(self, rollout: FleetRollout, view: RolloutView | None, ground: PoolGround | None) -> None:
        """Write what is due, by compare-and-swap on the releases as they were observed."""
        if view is None or ground is None:
            return
        own, targets = Self(rollout.metadata.name, rollout.metadata.uid), targets_of(view, ground.pools, ground.catalogue)
        for key, wishes in next_wishes(own, view, targets, ground.pools.values()).items():
            self._grounds.drop(rollout.metadata.uid)
            release = ground.pools[key].release
            if release is not None:
                await self._write(release, wishes)

    async def forget(self, rollout: str) -> None:
        """Take back what a rollout that is gone wished: it cannot do so itself. Where this is missed, the wish runs out."""
        try:
            found = (await self._world.meta.list(cluster_kinds.POOL_RELEASE)).items
        except KokError as error:
            log.warning("what a rollout that is gone wanted staged cannot be read", rollout=rollout, error=error.message)
            return
        for manifest in found:
            if any(wish["rollout"] == rollout for wish in manifest["spec"].get("staging") or ()):
                with contextlib.suppress(KokError):  # not ours to judge; its wish runs out
                    release = MachinePoolRelease.parse(manifest)
                    await self._write(release, others(release, rollout, self._world.now()))

    async def _write(self, release: MachinePoolRelease, wishes: tuple[StagingWish, ...]) -> None:
        metadata = release.metadata
        staging = [wish.model_dump(mode="json", by_alias=True, exclude_none=True) for wish in wishes]
        ref = cluster_kinds.POOL_RELEASE.ref(metadata.name, metadata.namespace or "")
        try:
            await self._world.meta.patch_json(ref, {"spec": {"staging": staging}}, resource_version=metadata.resource_version)
        except Conflict:
            return  # its pool moved on in between, or this pass ordered something there: the next one looks again
        except KokError as error:
            log.warning("artifacts cannot be staged", pool=f"{metadata.namespace}/{metadata.name}", error=error.message)
