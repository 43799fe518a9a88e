"""A fleet rollout of a machine package over one pool: the Cluster-Operator orders, the real Machine-Operator takes simulated hosts there, one by one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from operators.adapters.catalogue_files import FileCatalogue
from operators.adapters.sim_ssh import HostFault
from operators.cluster_operator.cluster import kinds as cluster_kinds
from operators.cluster_operator.cluster.world import World
from operators.cluster_operator.risk.causes import verdict_of
from operators.cluster_operator.rollout import kinds as rollout_kinds
from operators.cluster_operator.rollout.controller import rollout_controllers
from operators.cluster_operator.rollout.journal import JournalBook
from operators.cluster_operator.rollout.outlook import MACHINE_PACKAGE
from operators.domain.risk.scopes import ClusterId
from operators.domain.risk.verdicts import Reached
from operators.domain.rollout.bad import FOUND_BAD, NOT_BAD
from operators.engine.cache import ObjectCache
from operators.engine.metrics import Metrics
from operators.engine.queue import WorkQueue
from operators.engine.reconcile import LoopTools, ReconcileLoop
from operators.engine.recorder import EventRecorder
from operators.engine.sweep import Sweeper
from operators.errors import KokError
from operators.machine_operator import kinds
from operators.ports.kube import Key, Manifest, Watched
from operators.services.probe import ProbeResult
from tests.integration.cluster_operator.world_of_planes import OneBusinessServer
from tests.integration.machine_operator.rig import Rig, condition, mpv
from tests.integration.remembered_lists import EtcdLook, RememberingKube

pytestmark = pytest.mark.integration
OLD, NEW = "kubelet-1-r1", "kubelet-1-r2"
WISH = {"packages": {"explicit": ["containerd-1-r1", OLD]}, "update": {"maxUnavailable": {"count": 5, "percent": 100}, "perZone": 5}}


@pytest.fixture(autouse=True)
async def unmarked(rig: Rig) -> AsyncIterator[None]:
    """The packages are those of every test here: none is left with a mark of a rollout."""
    yield
    await annotate(rig, {FOUND_BAD: None, NOT_BAD: None})


async def annotate(rig: Rig, annotations: dict[str, str | None]) -> None:
    await rig.meta.patch_json(MACHINE_PACKAGE.ref(NEW), {"metadata": {"annotations": annotations}})


class Rollouts:
    """The Cluster-Operator's rollouts beside a rig, without a memory of its own between two of them."""

    def __init__(self, rig: Rig) -> None:
        self.rig, self.name = rig, f"nodes-{uuid4().hex[:8]}"
        metrics, self._probed = Metrics(), set[Key]()
        cache = ObjectCache(lambda key: None)
        for kind in (cluster_kinds.CLUSTER, cluster_kinds.RELEASE, cluster_kinds.PACKAGE, cluster_kinds.POOL, rollout_kinds.ROLLOUT):
            cache.follow(Watched(kind, lambda manifest: [rollout_kinds.key_of(manifest["metadata"]["name"])]))
        kube = RememberingKube(rig.meta, EtcdLook(rig.meta_server.etcd_port))
        self._sweeper = Sweeper(cache, {"meta": kube}, metrics)
        self._ahead = timedelta()
        self.dumb, self.asked = set[str](), list[str]()
        """Packages with which nodes start no pods; nodes that were asked for one."""
        world = World(kube, cache, OneBusinessServer(rig.business), FileCatalogue(), own_namespace=rig.namespace, now=self.now)
        rollouts, probes = rollout_controllers(world, self._probed.add, prober=self._probe, node_prober=self._probe_node, probe_every=0.0)
        tools = LoopTools(rig.meta, EventRecorder(rig.meta, "kok-cluster-operator", "test"), metrics, keep=cache.put)
        self._loop, self._probes = ReconcileLoop(rollouts, WorkQueue("rollout"), tools), ReconcileLoop(probes, WorkQueue("probe"), tools)
        self.failed, self.sims = "", dict[str, Any]()

    def now(self) -> datetime:
        return datetime.now(UTC) + self._ahead

    async def _probe(self, key: Key) -> ProbeResult:
        return ProbeResult(True, 0.1)

    async def _probe_node(self, key: Key, node: str) -> ProbeResult:
        self.asked.append(node)
        sim = next(sim for host, sim in self.sims.items() if host == node)
        good = sim.installed["kubelet"].name not in self.dumb
        return ProbeResult(good, 0.1, "" if good else "the pod did not run within 20 s")

    async def prepare(self) -> None:
        """What an installation brings: a budget, a Ledger; and a Cluster whose operator says that it is well."""
        scope = {"per": "Pool", "clusters": {"names": [f"{self.rig.namespace}/demo"]}}
        budget = {"operations": ["ApplyPackage"], "scope": scope, "concurrency": {"count": 100}}
        await self.rig.meta.create(
            {"apiVersion": "kok.dev/v1alpha1", "kind": "OperationBudget", "metadata": {"name": self.name}, "spec": budget}
        )
        ledger = {"name": "ledger", "namespace": self.rig.namespace}
        await self.rig.meta.create({"apiVersion": "kok.dev/v1alpha1", "kind": "Ledger", "metadata": ledger, "spec": {}})

    async def start(self, **spec: Any) -> None:
        change, pools = {"machinePackageVersion": NEW}, [f"{self.rig.namespace}/workers"]
        stages = [{"name": "all", "rest": True, "soakSeconds": 1}]
        fields = {"change": change, "selector": {"pools": pools}, "stages": stages}
        manifest = {"apiVersion": "kok.dev/v1alpha1", "kind": "FleetRollout", "metadata": {"name": self.name}, "spec": fields | spec}
        await self.rig.meta.create(manifest)

    async def until(self, phase: str, *, seconds: float = 90.0) -> Manifest:
        shown: Manifest = {}
        ends = asyncio.get_running_loop().time() + seconds
        while shown.get("phase") != phase:
            assert asyncio.get_running_loop().time() < ends, f"not {phase}: {shown} {self.failed} {await self.rig.picture()}"
            shown = await self.one_round()
            await asyncio.sleep(0.3)
        return shown

    async def one_round(self) -> Manifest:
        """One pass; the rollout's status after it."""
        await self._sweeper.sweep(settling=True)
        for key in sorted(self._probed):
            for _ in range(10):
                await self._probes.reconcile(key)
        try:
            await self._loop.reconcile(rollout_kinds.key_of(self.name))
        except KokError as error:
            self.failed = error.message
        return dict((await self.rig.meta.get(rollout_kinds.ROLLOUT.ref(self.name)) or {}).get("status") or {})


