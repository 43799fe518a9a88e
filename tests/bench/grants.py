"""Leave to act: how many grants per second, how long one takes, and how large the Ledger gets.

Real: an API server that is the meta and the business cluster, the risk centre in a process of its own with all that it reads before it
decides (budgets, Cluster, pool, claims, Nodes), and requesters that ask, are woken by a watch as operators are, and report the end.
Bare is what any request and answer by objects costs: the same number of OperationGrants created and their status written, at the same concurrency.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from statistics import median, quantiles
from typing import Any

from operators.adapters.grants_kube import GRANTS, KubeGrants, manifest_of
from operators.adapters.kube import KubeClient
from operators.adapters.kube_credentials import kubeconfig_file_credentials
from operators.api.base import API_VERSION
from operators.api.budgets import OperationBudget
from operators.api.risk import Operation, OperationGrant, Outcome, Target
from operators.domain.risk.decide import Ask, Granted, ask_of
from operators.domain.risk.facts import Facts
from operators.domain.risk.identity import EntryKey
from operators.engine.clock import utc_now
from operators.ports.grants import Grant, GrantRequest
from operators.ports.kube import Manifest, Ref, Subresource
from operators.services.ledger import SYSTEM_NAMESPACE, LedgerService, ledger_ref
from tests.bench import simulated
from tests.bench.report import Row, curve, say
from tests.integration.api_server import ApiServer, free_port
from tests.integration.cluster_operator.world_of_planes import cluster_manifest
from tests.unit.operators.domain.risk.builders import KnownFacts

CONTENDERS = (1, 8, 64)
ROUNDS = 5
OPERATIONS = {1: 30, 8: 120, 64: 256}
"""In each round."""
HOSTS = 64
NAMESPACE, CLUSTER, POOL = "bench", "bench", "workers"
OPERATIONS_OF_CURVE = 10_000
SECONDS_APART = 20
"""Of the operations of the curve, by its own clock: an hour's window then holds 180 of them."""
SAMPLE_EVERY = 500
ANSWER_WITHIN = 60.0
EPOCH = 1 << 40
"""Later than any that a process takes office with."""

Work = Callable[[int, str], Awaitable[float]]
Round = tuple[float, list[float]]
"""Seconds that all of it took, and those of each operation."""


def measure() -> list[Row]:
    """Rates and latencies for each number of contenders, and the Ledger's size over ten thousand operations."""
    with ground() as server:
        return [*asyncio.run(_contentions(server)), asyncio.run(_ledger_size(server))]


