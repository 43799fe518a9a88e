"""A thousand Clusters: how soon a restarted operator has caught up, what it asks for while nothing happens, and how its cost grows with the fleet.

Real: two API servers (the meta cluster, and one for all business clusters) and the operator's process. Simulated: pods of planes. Calls are
counted by the meta API server's audit log, beside those of a bare watcher of the same kinds that runs at the same time.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from operators.adapters.kube import KubeClient
from operators.adapters.kube_credentials import kubeconfig_file_credentials
from operators.ports.kube import Kind, KubePort
from tests.bench import simulated
from tests.bench.report import Row, say
from tests.bench.simulated import Operator
from tests.integration.cluster_operator.world_of_planes import package_manifest

FLEETS = (100, 1000)
RESTARTS = 5
CHANGED = 10
"""Clusters that are changed while no operator runs."""
SWEEP_SECONDS = 600.0
"""As shipped."""
WINDOW_SECONDS = 660.0
"""Long enough for a sweep, and for every watch to be opened anew."""
CALM_SECONDS = 75.0
READY_WITHIN = 3600.0
CATCH_UP_WITHIN = 300.0
POLICY = Kind("networking.k8s.io/v1", "NetworkPolicy")
OPERATOR, WATCHER = "bench-operator", "bench-watcher"
AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["ResponseStarted", "ResponseComplete", "Panic"],
    "rules": [{"level": "Metadata", "users": [OPERATOR, WATCHER]}, {"level": "None"}],
}


@dataclass(frozen=True, slots=True)
class Site:
    """Kubeconfigs of the meta cluster (for us, the operator, the bare watcher) and of the business clusters; the meta cluster's audit log."""

    admin: Path
    operator: Path
    watcher: Path
    business: Path
    audit: Path


@dataclass(frozen=True, slots=True)
class Rest:
    """A window in which nothing happened, of the operator: its calls of the meta cluster, those of the bare watcher, and what it took."""

    calls: Counter[str]
    bare: Counter[str]
    business: float
    writes: int
    cpu_seconds: float
    mib: float


def measure() -> list[Row]:
    """All of it; takes about forty minutes, most of them to make the fleet and to watch it rest."""
    with site() as ground:
        return asyncio.run(_measure(ground))


@contextmanager
def site() -> Iterator[Site]:
    """Two API servers with identities that the audit log tells apart."""
    with tempfile.TemporaryDirectory(prefix="kok-bench-") as name:
        folder = Path(name)
        policy, audit = folder / "policy.yaml", folder / "audit.log"
        policy.write_text(yaml.safe_dump(AUDIT_POLICY))
        with simulated.servers(meta_flags=(f"--audit-policy-file={policy}", f"--audit-log-path={audit}")) as (meta, business):
            for user in (OPERATOR, WATCHER):
                (folder / user).write_text(meta.kubeconfig(user, groups=["system:masters"]))
            yield Site(meta.admin_kubeconfig, folder / OPERATOR, folder / WATCHER, business.admin_kubeconfig, audit)


async def _measure(ground: Site) -> list[Row]:
    kube = KubeClient(kubeconfig_file_credentials(str(ground.admin)), field_manager="bench")
    rests, waits = [], []
    try:
        await kube.create(package_manifest())
        for before, size in zip((0, *FLEETS), FLEETS, strict=False):
            await make_fleet(ground, kube, before, size)
            waits.append([await catch_up(ground, kube, size, seed) for seed in range(RESTARTS)])
            rests.append(await rest(ground, WINDOW_SECONDS))
        return rows_of(waits, rests)
    finally:
        await kube.close()


def rows_of(waits: list[list[float]], rests: list[Rest]) -> list[Row]:
    """The table's part of it."""
    small, large = rests
    first, last = FLEETS
    at_rest = f"{last} Clusters at rest for {WINDOW_SECONDS:.0f} s, sweep every {SWEEP_SECONDS:.0f} s"
    slope = (large.mib - small.mib) / (last - first) * 1024
    exponent = math.log(large.cpu_seconds / small.cpu_seconds) / math.log(last / first)
    pods = "pods simulated; one API server for all business clusters"
    return [
        Row(f"catch-up, {first} Clusters", "s", tuple(waits[0]), setting=pods),
        Row(
            f"catch-up, {last} Clusters",
            "s",
            tuple(waits[1]),
            max_value=10,
            setting=f"start of the process to all in order, {CHANGED} changed meanwhile; {pods}",
        ),
        Row("calls at rest", "calls", (_without_lease(large.calls),), (_without_lease(large.bare),), max_ratio=1.1, setting=at_rest),
        Row("calls of business APIs", "calls", (large.business / last,), setting=f"per Cluster, {at_rest}"),
        Row("writes at rest", "writes", (float(max(each.writes for each in rests)),), max_value=0, setting=at_rest),
        Row(f"operator, {last} Clusters", "MiB", (large.mib,), setting=f"RSS at rest; {small.mib:.0f} MiB at {first}"),
        Row("RSS per Cluster", "KiB", (slope,), setting=f"slope from {first} to {last}"),
        Row("CPU at rest", "CPU-s", (large.cpu_seconds,), setting=f"{at_rest}; {small.cpu_seconds:.1f} at {first}"),
        Row("cost exponent", "", (exponent,), max_value=1.1, setting=f"CPU at rest, {first} to {last} Clusters"),
    ]


