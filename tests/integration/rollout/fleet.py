"""A fleet that rollouts can change, on a real API server: Clusters with releases, planes that follow them, probes that answer.

Real: the API server with every object of a rollout. Simulated: that planes move (their status follows the ClusterRelease) and what a probe pod says.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar
from uuid import uuid4

from operators.adapters.catalogue_files import FileCatalogue
from operators.cluster_operator.cluster import kinds as cluster_kinds
from operators.cluster_operator.cluster.world import World
from operators.cluster_operator.rollout import kinds
from operators.cluster_operator.rollout.act import RolloutStep
from operators.cluster_operator.rollout.controller import rollout_controllers
from operators.cluster_operator.rollout.gauging import Gauge
from operators.engine.cache import ObjectCache
from operators.engine.metrics import Metrics
from operators.engine.queue import WorkQueue
from operators.engine.reconcile import LoopTools, ReconcileLoop
from operators.engine.recorder import EventRecorder
from operators.engine.sweep import Sweeper
from operators.errors import KokError
from operators.ports.kube import AlreadyExists, Key, KubePort, Manifest, Ref, Watched
from operators.ports.metrics import MetricsPort
from operators.services.probe import ProbeResult
from tests.integration.cluster_operator.world_of_planes import OneBusinessServer, cluster_manifest, package_manifest

OLD, NEW = "kubernetes-1.34.4-rollouts", "kubernetes-1.35.4-rollouts"
PAUSE = 0.3
"""Seconds between two rounds: soaking is mostly waiting, and not to be done at full speed."""


@dataclass
class Fleet:
    """Clusters of one test, all with the label fleet=<name>."""

    kube: KubePort
    name: str
    system: str
    broken: set[str] = field(default_factory=set)
    """Package versions whose planes do not come up."""
    no_pods: set[str] = field(default_factory=set)
    """Package versions whose clusters make no pods."""
    all_fail: bool = False
    """Whether no cluster at all makes pods, of whatever version."""
    clusters: list[str] = field(default_factory=list)
    made: ClassVar[list[Fleet]] = []
    """Those of the running test."""

    @classmethod
    async def of(cls, kube: KubePort, count: int, *, system: str = "") -> Fleet:
        """`count` healthy Clusters at OLD, each in a namespace of its own; the Ledger is in `system`, by default the fleet's own."""
        name = f"f{uuid4().hex[:8]}"
        fleet = cls(kube, name, system or f"{name}-system")
        cls.made.append(fleet)
        with suppress(AlreadyExists):
            await kube.create(_namespace(fleet.system))
        for package, version in ((OLD, "1.34.4"), (NEW, "1.35.4")):
            await kube.apply(package_manifest(package, version))
        await kube.create(_budget(name))
        with suppress(AlreadyExists):
            await kube.create({**RISK, "kind": "Ledger", "metadata": {"name": "ledger", "namespace": fleet.system}, "spec": {}})
        for number in range(count):
            await fleet.add(number)
        return fleet

    async def set_breaker(self, phase: str) -> None:
        """The fleet's breaker for UpgradePlane, as the risk centre would write it."""
        breaker = {
            "budget": self.name,
            "scope": "the fleet",
            "phase": phase,
            "since": _now(),
            "coolDownSeconds": 7200,
            "reason": "5 of 6 failed",
        }
        await self.kube.patch_json(Ref("kok.dev/v1alpha1", "Ledger", self.system, "ledger"), {"spec": {"breakers": [breaker]}})

    async def add(self, number: int) -> None:
        cluster = f"{self.name}-{number}"
        await self.kube.create(_namespace(cluster))
        manifest = cluster_manifest(cluster, "c", packageVersion=OLD)
        manifest["metadata"]["labels"] = {"fleet": self.name}
        await self.kube.create(manifest)
        current = {"packageVersion": OLD, "by": "Spec", "at": _now()}
        metadata = {"name": "c", "namespace": cluster}
        await self.kube.create(
            {"apiVersion": "kok.dev/v1alpha1", "kind": "ClusterRelease", "metadata": metadata, "spec": {"current": current}}
        )
        self.clusters.append(f"{cluster}/c")

    async def planes_follow(self) -> None:
        """Every plane goes where its release says, unless that version is broken; its status tells."""
        for key in self.clusters:
            namespace, name = key.split("/")
            release = await self.kube.get(cluster_kinds.RELEASE.ref(name, namespace))
            cluster = await self.kube.get(cluster_kinds.CLUSTER.ref(name, namespace))
            assert release
            assert cluster
            version = release["spec"]["current"]["packageVersion"]
            is_up = version not in self.broken
            if is_up and release["spec"].get("reached", OLD) != version:
                await self.kube.patch_json(cluster_kinds.RELEASE.ref(name, namespace), {"spec": {"reached": version}})
            words = "" if is_up else "apiserver has 0 of 1 pods ready: CrashLoopBackOff"
            await self._show(cluster, version, "True" if is_up else "False", words)

    async def _show(self, cluster: Manifest, version: str, ready: str, words: str) -> None:
        shown = cluster.get("status") or {}
        before = next((each for each in shown.get("conditions") or () if each["type"] == "Ready"), {})
        since = before.get("lastTransitionTime") if before.get("status") == ready else _now()
        condition = {"type": "Ready", "status": ready, "reason": "Test", "message": words, "lastTransitionTime": since}
        generation = cluster["metadata"]["generation"]
        status = {"observedGeneration": generation, "packageVersion": version, "message": words, "conditions": [condition]}
        if {key: shown.get(key) for key in status} != status or before.get("message", "") != words:
            await self.kube.patch_status(cluster_kinds.CLUSTER.ref(cluster["metadata"]["name"], cluster["metadata"]["namespace"]), status)

    async def versions(self) -> dict[str, str]:
        """Cluster -> what is authorised."""
        found = {}
        for key in self.clusters:
            namespace, name = key.split("/")
            release = await self.kube.get(cluster_kinds.RELEASE.ref(name, namespace))
            assert release
            found[key] = release["spec"]["current"]["packageVersion"]
        return found

    async def touched(self) -> list[str]:
        """Clusters whose release was ever written by a rollout."""
        found = []
        for key in self.clusters:
            namespace, name = key.split("/")
            release = await self.kube.get(cluster_kinds.RELEASE.ref(name, namespace))
            assert release
            if any(each["by"] != "Spec" for each in (release["spec"]["current"], *release["spec"].get("history", ()))):
                found.append(key)
        return found

    def manifest(self, rollout: str, *stages: Manifest, **spec: Any) -> Manifest:
        """A FleetRollout over this fleet: the first cluster, then the rest."""
        chosen = stages or (
            {"name": "canary", "clusters": [self.clusters[0]], "soakSeconds": 2},
            {"name": "rest", "rest": True, "maxParallel": 2, "soakSeconds": 2},
        )
        fields = {"change": {"clusterPackageVersion": NEW}, "selector": {"matchLabels": {"fleet": self.name}}, "stages": list(chosen)}
        return {"apiVersion": "kok.dev/v1alpha1", "kind": "FleetRollout", "metadata": {"name": rollout}, "spec": fields | spec}


