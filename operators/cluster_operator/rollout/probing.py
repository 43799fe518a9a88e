"""Probes every business cluster now and then, and those that running rollouts look at pod by pod (a few at once after a bad one); remembers and counts
the results. Writes nothing in the meta cluster.

Results are in memory only: after a restart there are none, which holds a rollout until there are new ones; baselines stand in its records.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client import Gauge as MetricGauge

from operators.cluster_operator.cluster import kinds
from operators.cluster_operator.cluster.business import BusinessLook
from operators.cluster_operator.cluster.world import World
from operators.cluster_operator.rollout.gauging import Gauge
from operators.domain.plane.inputs import Names
from operators.domain.plane.steps import pace_of
from operators.domain.rollout.evidence import Sample
from operators.domain.rollout.nodes import NOT_TRIED, NodeChange, NodeTries
from operators.domain.rollout.vitals import Vitals
from operators.engine.reconcile import StatusWrite
from operators.errors import KokError
from operators.ports.kube import Key, Manifest, Watched
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
IDLE = 600.0
"""Seconds between two probes of a cluster that nobody looks at, in a fleet of up to steps.PACED_FROM; docs/adr/0012."""
SECONDS = (0.5, 1, 2, 3, 5, 10, 20)
IMAGE = "registry.k8s.io/pause:3.10"
"""Every host has it: containerd starts pods with it."""


class ProbeCounts:
    """What probes came to, for Prometheus. `cluster` is namespace/name: a label `namespace` would be that of the operator's own pod."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        words = "Probe pods by cluster (namespace/name) and result (good, bad)."
        self._pods = Counter("kok_probe_pods_total", words, ["cluster", "result"], registry=registry)
        words = "Probe pods of a cluster (namespace/name) that did not come up, one after another; 0 after one that did."
        self._in_a_row = MetricGauge("kok_probe_bad_in_a_row", words, ["cluster"], registry=registry)
        self._seconds = Histogram("kok_probe_pod_seconds", "Until a probe pod ran.", ["cluster"], buckets=SECONDS, registry=registry)

    def count(self, cluster: str, result: ProbeResult) -> None:
        """One more pod."""
        for word, counted in (("good", result.good), ("bad", not result.good)):
            self._pods.labels(cluster, word).inc(counted)  # both from the first one on: a rate of what was not there before is no rate
        if not result.good:
            self._in_a_row.labels(cluster).inc()
        else:
            self._in_a_row.labels(cluster).set(0)
            self._seconds.labels(cluster).observe(result.seconds)

    def forget(self, cluster: str) -> None:
        """It is gone."""
        for result in ("good", "bad"):
            with contextlib.suppress(KeyError):
                self._pods.remove(cluster, result)
        for each in (self._seconds, self._in_a_row):
            with contextlib.suppress(KeyError):
                each.remove(cluster)


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
    """Whether a rollout looks at it."""
    left: float = 0.0
    """Else: seconds until its next pod is due."""


@dataclass(frozen=True, slots=True)
class ProbeStep:
    """Probe it and come again, or let it be."""

    reason: str
    after: float | None


def probed(watched: Iterable[Watched]) -> tuple[Watched, ...]:
    """The same kinds, whose Clusters wake this controller, too."""
    return tuple(replace(each, keys_of=_also(each)) if each.kind == kinds.CLUSTER else each for each in watched)


def _also(each: Watched) -> Callable[[Manifest], Iterator[Key]]:
    def keys_of(manifest: Manifest) -> Iterator[Key]:
        yield from each.keys_of(manifest)
        yield Key(CONTROLLER, manifest["metadata"]["namespace"], manifest["metadata"]["name"])

    return keys_of


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
        idle: float = 0.0,
        counts: ProbeCounts | None = None,
    ) -> None:
        self._world, self._book, self._probe, self._every = world, book, prober, every
        self._idle, self._counts, self._began = idle, counts or ProbeCounts(), world.now()
        self._last: dict[str, datetime] = {}
        self._gauge, self._probe_node = gauge, node_prober
        book.has_gauge, book.asks_nodes = gauge is not None, node_prober is not None

    async def observe(self, key: Key) -> Probed | None:
        """None for one that is gone, and where nobody looks at those that no rollout wants."""
        manifest = self._world.cache.get(kinds.CLUSTER.ref(key.name, key.namespace))
        cluster = f"{key.namespace}/{key.name}"
        if manifest is None:
            self._book.forget(cluster)
            self._counts.forget(cluster)
            self._last.pop(cluster, None)
            return None
        if self._book.is_wanted(cluster):
            return Probed(key, True)
        is_ready = (manifest.get("status") or {}).get("phase") == "Ready"
        return Probed(key, False, self._left(cluster)) if self._idle and is_ready else None

    def _left(self, cluster: str) -> float:
        """Until the next pod of one that nobody looks at; the first ones of a process are spread by name."""
        idle = self._idle * pace_of(self._world.cache.count(kinds.CLUSTER))
        share = hashlib.sha256(cluster.encode()).digest()[0] / 255.0
        due = self._last[cluster] + timedelta(seconds=idle) if cluster in self._last else self._began + timedelta(seconds=idle * share)
        return min(idle, max(0.0, (due - self._world.now()).total_seconds()))  # a clock that was set back waits no longer for it

    def next_step(self, view: Probed) -> ProbeStep:
        """One more pod now, or when it is due."""
        if view.wanted:
            return ProbeStep("a probe pod is made", self._every)
        return ProbeStep("the next probe pod is not due yet", view.left) if view.left else ProbeStep("a probe pod is made", self._every)

    async def act(self, view: Probed, step: ProbeStep) -> None:
        """One pod; after a bad one several, set apart: the next verdict has enough of them soon, and one moment's trouble counts once."""
        cluster = f"{view.key.namespace}/{view.key.name}"
        if not view.wanted:
            if not view.left:
                await self._sample(view.key, cluster, 0.0)
            return
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
        self._last[cluster] = self._world.now()
        self._counts.count(cluster, result)
        if self._book.is_wanted(cluster):
            self._book.add(cluster, Sample(self._world.now(), result.good, result.seconds))
        if not result.good:
            log.warning("a probe failed", cluster=cluster, seconds=round(result.seconds, 2), reason=result.reason)

    def status_of(self, view: Probed, step: ProbeStep, outcome: object) -> StatusWrite | None:
        """Nothing is shown."""
        return None
