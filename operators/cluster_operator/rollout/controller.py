"""The FleetRollout controller: hands each part of a pass to who knows it. Nothing is decided here; run by the engine, built by main."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from operators.api.rollout import Mode
from operators.cluster_operator.cluster.world import World
from operators.cluster_operator.rollout import kinds
from operators.cluster_operator.rollout.act import Actor, Answer, Freeze, Move, Refuse, RolloutStep
from operators.cluster_operator.rollout.gauging import Gauge, plane_gauge
from operators.cluster_operator.rollout.journal import JournalBook
from operators.cluster_operator.rollout.measuring import EVERY as METRICS_EVERY
from operators.cluster_operator.rollout.measuring import Measurer
from operators.cluster_operator.rollout.observe import Observer, Seen
from operators.cluster_operator.rollout.probing import (
    EVERY,
    NodeProber,
    ProbeBook,
    ProbeController,
    ProbeCounts,
    Prober,
    on_node,
    pod_prober,
)
from operators.cluster_operator.rollout.staging import Stager
from operators.cluster_operator.rollout.staging_pools import PoolStager
from operators.domain.rollout.forecast import Outlook, outlook, with_refusals
from operators.domain.rollout.plan import FrozenPlan, Refused, freeze
from operators.domain.rollout.pools import forecasts
from operators.domain.rollout.preflight import Ground, refused_members, refused_spec, refused_ways
from operators.domain.rollout.state import next_step
from operators.domain.rollout.status import planned_status, running_status, stalled_status, unreadable_status
from operators.engine.reconcile import StatusWrite
from operators.errors import KokError
from operators.ports.kube import Key
from operators.ports.metrics import MetricsPort, NoMetrics

FINAL = "it does not start by itself later: make it anew, or ask again: kok rollout resume NAME --reason WHY"
ROOM = 1024 - len(FINAL) - 2


class RolloutController:
    """Implements `operators.engine.reconcile.Controller` for FleetRollout."""

    name = kinds.CONTROLLER

    def __init__(self, world: World, probes: ProbeBook, measurer: Measurer) -> None:
        journals = JournalBook(world.meta, world.own_namespace)
        self._stager, self._pool_stager = Stager(world), PoolStager(world)
        self._observer, self._actor = Observer(world, journals, probes, measurer, self._pool_stager), Actor(world, journals)

    async def observe(self, key: Key) -> Seen | None:
        """See Controller."""
        seen = await self._observer.observe(key)
        if seen is None:
            await self._pool_stager.forget(key.name)
        return seen

    def next_step(self, seen: Seen) -> RolloutStep:
        """See Controller."""
        if seen.broken:
            return Refuse(seen.broken.code, f"what decides cannot be read, so nothing is done: {seen.broken.message}", after=5.0)
        if seen.view is not None:
            return Move(next_step(seen.view))
        if seen.refusal is not None:
            return Refuse(seen.refusal.code, seen.refusal.reason, after=None)
        step = begin(seen)
        if isinstance(step, Refuse) and seen.rollout.spec.mode is Mode.Run:
            return replace(step, reason=f"{step.reason[:ROOM]}; {FINAL}", after=0.0, is_final=True)
        return step

    async def act(self, seen: Seen, step: RolloutStep) -> None:
        """See Controller."""
        if not seen.rollout.deleting:
            await self._actor.act(seen, step)
            await self._stager.keep(seen.rollout, seen.view, seen.staged, seen.fleet)
            await self._pool_stager.keep(seen.rollout, seen.view, seen.hosts)

    def status_of(self, seen: Seen, step: RolloutStep, outcome: KokError | None) -> StatusWrite | None:
        """See Controller."""
        if seen.rollout.deleting:
            return None
        ref = kinds.ROLLOUT.ref(seen.rollout.metadata.name)
        match step:
            case Move(step=move) if seen.view is not None:
                wanted = running_status(seen.rollout, seen.shown, seen.view, move, outcome)
            case Refuse() if seen.broken is not None:
                wanted = unreadable_status(seen.rollout, seen.shown, seen.broken, step.reason, seen.now)
            case Refuse(code=code):
                wanted = stalled_status(seen.rollout, seen.shown, code.value, step.reason, seen.now)
            case Answer(outlook=outlook, refused=code):
                wanted = planned_status(seen.rollout, seen.shown, step.reason, outlook, seen.now, refused=code)
            case _:
                return None
        return StatusWrite(ref, seen.shown, wanted)


def begin(seen: Seen) -> RolloutStep:
    """Freeze the plan, answer with it, or say why there is none."""
    spec = seen.rollout.spec
    if refused := refused_spec(spec, seen.catalogue, has_metrics=seen.has_metrics):
        return Refuse(refused.code, refused.reason)
    plan = freeze(seen.rollout, seen.candidates, bad_versions=seen.bad_versions)
    if isinstance(plan, Refused):
        return Refuse(plan.code, plan.reason)
    foreseen, ways = _outlook(seen, plan)
    what = "pools" if spec.change.of_machines else "clusters"
    refused = refused_members(ways, len(plan.members), what)
    words = plan.summary(what)
    if spec.mode is Mode.Plan:
        return Answer(foreseen, f"would be refused: {refused.reason}", refused=refused.code) if refused else Answer(foreseen, words)
    return Refuse(refused.code, refused.reason) if refused else Freeze(plan, f"the plan is frozen: {words}")


def _outlook(seen: Seen, plan: FrozenPlan) -> tuple[Outlook, Mapping[str, str]]:
    """What members would see, and those that would be refused with the reason."""
    if seen.ground is None:
        ways = refused_ways(plan.members, plan.to, Ground(seen.fleet, seen.pools, seen.catalogue, seen.bad_versions), seen.now)
        return with_refusals(outlook(plan, seen.pools, seen.catalogue), ways), ways
    made = Outlook(plan, forecasts(plan, seen.ground.pools, seen.catalogue.machines[plan.to], seen.catalogue))
    return made, {key: each.refused for key, each in made.forecasts.items() if each.refused}


def rollout_controllers(  # noqa: PLR0913 - what tests bring in the place of what planes have
    world: World,
    wake: Callable[[Key], None],
    *,
    metrics: MetricsPort | None = None,
    prober: Prober | None = None,
    gauge: Gauge | None = None,
    node_prober: NodeProber | None = None,
    probe_every: float = EVERY,
    idle: float = 0.0,
    counts: ProbeCounts | None = None,
) -> tuple[RolloutController, ProbeController]:
    """Both controllers, sharing the probes' results. `wake` enqueues a key of the second one; `metrics`: what business metrics are asked of. Who brings
    a prober of his own reads vital signs and asks nodes only if he brings what does that, too. `idle`: seconds between probes of clusters that no
    rollout looks at; 0: they are not probed.
    """
    book = ProbeBook(world.now, wake)
    measurer = Measurer(metrics or NoMetrics(), every=METRICS_EVERY if probe_every else 0.0)
    chosen = gauge or (None if prober else plane_gauge(world))
    nodes = node_prober or (None if prober else on_node(world))
    probes = ProbeController(
        world, book, prober or pod_prober(world), every=probe_every, gauge=chosen, node_prober=nodes, idle=idle, counts=counts
    )
    return RolloutController(world, book, measurer), probes
