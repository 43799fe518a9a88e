"""Probes the clusters that running rollouts look at, pod by pod (a few at once after a bad one), and remembers the results. Writes nothing in the meta cluster.

Results are in memory only: after a restart there are none, which holds a rollout until there are new ones; baselines stand in its records.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from operators.cluster_operator.cluster import kinds
from operators.cluster_operator.cluster.business import BusinessLook
from operators.cluster_operator.cluster.world import World
from operators.cluster_operator.rollout.gauging import Gauge
from operators.domain.plane.inputs import Names
from operators.domain.rollout.evidence import Sample
from operators.domain.rollout.nodes import NOT_TRIED, NodeChange, NodeTries
from operators.domain.rollout.vitals import Vitals
from operators.engine.reconcile import StatusWrite
from operators.errors import KokError
from operators.ports.kube import Key
from operators.services.probe import ProbeResult, probe

log = structlog.get_logger(__name__)
CONTROLLER = "probe"
EVERY = 3.0
"""Seconds between two probes of one cluster."""
AFTER_A_BAD_ONE = 4
"""Pods in one pass, EVERY apart, while the newest did not come up: each of them takes up to the probe's deadline."""
KEPT = 400
"""Samples per cluster."""
GAUGED = 25
"""Clusters of one rollout whose vital signs are read: an API server's metrics are megabytes."""
GAUGE_EVERY = timedelta(seconds=10)
NODES_AT_ONCE = 5
"""Nodes of one cluster that are asked in one pass."""
KEPT_VITALS = 120
"""Readings per cluster."""
WANTED_FOR = timedelta(seconds=120)
"""A cluster that no rollout asked for since is not probed any more."""
IMAGE = "registry.k8s.io/pause:3.10"
"""Every host has it: containerd starts pods with it."""


class ProbeBook:
    """Which clusters are wanted, and what their probes said."""

    def __init__(self, now: Callable[[], datetime], wake: Callable[[Key], None]) -> None:
        self._now, self._wake = now, wake
        self._wanted: dict[str, datetime] = {}
        self._samples: dict[str, deque[Sample]] = {}
        self._vitals: dict[str, deque[Vitals]] = {}
        self._gauged: dict[str, datetime] = {}
        self._nodes: dict[NodeChange, datetime] = {}
        self._tries: dict[NodeChange, NodeTries] = {}
        self.asks_nodes = False
        """Whether anybody asks single nodes here."""
        self.has_gauge = False
        """Whether anybody reads vital signs here."""

    def want(self, clusters: Iterable[str]) -> None:
        """These are looked at now (namespace/name); of the first GAUGED the vital signs are read, too."""
        for number, key in enumerate(dict.fromkeys(clusters)):
            if number < GAUGED:
                self._gauged[key] = self._now()
            fresh = key not in self._wanted
            self._wanted[key] = self._now()
            if fresh:
                namespace, _, name = key.partition("/")
                self._wake(Key(CONTROLLER, namespace, name))

    def is_wanted(self, cluster: str) -> bool:
        """Whether somebody asked for it lately; what nobody asks for is forgotten."""
        since = self._wanted.get(cluster)
        if since is not None and self._now() - since <= WANTED_FOR:
            return True
        self.forget(cluster)
        return False

    def forget(self, cluster: str) -> None:
        """It is gone, or nobody asks: one that is made anew under its name is a fresh one."""
        self._wanted.pop(cluster, None)
        self._samples.pop(cluster, None)
        self._vitals.pop(cluster, None)
        self._gauged.pop(cluster, None)
        for change in [each for each in self._nodes if each.cluster == cluster]:
            self._forget_node(change)

    def _forget_node(self, change: NodeChange) -> None:
        self._nodes.pop(change, None)
        self._tries.pop(change, None)

    def want_nodes(self, changes: Iterable[NodeChange]) -> None:
        """Each of these nodes is to start a pod."""
        for change in changes:
            self._nodes[change] = self._now()

    def nodes_due(self, cluster: str) -> tuple[NodeChange, ...]:
        """Nodes of a cluster that have not started one, and are not given up; what nobody asks for is forgotten."""
        for change in [each for each, since in self._nodes.items() if self._now() - since > WANTED_FOR]:
            self._forget_node(change)
        tries = {each: self._tries.get(each, NOT_TRIED) for each in self._nodes if each.cluster == cluster}
        return tuple(each for each, known in tries.items() if not known.good and not known.gave_up)[:NODES_AT_ONCE]

    def tried(self, change: NodeChange, result: ProbeResult) -> None:
        """One more pod of a node."""
        before = self._tries.get(change, NOT_TRIED)
        self._tries[change] = NodeTries(result.good, before.bad + (not result.good), result.reason)

    @property
    def tries(self) -> Mapping[NodeChange, NodeTries]:
        """What pods came to, node by node."""
        return dict(self._tries)

    def is_due(self, cluster: str) -> bool:
        """Whether its vital signs are wanted, and were not read a moment ago."""
        wanted, known = self._gauged.get(cluster), self._vitals.get(cluster)
        if not self.has_gauge or wanted is None or self._now() - wanted > WANTED_FOR:
            return False
        return not known or self._now() - known[-1].at >= GAUGE_EVERY

    def note(self, cluster: str, vitals: Vitals) -> None:
        """One more reading."""
        self._vitals.setdefault(cluster, deque(maxlen=KEPT_VITALS)).append(vitals)

    @property
    def vitals(self) -> dict[str, tuple[Vitals, ...]]:
        """All readings."""
        return {key: tuple(found) for key, found in self._vitals.items()}

    def add(self, cluster: str, sample: Sample) -> None:
        """One more result."""
        self._samples.setdefault(cluster, deque(maxlen=KEPT)).append(sample)

    @property
    def samples(self) -> dict[str, tuple[Sample, ...]]:
        """All of them."""
        return {key: tuple(samples) for key, samples in self._samples.items()}