RISK = {"apiVersion": "kok.dev/v1alpha1"}


def _budget(fleet: str) -> Manifest:
    """So many planes at once that it never says no by itself."""
    scope = {"per": "Fleet", "clusters": {"matchLabels": {"fleet": fleet}}}
    spec = {"operations": ["UpgradePlane"], "scope": scope, "concurrency": {"count": 100}}
    return {**RISK, "kind": "OperationBudget", "metadata": {"name": fleet}, "spec": spec}


def _namespace(name: str) -> Manifest:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


async def a_pool_that_follows(fleet: Fleet, tag: str) -> str:
    """One host with tool 1; the version that is made here brings tool 2."""
    kube, head = fleet.kube, {"apiVersion": "kok.dev/v1alpha1"}
    for number in ("1", "2"):
        spec = {"component": "tool", "version": number}
        await kube.create({**head, "kind": "MachinePackageVersion", "metadata": {"name": f"tool-{number}-{tag}"}, "spec": spec})
    version = package_manifest(f"kubernetes-1.35.4-{tag}", "1.35.4")
    version["spec"]["machinePackages"] = [f"tool-2-{tag}"]
    await kube.create(version)
    place = {"name": "workers", "namespace": fleet.clusters[0].partition("/")[0]}
    pool = {"clusterName": "c", "hosts": [{"name": "m1", "address": "10.9.0.1"}], "packages": {"follow": "Cluster"}}
    await kube.create({**head, "kind": "MachinePool", "metadata": place, "spec": pool})
    hosts = [{"name": "m1", "packages": [f"tool-1-{tag}"], "at": "2026-01-01T00:00:00Z"}]
    await kube.create({**head, "kind": "MachinePoolRelease", "metadata": place, "spec": {"hosts": hosts}})
    return str(version["metadata"]["name"])