def _without_lease(calls: Counter[str]) -> float:
    return float(sum(count for what, count in calls.items() if not what.endswith(" leases")))


async def make_fleet(ground: Site, kube: KubePort, before: int, size: int, *, batch: int = 50) -> None:
    """Clusters from `before` up to `size`, made by the operator and told to be ready."""
    with simulated.operator(ground.operator, ground.business, sweep_seconds=SWEEP_SECONDS) as found:
        for first in range(before, size, batch):
            numbers, began = range(first, min(size, first + batch)), time.monotonic()
            await simulated.grow(kube, numbers)
            await simulated.until_ready(kube, numbers, within=READY_WITHIN)
            say(f"scale: {numbers.stop} Clusters Ready, the last {len(numbers)} in {time.monotonic() - began:.0f} s")
        say(f"scale: making them took {found.cpu_seconds():.0f} CPU-s")


async def catch_up(ground: Site, kube: KubePort, size: int, seed: int) -> float:
    """Seconds from the start of a process until it knows of every Cluster that it is as it was left, or has looked at it, and has put right what was
    changed before (docs/adr/0013)."""
    drawn = random.Random(seed).sample(range(size), CHANGED)
    refs = [POLICY.ref(await _first_policy(kube, number), simulated.namespace_of(number)) for number in drawn]
    for ref in refs:
        await kube.delete(ref)
    began = time.monotonic()
    with simulated.operator(ground.operator, ground.business, sweep_seconds=SWEEP_SECONDS) as found:
        while not await _caught_up(found, size) or not all([await kube.get(ref) for ref in refs]):
            if time.monotonic() - began > CATCH_UP_WITHIN:
                raise TimeoutError(f"not caught up after {CATCH_UP_WITHIN:.0f} s")
            await asyncio.sleep(0.2)
        took = time.monotonic() - began
        say(f"scale: caught up with {size} Clusters in {took:.1f} s, {found.cpu_seconds():.1f} CPU-s, {found.resident_mib():.0f} MiB")
    return took


async def _caught_up(found: Operator, size: int) -> bool:
    passes = await asyncio.to_thread(found.metric, r'kok_reconciles_total\{controller="cluster",result="(?:ok|as-left)"\}')
    waiting = await asyncio.to_thread(found.metric, r'kok_queue_depth\{controller="cluster"\}')
    return passes >= size and waiting == 0


async def _first_policy(kube: KubePort, number: int) -> str:
    listing = await kube.list(POLICY, namespace=simulated.namespace_of(number))
    return min(each["metadata"]["name"] for each in listing.items)


async def rest(ground: Site, seconds: float, *, sweep_seconds: float = SWEEP_SECONDS) -> Rest:
    """Both processes beside each other, after their start has calmed down."""
    watcher = [sys.executable, "-m", "tests.bench.bare_watcher", str(ground.watcher), f"{sweep_seconds:g}"]
    with (
        simulated.operator(ground.operator, ground.business, sweep_seconds=sweep_seconds) as found,
        simulated.child("watcher", watcher),
    ):
        await asyncio.sleep(CALM_SECONDS)
        written, asked, used, place = found.writes(), _business_calls(found), found.cpu_seconds(), ground.audit.stat().st_size
        await asyncio.sleep(seconds)
        ours, bare = calls_since(ground.audit, place)
        result = Rest(
            ours, bare, _business_calls(found) - asked, found.writes() - written, found.cpu_seconds() - used, found.resident_mib()
        )
    say(
        f"scale: at rest: {result.mib:.0f} MiB, {result.cpu_seconds:.1f} CPU-s, {result.writes} writes, {result.business:.0f} business calls"
    )
    say(f"scale: calls of the meta cluster: kok {dict(ours.most_common(40))}; bare {dict(bare.most_common(40))}")
    return result


def _business_calls(found: Operator) -> float:
    return found.metric(r'kok_api_calls_total\{code="\d+",server="business",verb="\w+"\}')


def calls_since(audit: Path, place: int) -> tuple[Counter[str], Counter[str]]:
    """Calls of the operator and of the bare watcher, as verb and resource, from that place of the log on."""
    counted: dict[str, Counter[str]] = {OPERATOR: Counter(), WATCHER: Counter()}
    with audit.open() as log:
        log.seek(place)
        for line in log:
            event = json.loads(line)
            counted[event["user"]["username"]][f"{event['verb']} {(event.get('objectRef') or {}).get('resource', '')}"] += 1
    return counted[OPERATOR], counted[WATCHER]
