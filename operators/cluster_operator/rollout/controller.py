"""The FleetRollout controller: hands each part of a pass to who knows it. Nothing is decided here; run by the engine, built by main."""

from __future__ import annotations

from collections.abc import Callable

from operators.api.rollout import Mode
from operators.cluster_operator.cluster.world import World
from operators.cluster_operator.rollout import kinds
from operators.cluster_operator.rollout.act import Actor, Answer, Freeze, Move, Refuse, RolloutStep
from operators.cluster_operator.rollout.journal import JournalBook
from operators.cluster_operator.rollout.observe import Observer, Seen
from operators.cluster_operator.rollout.probing import EVERY, ProbeBook, ProbeController, Prober, pod_prober
from operators.domain.rollout.forecast import outlook
from operators.domain.rollout.plan import Refused, freeze
from operators.domain.rollout.state import next_step
from operators.domain.rollout.status import planned_status, running_status, stalled_status
from operators.domain.rollout.windows import check
from operators.engine.reconcile import StatusWrite
from operators.errors import ErrorCode, KokError
from operators.ports.kube import Key


class RolloutController:
    """Implements `operators.engine.reconcile.Controller` for FleetRollout."""

    name = kinds.CONTROLLER

    def __init__(self, world: World, probes: ProbeBook) -> None:
        journals = JournalBook(world.meta, world.own_namespace)
        self._observer, self._actor = Observer(world, journals, probes), Actor(world, journals)

    async def observe(self, key: Key) -> Seen | None:
        """See Controller."""
        return await self._observer.observe(key)

    def next_step(self, seen: Seen) -> RolloutStep:
        """See Controller."""
        if seen.broken:
            return Refuse(seen.broken.code, f"the journal cannot be read, so nothing is done: {seen.broken.message}", after=5.0)
        if seen.view is not None:
            return Move(next_step(seen.view))
        return begin(seen)

    async def act(self, seen: Seen, step: RolloutStep) -> None:
        """See Controller."""
        if not seen.rollout.deleting:
            await self._actor.act(seen, step)

    def status_of(self, seen: Seen, step: RolloutStep, outcome: KokError | None) -> StatusWrite | None:
        """See Controller."""
        if seen.rollout.deleting:
            return None
        ref = kinds.ROLLOUT.ref(seen.rollout.metadata.name)
        match step:
            case Move(step=move) if seen.view is not None:
                wanted = running_status(seen.rollout, seen.shown, seen.view, move, outcome)
            case Refuse(code=code):
                wanted = stalled_status(seen.rollout, seen.shown, code.value, step.reason, seen.now)
            case Answer(outlook=outlook):
                wanted = planned_status(seen.rollout, seen.shown, step.reason, outlook, seen.now)
            case _:
                return None
        return StatusWrite(ref, seen.shown, wanted)


def begin(seen: Seen) -> RolloutStep:
    """Freeze the plan, answer with it, or say why there is none."""
    spec = seen.rollout.spec
    try:
        for window in spec.windows:
            check(window)
    except KokError as error:
        return Refuse(error.code, f"{error.message}; {error.hint}")
    to = spec.change.cluster_package_version
    if to not in seen.known_packages:
        return Refuse(ErrorCode.PackageMissing, f"spec.change.clusterPackageVersion: ClusterPackageVersion {to} does not exist")
    plan = freeze(seen.rollout, seen.candidates, bad_versions=tuple(seen.bad_versions))
    if isinstance(plan, Refused):
        return Refuse(plan.code, plan.reason)
    words = f"{len(plan.members)} clusters in {len(plan.stages)} stages to {to}; {len(plan.skipped)} left alone"
    if spec.mode is Mode.Plan:
        return Answer(outlook(plan, seen.pools, seen.catalogue), words)
    return Freeze(plan, f"the plan is frozen: {words}")


def rollout_controllers(
    world: World, wake: Callable[[Key], None], *, prober: Prober | None = None, probe_every: float = EVERY
) -> tuple[RolloutController, ProbeController]:
    """Both controllers, sharing the probes' results. `wake` enqueues a key of the second one."""
    book = ProbeBook(world.now, wake)
    return RolloutController(world, book), ProbeController(world, book, prober or pod_prober(world), every=probe_every)
