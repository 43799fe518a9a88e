"""Keeps the DaemonSet that pulls a rollout's images to the meta nodes while its windows are closed. Decides nothing; nothing depends on it.

Called by observe and the controller. What goes wrong here is logged and tried again: a hop pulls what is missing by itself.
"""

from __future__ import annotations

import asyncio

import structlog

from operators.api.packages import ClusterPackageVersion
from operators.api.rollout import FleetRollout
from operators.cluster_operator.cluster import kinds as cluster_kinds
from operators.cluster_operator.cluster.world import World
from operators.cluster_operator.rollout.journal import label_of
from operators.domain.plane.desired_preparation import PREPULL
from operators.domain.plane.desired_rendering import NotYet, Renderer
from operators.domain.plane.inputs import PlaneInputs
from operators.domain.rollout import staging
from operators.domain.rollout.preflight import Fleet
from operators.domain.rollout.view import RolloutView
from operators.errors import KokError
from operators.ports.kube import AlreadyExists, Manifest, Ref

log = structlog.get_logger(__name__)


class Stager:
    """One DaemonSet per rollout, in kok's own namespace."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def look(self, rollout: FleetRollout) -> Manifest | None:
        """What is there. What cannot be read is not there for us: nothing depends on it."""
        try:
            return await self._world.meta.get(self._ref(rollout))
        except KokError as error:
            log.warning("what pulls images ahead cannot be read", error=error.message)
            return None

    async def keep(self, rollout: FleetRollout, view: RolloutView | None, staged: Manifest | None, fleet: Fleet) -> None:
        """Make it while it is wanted, remove it when it is not."""
        if view is None:
            return
        try:
            if staged is None and staging.is_wanted(view):
                await self._make(rollout, view, fleet)
            elif staged is not None and not staging.is_wanted(view):
                await self._world.meta.delete(self._ref(rollout))
        except (KokError, NotYet) as error:
            log.warning("images cannot be pulled ahead", to=view.plan.to, error=str(error))

    async def _make(self, rollout: FleetRollout, view: RolloutView, fleet: Fleet) -> None:
        cluster = next((fleet[member.key][0] for member in view.plan.members if member.key in fleet), None)
        found = await self._world.meta.get(cluster_kinds.PACKAGE.ref(view.plan.to))
        if cluster is None or found is None:
            return
        package = ClusterPackageVersion.parse(found)
        templates = self._world.catalogue.plane_templates(package.spec.plane_revision)
        (rendered,) = await asyncio.to_thread(Renderer(PlaneInputs(cluster, package, None), templates).render, PREPULL)
        made = staging.daemon_set(rendered, rollout, self._ref(rollout).name, self._world.own_namespace)
        try:
            await self._world.meta.create(made)
        except AlreadyExists:
            return

    def _ref(self, rollout: FleetRollout) -> Ref:
        return cluster_kinds.DAEMON_SET.ref(f"prepull-{label_of(rollout)}", self._world.own_namespace)