async def live(rig: Rig, count: int) -> tuple[list[dict[str, Any]], Rollouts]:
    hosts = [rig.host(f"m{number}", number) for number in range(1, count + 1)]
    await rig.pool(hosts, **WISH)
    await rig.start()
    await rig.until(lambda: rig.is_open(*hosts), seconds=60)
    rollouts = Rollouts(rig)
    rollouts.sims = {host["name"]: rig.sim(host) for host in hosts}
    await rollouts.prepare()
    return hosts, rollouts


def installed(rig: Rig, hosts: list[dict[str, Any]]) -> list[str]:
    return [rig.sim(host).installed["kubelet"].name for host in hosts]


async def wish(rig: Rig) -> Manifest:
    found = await rig.meta.get(kinds.MACHINE_POOL.ref("workers", rig.namespace))
    assert found
    return dict(found["spec"])


async def order(rig: Rig) -> dict[str, Any]:
    found = await rig.meta.get(kinds.POOL_RELEASE.ref("workers", rig.namespace))
    return dict(((found or {}).get("spec", {}).get("orders") or [{}])[0])


async def test_should_take_a_pool_to_a_package_host_by_host(rig: Rig) -> None:
    hosts, rollouts = await live(rig, 2)
    before, jobs = await wish(rig), len(rig.ansible.jobs)
    await rollouts.start()
    shown = await rollouts.until("Good")
    assert installed(rig, hosts) == [NEW] * 2
    assert [len(job.hosts) for job in rig.ansible.jobs[jobs:]] == [1, 1], "never two at once, though the pool would allow five"
    assert (shown["changed"], shown["total"]) == (1, 1)
    assert sorted(rollouts.asked) == sorted(host["name"] for host in hosts), "each node started one pod, and was asked once"
    assert await wish(rig) == before, "what people wrote stays"


@pytest.mark.slow  # its short twins are above and below
async def test_should_undo_what_it_did(rig: Rig) -> None:
    hosts, rollouts = await live(rig, 3)
    await rollouts.start()
    await rollouts.until("Good")
    await rig.meta.patch_json(rollout_kinds.ROLLOUT.ref(rollouts.name), {"spec": {"order": "Undo"}})
    await rollouts.until("Undone")
    assert installed(rig, hosts) == [OLD] * 3
    assert (await order(rig))["by"] == "Undo"