@dataclass(frozen=True, slots=True)
class Probed:
    """One pass over one cluster."""

    key: Key
    wanted: bool


@dataclass(frozen=True, slots=True)
class ProbeStep:
    """Probe it and come again, or let it be."""

    reason: str
    after: float | None


Prober = Callable[[Key], Awaitable[ProbeResult]]
"""Probes one Cluster. An API that cannot be spoken to is a failed probe, not an error."""


NodeProber = Callable[[Key, str], Awaitable[ProbeResult]]
"""Probes one node of a Cluster."""


def pod_prober(world: World) -> Prober:
    """Probes by a pod in the business cluster."""
    business = BusinessLook(world)

    async def probe_cluster(key: Key) -> ProbeResult:
        try:
            port = business.port(kinds.key_of(key.namespace, key.name), Names(key.name, key.namespace))
        except KokError as error:
            return ProbeResult(False, 0.0, error.message)
        return await probe(port, image=IMAGE)

    return probe_cluster


def on_node(world: World) -> NodeProber:
    """Probes by a pod on that node."""
    business = BusinessLook(world)

    async def probe_node(key: Key, node: str) -> ProbeResult:
        try:
            port = business.port(kinds.key_of(key.namespace, key.name), Names(key.name, key.namespace))
        except KokError as error:
            return ProbeResult(False, 0.0, error.message, is_of_server=True)
        return await probe(port, image=IMAGE, node=node)

    return probe_node


class ProbeController:
    """Implements `operators.engine.reconcile.Controller`; shows nothing of itself."""

    name = CONTROLLER

    def __init__(  # noqa: PLR0913 - every way of asking is a part of its own
        self,
        world: World,
        book: ProbeBook,
        prober: Prober,
        *,
        every: float = EVERY,
        gauge: Gauge | None = None,
        node_prober: NodeProber | None = None,
    ) -> None:
        self._world, self._book, self._probe, self._every = world, book, prober, every
        self._gauge, self._probe_node = gauge, node_prober
        book.has_gauge, book.asks_nodes = gauge is not None, node_prober is not None

    async def observe(self, key: Key) -> Probed | None:
        """None once nobody wants it any more."""
        there = self._world.cache.get(kinds.CLUSTER.ref(key.name, key.namespace)) is not None
        cluster = f"{key.namespace}/{key.name}"
        if not there:
            self._book.forget(cluster)
        return Probed(key, True) if there and self._book.is_wanted(cluster) else None

    def next_step(self, view: Probed) -> ProbeStep:
        """Always one more."""
        return ProbeStep("a probe pod is made", self._every)

    async def act(self, view: Probed, step: ProbeStep) -> None:
        """One pod; after a bad one several, set apart: the next verdict has enough of them soon, and one moment's trouble counts once."""
        cluster = f"{view.key.namespace}/{view.key.name}"
        latest = self._book.samples.get(cluster, ())[-1:]
        pods = AFTER_A_BAD_ONE if latest and not latest[0].good else 1
        samples = [self._sample(view.key, cluster, number * self._every) for number in range(pods)]
        nodes = [self._ask(view.key, change) for change in self._book.nodes_due(cluster)]
        await asyncio.gather(self._look(view.key, cluster), *samples, *nodes)

    async def _ask(self, key: Key, change: NodeChange) -> None:
        """One pod on one node. An API server that does not answer says nothing of the node."""
        if self._probe_node is None:
            return
        result = await self._probe_node(key, change.node)
        if not result.is_of_server:
            self._book.tried(change, result)
        if not result.good:
            log.warning("a changed node started no pod", cluster=change.cluster, node=change.node, reason=result.reason)

    async def _look(self, key: Key, cluster: str) -> None:
        """Its vital signs, now and then."""
        if self._gauge is not None and self._book.is_due(cluster):
            self._book.note(cluster, await self._gauge(key))

    async def _sample(self, key: Key, cluster: str, after: float) -> None:
        """One pod, counted as soon as it is over."""
        await asyncio.sleep(after)
        result = await self._probe(key)
        self._book.add(cluster, Sample(self._world.now(), result.good, result.seconds))
        if not result.good:
            log.warning("a probe failed", cluster=cluster, seconds=round(result.seconds, 2), reason=result.reason)

    def status_of(self, view: Probed, step: ProbeStep, outcome: object) -> StatusWrite | None:
        """Nothing is shown."""
        return None
