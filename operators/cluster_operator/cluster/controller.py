"""The Cluster controller: hands each part of a pass to who knows it. Nothing is decided here; run by the engine, built by main."""

from __future__ import annotations

from dataclasses import replace

from operators.cluster_operator.cluster import kinds
from operators.cluster_operator.cluster.act import Actor
from operators.cluster_operator.cluster.business import BusinessLook
from operators.cluster_operator.cluster.node_ports import NodePortLook
from operators.cluster_operator.cluster.observe import Observer
from operators.cluster_operator.cluster.planning import Planner
from operators.cluster_operator.cluster.world import Remembered, World
from operators.domain.plane import ladder, status
from operators.domain.plane.steps import POLL_SECONDS, Release, Stall, Step, Wait
from operators.domain.plane.view import PlaneView
from operators.engine.reconcile import StatusWrite, Waits
from operators.errors import ErrorCode, KokError
from operators.ports.kube import Key

PATIENT_TIMES = 5
"""So often the same step may follow itself at once: a cache may lag behind a write for a moment."""
DOUBLED = 10
"""So often the pause doubles at most; after a day of the same step 2.0 to its power would be no number any more."""

STALLING = frozenset({ErrorCode.PortTaken})
"""Refusals of a step that a person has to mend: shown as the stall that the next pass finds."""


class ClusterController:
    """Implements `operators.engine.reconcile.Controller` for Cluster."""

    name = kinds.CONTROLLER

    def __init__(self, world: World) -> None:
        business, node_ports = BusinessLook(world), NodePortLook(world)
        self._observer = Observer(world, Planner(world.catalogue), business, node_ports)
        self._actor = Actor(world, business, node_ports)
        self._repeated: Remembered[tuple[str, int]] = Remembered(5_000)

    async def observe(self, key: Key) -> PlaneView | None:
        """See Controller."""
        return await self._observer.observe(key)

    def next_step(self, view: PlaneView) -> Step:
        """See Controller."""
        return self._paced(view, ladder.next_step(view))

    def _paced(self, view: PlaneView, step: Step) -> Step:
        """A step that is chosen again and again has not done what it should: it comes at growing intervals, never at full speed."""
        uid, words = view.cluster.metadata.uid, f"{type(step).__name__}: {step.reason}"
        before, times = self._repeated.get(uid) or ("", 0)
        times = times + 1 if before == words else 0
        self._repeated.put(uid, (words, times))
        if step.after != 0.0 or times < PATIENT_TIMES:
            return step
        return replace(step, after=min(POLL_SECONDS, 2.0 ** min(times - PATIENT_TIMES, DOUBLED)))

    async def act(self, view: PlaneView, step: Step) -> Waits | None:
        """See Controller."""
        return await self._actor.act(view, step)

    def status_of(self, view: PlaneView, step: Step, outcome: KokError | Waits | None) -> StatusWrite | None:
        """See Controller."""
        if isinstance(outcome, Waits):
            step, outcome = Wait("", outcome.reason, outcome.after), None
        if isinstance(outcome, KokError) and outcome.code in STALLING:
            step, outcome = Stall(outcome.code, outcome.message), None
        if isinstance(step, Release) and outcome is None:
            return None
        metadata = view.cluster.metadata
        ref = kinds.CLUSTER.ref(metadata.name, metadata.namespace or "")
        return StatusWrite(ref, view.shown, status.status_of(view, step, outcome))
