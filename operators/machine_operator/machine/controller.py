"""The machine controller: hands each part of a pass to who knows it. Nothing is decided here; run by the engine, built by main."""

from __future__ import annotations

from operators.domain.machine import ladder, status
from operators.domain.machine.steps import Step
from operators.domain.machine.view import MachineView
from operators.engine.reconcile import StatusWrite
from operators.errors import ErrorCode, KokError
from operators.machine_operator import kinds
from operators.machine_operator.gatekeeping import Gatekeeper
from operators.machine_operator.machine.act import Actor
from operators.machine_operator.machine.observe import Observer
from operators.machine_operator.meta import Meta
from operators.machine_operator.world import World
from operators.ports.kube import Key


class MachineController:
    """Implements `operators.engine.reconcile.Controller` for hosts and their Machines."""

    name = kinds.MACHINE

    def __init__(self, world: World) -> None:
        self._world = world
        meta = Meta(world)
        gatekeeper = Gatekeeper(world, meta)
        self._observer = Observer(world, meta, gatekeeper)
        self._actor = Actor(world, meta, self._observer, gatekeeper)

    async def observe(self, key: Key) -> MachineView | None:
        """See Controller."""
        return await self._observer.observe(key)

    def next_step(self, view: MachineView) -> Step:
        """See Controller."""
        return ladder.next_step(view)

    async def act(self, view: MachineView, step: Step) -> str:
        """See Controller."""
        told = await self._actor.act(view, step)
        await self._actor.stage(view, step)
        return told

    def status_of(self, view: MachineView, step: Step, outcome: str | KokError) -> StatusWrite | None:
        """See Controller. The pool's update hears the verdict at the same moment."""
        if isinstance(outcome, KokError) and outcome.code is ErrorCode.Conflict:
            return None  # somebody wrote in between: the next pass looks again at once, and there is nothing to tell a person
        verdict = status.verdict_of(view, step, outcome)
        claim, pool = view.owned.mine, view.wish.pool
        self._world.board.post(view.name, verdict, pool=pool.metadata.name if pool else claim.spec.pool if claim else "")
        if verdict.is_open:
            self._world.hands.jobs.forget(view.name)
        machine = view.business.machine
        if machine is None:
            return None
        wanted = status.machine_status_of(view, step, outcome).model_dump(mode="json", by_alias=True, exclude_none=True)
        current = machine.status.model_dump(mode="json", by_alias=True, exclude_none=True) if machine.status else {}
        return StatusWrite(kinds.MACHINE_KIND.ref(view.name), current, wanted)