async def test_should_stop_after_the_first_host_that_fails_and_take_it_back(rig: Rig) -> None:
    hosts, rollouts = await live(rig, 3)
    jobs = len(rig.ansible.jobs)
    for host in hosts:
        rig.sim(host).fault = HostFault.FailsOnApply
    await rollouts.start()
    await rollouts.until("GoingBack")
    tried = {each.target.name for job in rig.ansible.jobs[jobs:] for each in job.hosts}
    assert tried == {hosts[0]["name"]}, "the others were never touched"
    ((mark, _),) = await JournalBook(rig.meta, rig.namespace).all_marks()
    verdict = verdict_of(mark, is_lifted=False)
    assert verdict is not None
    reached = Reached(ClusterId(rig.namespace, "demo"), "workers")
    assert (verdict.operation.value, verdict.reached, verdict.count) == ("ApplyPackage", (reached,), 1), "for the pool's breaker"
    for host in hosts:
        rig.sim(host).fault = HostFault.Nothing
    shown = await rollouts.until("Bad")
    await rig.until(lambda: rig.is_open(*hosts), seconds=60)
    assert installed(rig, hosts) == [OLD] * 3
    assert "failed with these packages" in shown["message"]


async def test_should_take_back_a_package_with_which_a_node_is_ready_and_starts_no_pods(rig: Rig) -> None:
    hosts, rollouts = await live(rig, 2)
    rollouts.dumb.add(NEW)
    await rollouts.start()
    shown = await rollouts.until("Bad")
    assert f"node {hosts[0]['name']} starts no pod since it was changed: the pod did not run within 20 s" in shown["message"]
    await rig.until(lambda: rig.is_open(*hosts), seconds=60)
    assert installed(rig, hosts) == [OLD] * 2
    assert (await order(rig))["by"] == "Undo"


async def test_should_not_let_an_edited_pool_take_what_a_rollout_found_bad_until_a_person_lifts_it(rig: Rig) -> None:
    hosts, rollouts = await live(rig, 2)
    rig.sim(hosts[0]).fault = HostFault.FailsOnApply
    await rollouts.start(said={"by": "jane", "reason": "CVE-2026-1"})
    await rollouts.until("GoingBack")
    package = await rig.meta.get(MACHINE_PACKAGE.ref(NEW))
    assert package
    assert package["metadata"]["annotations"][FOUND_BAD].startswith(f"{rollouts.name}: ")
    rig.sim(hosts[0]).fault = HostFault.Nothing
    await rollouts.until("Bad")
    await rig.until(lambda: rig.is_open(*hosts), seconds=60)
    jobs = len(rig.ansible.jobs)
    await rig.pool(hosts, **{**WISH, "packages": {"explicit": ["containerd-1-r1", NEW]}})

    async def refused() -> bool:
        pool = await rig.meta.get(kinds.MACHINE_POOL.ref("workers", rig.namespace))
        stalled = condition(pool or {}, "Stalled")
        assert installed(rig, hosts) == [OLD] * 2
        told = f"{NEW} was found bad by rollout {rollouts.name} (jane, "
        return stalled.get("reason") == "VersionBad" and told in stalled["message"] and "kok.dev/not-bad" in stalled["message"]

    await rig.until(refused)
    assert len(rig.ansible.jobs) == jobs, "nothing was touched"
    await annotate(rig, {NOT_BAD: f"{rollouts.name}: the disk was full"})

    async def taken() -> bool:
        return installed(rig, hosts) == [NEW] * 2

    await rig.until(taken, seconds=60)


async def test_should_pause_at_a_host_that_fails_and_take_the_others_once_a_person_accepts(rig: Rig) -> None:
    """With onFail: Pause the package is marked for everybody, pools too, while a person thinks; whoever accepts the failure lifts that."""
    hosts, rollouts = await live(rig, 2)
    rig.sim(hosts[0]).fault = HostFault.FailsOnApply
    await rollouts.start(onFail="Pause")
    await rollouts.until("Failed")
    assert (await annotations(rig))[FOUND_BAD].startswith(f"{rollouts.name}: ")
    assert installed(rig, hosts)[1] == OLD
    rig.sim(hosts[0]).fault = HostFault.Nothing

    async def is_mended() -> bool:
        """Only then: a member that is still failed when its failure is accepted is taken back alone."""
        return installed(rig, hosts)[0] == NEW

    await rig.until(is_mended)
    said = {"by": "jane", "reason": "the disk was full"}
    await rig.meta.patch_json(rollout_kinds.ROLLOUT.ref(rollouts.name), {"spec": {"acceptedFailures": ["all"], "said": said}})
    await rollouts.until("Good")
    assert installed(rig, hosts) == [NEW] * 2
    assert FOUND_BAD not in await annotations(rig)


