"""The Cluster controller: hands each part of a pass to who knows it. Nothing is decided here; run by the engine, built by main."""

from __future__ import annotations

from operators.cluster_operator.cluster import kinds
from operators.cluster_operator.cluster.act import Actor
from operators.cluster_operator.cluster.business import BusinessLook
from operators.cluster_operator.cluster.observe import Observer
from operators.cluster_operator.cluster.planning import Planner
from operators.cluster_operator.cluster.world import World
from operators.domain.plane import ladder, status
from operators.domain.plane.steps import Release, Step
from operators.domain.plane.view import PlaneView
from operators.engine.reconcile import StatusWrite
from operators.errors import KokError
from operators.ports.kube import Key


class ClusterController:
    """Implements `operators.engine.reconcile.Controller` for Cluster."""

    name = kinds.CONTROLLER

    def __init__(self, world: World) -> None:
        business = BusinessLook(world)
        self._observer = Observer(world, Planner(world.catalogue), business)
        self._actor = Actor(world, business)

    async def observe(self, key: Key) -> PlaneView | None:
        """See Controller."""
        return await self._observer.observe(key)

    def next_step(self, view: PlaneView) -> Step:
        """See Controller."""
        return ladder.next_step(view)

    async def act(self, view: PlaneView, step: Step) -> None:
        """See Controller."""
        await self._actor.act(view, step)

    def status_of(self, view: PlaneView, step: Step, outcome: KokError | None) -> StatusWrite | None:
        """See Controller."""
        if isinstance(step, Release) and outcome is None:
            return None
        metadata = view.cluster.metadata
        ref = kinds.CLUSTER.ref(metadata.name, metadata.namespace or "")
        return StatusWrite(ref, view.shown, status.status_of(view, step, outcome))