class RolloutOperator:
    """One process with nothing in its memory; `fleet` says what its planes and probes do."""

    def __init__(
        self, fleet: Fleet, kube: KubePort | None = None, *, provider: MetricsPort | None = None, gauge: Gauge | None = None
    ) -> None:
        self.fleet, self.kube = fleet, kube or fleet.kube
        metrics = Metrics()
        self.cache = ObjectCache(lambda key: None)
        for kind in (cluster_kinds.CLUSTER, cluster_kinds.RELEASE, cluster_kinds.PACKAGE, cluster_kinds.POOL, kinds.ROLLOUT):
            self.cache.follow(Watched(kind, lambda manifest: [kinds.key_of(manifest["metadata"]["name"])]))
        self._sweeper = Sweeper(self.cache, {"meta": self.kube}, metrics)
        self._ahead, self._probed, self.failed = timedelta(), set[Key](), ""
        world = World(self.kube, self.cache, OneBusinessServer(self.kube), FileCatalogue(), own_namespace=fleet.system, now=self.now)
        rollouts, probes = rollout_controllers(world, self._probed.add, metrics=provider, prober=self._probe, gauge=gauge, probe_every=0.0)
        tools = LoopTools(self.kube, EventRecorder(self.kube, "kok-cluster-operator", "test"), metrics, keep=self.cache.put)
        self._loop = ReconcileLoop(rollouts, WorkQueue("rollout"), tools)
        self._probes = ReconcileLoop(probes, WorkQueue("probe"), tools)
        self.steps: list[RolloutStep] = []
        decide = rollouts.next_step

        def noted(seen: Any) -> RolloutStep:
            self.steps.append(decide(seen))
            return self.steps[-1]

        rollouts.next_step = noted  # type: ignore[method-assign]

    def now(self) -> datetime:
        """The clock of this operator."""
        return datetime.now(UTC) + self._ahead

    def ahead(self, seconds: float) -> None:
        """Let deadlines come sooner."""
        self._ahead = timedelta(seconds=seconds)

    async def _probe(self, key: Key) -> ProbeResult:
        release = self.cache.get(cluster_kinds.RELEASE.ref(key.name, key.namespace))
        if f"{key.namespace}/{key.name}" not in self.fleet.clusters or release is None:
            return ProbeResult(not self.fleet.all_fail, 0.1)  # another test's, as a control
        good = release["spec"]["current"]["packageVersion"] not in self.fleet.no_pods
        return ProbeResult(good and not self.fleet.all_fail, 0.1)

    async def one_round(self, rollout: str) -> None:
        """Sweep, probe a few times, one pass. A pass that fails is tried again by the next round, as the queue would."""
        await asyncio.gather(*(self._sweeper.sweep_kind(watched, settling=True) for watched in self.cache.watched))
        for key in sorted(self._probed):
            for _ in range(10):
                await self._probes.reconcile(key)
        try:
            await self._loop.reconcile(kinds.key_of(rollout))
        except KokError as error:
            if self.kube is not self.fleet.kube:
                raise
            self.failed = error.message

    async def until(self, rollout: str, phase: str, *, seconds: float = 60.0) -> Manifest:
        """The rollout once it shows this phase."""
        shown: Manifest = {}
        ends = asyncio.get_running_loop().time() + seconds
        while shown.get("phase") != phase:
            assert asyncio.get_running_loop().time() < ends, f"not {phase} after {seconds:.0f} s: {shown} {self.failed} {self.steps[-3:]}"
            await self.fleet.planes_follow()
            await self.one_round(rollout)
            before, found = shown, await self.fleet.kube.get(kinds.ROLLOUT.ref(rollout))
            shown = (found or {}).get("status") or {}
            await asyncio.sleep(PAUSE if shown == before else 0)
        return shown
