"""The pool controller: hands each part of a pass to who knows it. Nothing is decided here; run by the engine, built by main."""

from __future__ import annotations

from operators.domain.machine.pool_ladder import next_pool_step
from operators.domain.machine.pool_status import pool_status_of
from operators.domain.machine.pool_view import PoolView
from operators.domain.machine.steps import RemoveFinalizer, Step
from operators.engine.reconcile import StatusWrite
from operators.errors import ErrorCode, KokError
from operators.machine_operator import kinds
from operators.machine_operator.meta import Meta
from operators.machine_operator.pool.act import PoolActor
from operators.machine_operator.pool.observe import PoolObserver
from operators.machine_operator.world import World
from operators.ports.kube import Key


class PoolController:
    """Implements `operators.engine.reconcile.Controller` for MachinePool."""

    name = kinds.POOL

    def __init__(self, world: World) -> None:
        self._observer = PoolObserver(world, Meta(world))
        self._actor = PoolActor(world)

    async def observe(self, key: Key) -> PoolView | None:
        """See Controller."""
        return await self._observer.observe(key)

    def next_step(self, view: PoolView) -> Step:
        """See Controller."""
        return next_pool_step(view)

    async def act(self, view: PoolView, step: Step) -> str:
        """See Controller."""
        return await self._actor.act(view, step)

    def status_of(self, view: PoolView, step: Step, outcome: str | KokError) -> StatusWrite | None:
        """See Controller."""
        if isinstance(outcome, KokError) and outcome.code is ErrorCode.Conflict:
            return None  # somebody wrote in between: the next pass looks again at once, and there is nothing to tell a person
        if isinstance(step, RemoveFinalizer) and not isinstance(outcome, KokError):
            return None
        metadata = view.pool.metadata
        wanted = pool_status_of(view, step, outcome).model_dump(mode="json", by_alias=True, exclude_none=True)
        current = view.pool.status.model_dump(mode="json", by_alias=True, exclude_none=True) if view.pool.status else {}
        return StatusWrite(kinds.MACHINE_POOL.ref(metadata.name, metadata.namespace or ""), current, wanted)