async def annotations(rig: Rig) -> dict[str, str]:
    package = await rig.meta.get(MACHINE_PACKAGE.ref(NEW))
    return dict(((package or {})["metadata"].get("annotations")) or {})


async def test_should_refuse_before_anything_starts_what_the_pool_forbids(rig: Rig) -> None:
    hosts, rollouts = await live(rig, 1)
    await rig.pool(hosts, **{**WISH, "update": {"maxEffect": "Restart"}})
    await rollouts.start(change={"machinePackageVersion": "kubelet-2-r1"})
    shown = await rollouts.until("Refused")
    assert "update.maxEffect allows Restart" in shown["message"]
    assert not await order(rig)


NEVER_NOW = {"cron": "0 0 29 2 *", "durationSeconds": 60}


async def test_should_stage_artifacts_before_the_window_and_touch_nothing_until_it_opens(rig: Rig) -> None:
    hosts, rollouts = await live(rig, 2)
    digest = "d" * 64
    tool = {"name": "tool", "sha256": digest, "as": "File", "path": "/usr/local/bin/tool"}
    await rig.meta.apply(mpv("kubelet-1-r4", "kubelet", order=30, artifacts=[tool]))
    rig.sim(hosts[1]).fault = HostFault.DiskFull
    await rollouts.start(change={"machinePackageVersion": "kubelet-1-r4"}, windows=[NEVER_NOW])
    await says(rollouts, "its artifacts are staged before the window: 1 of 2 machines have them (m2-")
    rig.sim(hosts[1]).fault = HostFault.Nothing
    await says(rollouts, "its artifacts are on 2 of 2 machines")
    assert [rig.sim(host).staged for host in hosts] == [{digest}] * 2
    assert installed(rig, hosts) == [OLD] * 2
    assert not await order(rig)
    await rig.meta.patch_json(rollout_kinds.ROLLOUT.ref(rollouts.name), {"spec": {"windows": []}})
    await rollouts.until("Good")
    assert installed(rig, hosts) == ["kubelet-1-r4"] * 2
    assert await wishes(rig) == []


async def test_should_take_back_what_it_staged_when_a_person_aborts_or_deletes_it(rig: Rig) -> None:
    hosts, rollouts = await live(rig, 1)
    tool = {"name": "tool", "sha256": "e" * 64, "as": "File", "path": "/usr/local/bin/tool"}
    await rig.meta.apply(mpv("kubelet-1-r5", "kubelet", order=30, artifacts=[tool]))
    for end in ("abort", "delete"):
        await rollouts.start(change={"machinePackageVersion": "kubelet-1-r5"}, windows=[NEVER_NOW])
        await says(rollouts, "its artifacts are on 1 of 1 machines")
        ref = rollout_kinds.ROLLOUT.ref(rollouts.name)
        if end == "abort":
            await rig.meta.patch_json(ref, {"spec": {"order": "Abort"}})
            await rollouts.until("Aborted")
        await rig.meta.delete(ref)
        await rollouts.one_round()

        async def gone() -> bool:
            return not rig.sim(hosts[0]).staged and not await wishes(rig)

        await rig.until(gone, seconds=30)
    assert installed(rig, hosts) == [OLD]


async def wishes(rig: Rig) -> list[dict[str, Any]]:
    found = await rig.meta.get(kinds.POOL_RELEASE.ref("workers", rig.namespace))
    return list((found or {})["spec"].get("staging") or [])


async def says(rollouts: Rollouts, words: str) -> None:
    shown: Manifest = {}
    for _ in range(60):
        shown = await rollouts.one_round()
        if words in shown.get("message", ""):
            return
        await asyncio.sleep(0.3)
    raise AssertionError(f"{words!r} was never said: {shown} {rollouts.failed} {await rollouts.rig.picture()}")
