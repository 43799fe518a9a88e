"""A fleet at rest: what the Cluster-Operator writes (nothing) and what it weighs, for 10, 50 and 200 Clusters.

Real: two API servers (the meta cluster, and one for all business clusters) and the operator's process. Simulated: pods of planes, whose
workloads are told to be ready. `tests.bench.scale` goes on to a thousand.
"""

from __future__ import annotations

import asyncio

from operators.adapters.kube import KubeClient
from operators.adapters.kube_credentials import kubeconfig_file_credentials
from tests.bench import simulated
from tests.bench.report import Row, say
from tests.bench.simulated import Operator
from tests.integration.api_server import ApiServer
from tests.integration.cluster_operator.world_of_planes import package_manifest

FLEETS = (10, 50, 200)
WATCH_SECONDS = 75.0
"""Longer than a poll of every business cluster, and than a sweep."""
SWEEP_SECONDS = 60.0
READY_WITHIN = 900.0
CALM_SECONDS = 10.0


def measure() -> list[Row]:
    """One row per fleet for its weight, one for the writes of all of them at rest."""
    with (
        simulated.servers() as (meta, business),
        simulated.operator(meta.admin_kubeconfig, business.admin_kubeconfig, sweep_seconds=SWEEP_SECONDS) as found,
    ):
        return asyncio.run(_measure(meta, found))


async def _measure(meta: ApiServer, found: Operator) -> list[Row]:
    kube = KubeClient(kubeconfig_file_credentials(str(meta.admin_kubeconfig)), field_manager="bench")
    try:
        await kube.create(package_manifest())
        rows, written = [], []
        for before, size in zip((0, *FLEETS), FLEETS, strict=False):
            await simulated.grow(kube, range(before, size))
            await simulated.until_ready(kube, range(size), within=READY_WITHIN)
            await asyncio.sleep(CALM_SECONDS)
            writes = found.writes()
            await asyncio.sleep(WATCH_SECONDS)
            written.append(float(found.writes() - writes))
            limit, weight = 150.0 if size <= 50 else None, found.resident_mib()
            rows.append(Row(f"operator, {size} Clusters", "MiB", (weight,), max_value=limit, setting="RSS at rest; pods simulated"))
            say(f"sweep: {size} Clusters: {weight:.0f} MiB, {written[-1]:.0f} writes in {WATCH_SECONDS:.0f} s")
        setting = f"each in {WATCH_SECONDS:.0f} s of polls and sweeps over {', '.join(map(str, FLEETS))} Clusters"
        return [*rows, Row("writes at rest", "writes", (max(written),), max_value=0, setting=setting)]
    finally:
        await kube.close()