@contextmanager
def ground() -> Iterator[ApiServer]:
    """One API server with a Cluster of 64 machines, budgets wide enough for all of them, and an empty Ledger."""
    with simulated.servers() as (server, _):
        items = list(_world(server))
        server.kubectl("create", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
        yield server


def _world(server: ApiServer) -> Iterator[Manifest]:
    names = [f"host-{number}" for number in range(HOSTS)]
    hosts = [{"name": name, "address": f"10.0.0.{number + 1}", "hostKeys": ["ssh-ed25519 AAAA"]} for number, name in enumerate(names)]
    yield {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    yield {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": CLUSTER + "-machines"}}
    yield cluster_manifest(NAMESPACE, CLUSTER)
    way = base64.b64encode(server.admin_kubeconfig.read_bytes()).decode()
    yield {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": f"{CLUSTER}-operator-kubeconfig", "namespace": NAMESPACE},
        "data": {"kubeconfig": way},
    }
    spec = {"clusterName": CLUSTER, "hosts": hosts, "packages": {"follow": "Cluster"}}
    yield _object("MachinePool", POOL, NAMESPACE, spec=spec)
    for name in names:
        yield {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}
    yield _budget("pool", "Pool", ["Drain"], concurrency={"percent": 100, "count": 1000})
    yield _budget("fleet", "Fleet", ["Drain"], concurrency={"count": 1000})
    yield _object("Ledger", "ledger", SYSTEM_NAMESPACE, spec={"inFlight": []})


def _budget(name: str, per: str, operations: list[str], **limits: Manifest) -> Manifest:
    return _object("OperationBudget", name, spec={"operations": operations, "scope": {"per": per, "clusters": {"all": True}}, **limits})


def _object(kind: str, name: str, namespace: str = "", **rest: Any) -> Manifest:
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, **rest}


@contextmanager
def centre(server: ApiServer, profile: str = "") -> Iterator[simulated.Operator]:
    """The risk centre's process, once it leads."""
    port = free_port()
    command = [sys.executable, "-m", "tests.bench.grants_process", str(server.admin_kubeconfig), str(port), *([profile] if profile else [])]
    with simulated.child("risk-centre", command) as process:
        found, end = simulated.Operator(process.pid, port), time.monotonic() + 60.0
        while not found.metric("kok_leader_epoch"):
            assert time.monotonic() < end, "the risk centre does not lead"
            time.sleep(0.1)
        yield found


@dataclass(slots=True)
class Requesters:
    """Who asks. `woken`: one event per OperationGrant that is waited for, set when its status changes."""

    kube: KubeClient
    woken: dict[str, asyncio.Event] = field(default_factory=dict)

    async def one(self, number: int, step: str) -> float:
        """One operation from asking to its reported end; seconds until leave was in hand."""
        wanted, grants = request(number, step), KubeGrants(self.kube, now=self.kube.now)
        name = manifest_of(wanted, 0)["metadata"]["name"]
        event, began = self.woken.setdefault(name, asyncio.Event()), time.monotonic()
        answer = await grants.ask(wanted)
        async with asyncio.timeout(ANSWER_WITHIN):
            while not isinstance(answer, Grant):
                assert not answer.denied, answer.message
                with suppress(TimeoutError):  # who is not woken looks again by itself, as operators do
                    await asyncio.wait_for(event.wait(), answer.retry_after)
                event.clear()
                answer = await grants.ask(wanted)
        took = time.monotonic() - began
        del self.woken[name]
        await grants.settle(answer, Outcome.Succeeded)
        return took

    async def follow(self) -> None:
        """Wake those whose grant changed, for ever."""
        version = (await self.kube.list(GRANTS, namespace=NAMESPACE)).resource_version
        while True:
            async for event in self.kube.watch(GRANTS, namespace=NAMESPACE, resource_version=version):
                metadata = event.object["metadata"]
                version = metadata["resourceVersion"]
                if (event.object.get("status") or {}).get("decision") and (waiting := self.woken.get(metadata.get("name", ""))):
                    waiting.set()

    async def bare(self, number: int, step: str) -> float:
        """The baseline of `one`: the object, and its status."""
        manifest, began = manifest_of(request(number, f"bare-{step}"), 0), time.monotonic()
        manifest["metadata"]["namespace"] = f"{CLUSTER}-machines"
        await self.kube.create(manifest, deadline=ANSWER_WITHIN)
        status = {"status": {"decision": "Denied", "message": "bench", "decidedAt": "2026-01-01T00:00:00Z", "retryAfterSeconds": 1}}
        await self.kube.patch_json(Ref.of(manifest), status, subresource=Subresource.Status, deadline=ANSWER_WITHIN)
        return time.monotonic() - began


def request(number: int, step: str, operation: Operation = Operation.Drain) -> GrantRequest:
    """An operation on one of the machines, of that machine's own requester."""
    name = f"host-{number % HOSTS}"
    target = Target(kind="Machine", name=name, cluster=CLUSTER, pool=POOL)
    return GrantRequest(NAMESPACE, operation, target, f"uid-{name}", f"bench/{name}", "bench", step, 0, "bench")


@asynccontextmanager
async def _requesters(server: ApiServer) -> AsyncIterator[Requesters]:
    kube = KubeClient(kubeconfig_file_credentials(str(server.admin_kubeconfig)), field_manager="bench")
    requesters = Requesters(kube)
    following = asyncio.create_task(requesters.follow())
    try:
        yield requesters
    finally:
        following.cancel()
        await kube.close()


async def _contentions(server: ApiServer) -> list[Row]:
    """The baseline first, while no risk centre runs that would answer its objects, too."""
    async with _requesters(server) as requesters:
        bare = {contenders: await _rounds(contenders, requesters.bare) for contenders in CONTENDERS}
        with centre(server):
            await _round(1, "warm", requesters.one, 5)
            ours = {contenders: await _rounds(contenders, requesters.one) for contenders in CONTENDERS}
    return [row for contenders in CONTENDERS for row in _rows(contenders, ours[contenders], bare[contenders])]


async def _rounds(contenders: int, work: Work) -> list[Round]:
    return [await _round(contenders, f"{contenders}-{number}", work, OPERATIONS[contenders]) for number in range(ROUNDS)]


def _rows(contenders: int, ours: list[Round], bare: list[Round]) -> list[Row]:
    count = OPERATIONS[contenders]
    rates = [tuple(count / seconds for seconds, _ in each) for each in (ours, bare)]
    tails = [tuple(p99(samples) * 1000 for _, samples in each) for each in (ours, bare)]
    say(f"grants: {contenders} contenders: {median(rates[0]):.1f}/s, p99 {median(tails[0]):.0f} ms; bare {median(rates[1]):.0f}/s")
    setting = f"{contenders} contenders, {ROUNDS} rounds of {count} operations; real API server; bare: create and status"
    return [
        Row(f"grants per second, {contenders}", "/s", rates[0], rates[1], setting=setting),
        Row(f"grant p99, {contenders}", "ms", tails[0], tails[1], setting="from asking to leave in hand"),
    ]


async def _round(contenders: int, step: str, work: Work, count: int) -> Round:
    """Seconds that all took, and those of each."""
    samples: list[float] = []

    async def contend(number: int) -> None:
        for turn in range(count // contenders):
            samples.append(await work(number, f"{step}-{turn}"))

    began = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for number in range(contenders):
            group.create_task(contend(number))
    return time.monotonic() - began, samples


def p99(samples: list[float]) -> float:
    """Of few samples the largest."""
    return quantiles(samples, n=100, method="inclusive")[98] if len(samples) > 1 else samples[0]


async def _ledger_size(server: ApiServer) -> Row:
    """Ten thousand operations, granted and given back by compare-and-swap on the stored Ledger, with a clock that runs ahead."""
    kube = KubeClient(kubeconfig_file_credentials(str(server.admin_kubeconfig)), field_manager="bench")
    clock, sizes = _Clock(utc_now() + timedelta(hours=2)), []
    budget = OperationBudget.parse(_budget("hour", "Cluster", ["Reboot"], rate={"count": 1000, "windowSeconds": 3600}))
    ledger = LedgerService(kube, KnownFacts(Facts((budget,))), epoch=lambda: EPOCH, now=lambda: clock.now)
    try:
        for number in range(OPERATIONS_OF_CURVE):
            clock.now += timedelta(seconds=SECONDS_APART)
            verdict = await ledger.reserve(_ask(number))
            assert isinstance(verdict, Granted), verdict
            await ledger.release([EntryKey(NAMESPACE, verdict.entry.op_id)], {EntryKey(NAMESPACE, verdict.entry.op_id): Outcome.Succeeded})
            if (number + 1) % SAMPLE_EVERY == 0:
                sizes.append(len(json.dumps(await kube.get(ledger_ref()))) / 1024)
    finally:
        await kube.close()
    say(curve("KiB of the Ledger by operations", SAMPLE_EVERY, sizes))
    half = len(sizes) // 2
    setting = f"{OPERATIONS_OF_CURVE} operations {SECONDS_APART} s apart, a window of 3600 s; the second half beside the first"
    return Row("Ledger, largest", "KiB", (max(sizes[half:]),), (max(sizes[:half]),), max_ratio=1.05, setting=setting)


@dataclass(slots=True)
class _Clock:
    now: datetime


def _ask(number: int) -> Ask:
    manifest = manifest_of(request(number, f"curve-{number}", Operation.Reboot), 0)
    manifest["metadata"]["uid"] = f"uid-{number}"
    return ask_of(OperationGrant.parse(manifest))
