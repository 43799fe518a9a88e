"""A fleet at rest: what the Cluster-Operator writes (nothing) and what it weighs, for 10, 50 and 200 Clusters.

Real: two API servers (the meta cluster, and one for all business clusters) and the operator's process. Simulated: pods of planes, whose
workloads are told to be ready.
"""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from operators.adapters.kube import KubeClient
from operators.adapters.kube_credentials import kubeconfig_credentials
from operators.cluster_operator.cluster import kinds
from operators.ports.kube import AlreadyExists, Kind, KubePort, Manifest, Subresource
from tests.bench.report import Row
from tests.integration.api_server import ApiServer, free_port
from tests.integration.cluster_operator.world_of_planes import SYSTEM, cluster_manifest, package_manifest

FLEETS = (10, 50, 200)
WATCH_SECONDS = 75.0
"""Longer than a poll of every business cluster, and than a sweep."""
READY_WITHIN = 900.0
CRDS = Path(__file__).parents[2] / "manifests" / "crds"


def measure() -> list[Row]:
    """One row per fleet for its weight, one for the writes of all of them at rest."""
    with _servers() as (meta, business), _operator(meta, business) as (process, port):
        return asyncio.run(_measure(meta, process, port))


@contextmanager
def _servers() -> Iterator[tuple[ApiServer, ApiServer]]:
    meta, business = ApiServer(), ApiServer()
    try:
        meta.start()
        business.start()
        meta.kubectl("apply", "--server-side", "-f", str(CRDS))
        meta.kubectl("wait", "--for=condition=Established", "--timeout=30s", "-f", str(CRDS))
        meta.kubectl("create", "namespace", SYSTEM)
        yield meta, business
    finally:
        meta.close()
        business.close()


@contextmanager
def _operator(meta: ApiServer, business: ApiServer) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    port = free_port()
    options = [f"--kubeconfig={meta.admin_kubeconfig}", "--host=127.0.0.1", f"--port={port}", "--sweep-seconds=60"]
    with tempfile.NamedTemporaryFile("w", suffix=".log") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.sweep_process", str(business.admin_kubeconfig), *options], stderr=log, stdout=log
        )
        try:
            yield process, port
        finally:
            process.terminate()
            process.wait()


async def _measure(meta: ApiServer, process: subprocess.Popen[bytes], port: int) -> list[Row]:
    kube = KubeClient(kubeconfig_credentials(meta.kubeconfig("bench", groups=["system:masters"])), field_manager="bench")
    try:
        await kube.create(package_manifest())
        rows, written = [], []
        for size in FLEETS:
            await _grow(kube, size)
            await _until_ready(kube, size)
            await asyncio.sleep(10.0)
            before = _writes(port)
            await asyncio.sleep(WATCH_SECONDS)
            written.append(float(_writes(port) - before))
            limit = 150.0 if size <= 50 else None
            weight = resident_mib(process.pid)
            rows.append(Row(f"operator, {size} Clusters", "MiB", (weight,), (), max_value=limit, setting="RSS at rest; pods simulated"))
            print(
                f"sweep: {size} Clusters: {weight:.0f} MiB, {written[-1]:.0f} writes in {WATCH_SECONDS:.0f} s", file=sys.stderr, flush=True
            )
        setting = f"in {WATCH_SECONDS:.0f} s of polls and sweeps over {', '.join(map(str, FLEETS))} Clusters"
        return [*rows, Row("writes at rest", "writes", tuple(written), (), max_value=0, setting=setting)]
    finally:
        await kube.close()


async def _grow(kube: KubePort, size: int) -> None:
    for number in range(size):
        namespace = f"fleet-{number}"
        try:
            await kube.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
            await kube.create(cluster_manifest(namespace, endpoint={"type": "LoadBalancer"}))
        except AlreadyExists:
            continue


async def _until_ready(kube: KubePort, size: int) -> None:
    """Tells workloads that their pods are ready, and Services that they have an address, until all Clusters say Ready.

    All have the same address, since one API server answers for all: what is inside it must be right for each of them.
    """
    end = time.monotonic() + READY_WITHIN
    while time.monotonic() < end:
        for kind in (kinds.STATEFUL_SET, kinds.DEPLOYMENT):
            for manifest in (await kube.list(kind, selector="kok.dev/cluster")).items:
                await _bring_up(kube, kind, manifest)
        for service in (await kube.list(kinds.SERVICE, selector="kok.dev/cluster,app.kubernetes.io/component=apiserver")).items:
            await _balance(kube, service)
        clusters = (await kube.list(kinds.CLUSTER)).items
        ready = sum((each.get("status") or {}).get("phase") == "Ready" for each in clusters)
        if ready == size:
            return
        await asyncio.sleep(1.0)
    raise TimeoutError(f"{ready} of {size} Clusters are Ready after {READY_WITHIN:.0f} s")


async def _bring_up(kube: KubePort, kind: Kind, manifest: Manifest) -> None:
    metadata, replicas = manifest["metadata"], manifest["spec"]["replicas"]
    status = {"observedGeneration": metadata["generation"], "replicas": replicas, "readyReplicas": replicas, "updatedReplicas": replicas}
    if (manifest.get("status") or {}).items() >= status.items():
        return
    ref = kind.ref(metadata["name"], metadata["namespace"])
    await kube.patch_json(ref, {"status": status}, subresource=Subresource.Status)


async def _balance(kube: KubePort, service: Manifest) -> None:
    if not (service.get("status") or {}).get("loadBalancer"):
        ref = kinds.SERVICE.ref(service["metadata"]["name"], service["metadata"]["namespace"])
        address = {"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}}
        await kube.patch_json(ref, address, subresource=Subresource.Status)


def resident_mib(pid: int) -> float:
    """Resident memory of a process."""
    found = re.search(r"^VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found
    return int(found[1]) / 1024


def _writes(port: int) -> int:
    """Accepted writes of the process so far, to the meta and to business clusters; its Lease is counted apart."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        text = answer.read().decode()
    counts = re.findall(r'^kok_api_writes_total\{server="(\w+)",verb="(\w+)"\} ([0-9.e+]+)$', text, re.MULTILINE)
    return int(sum(float(count) for server, _, count in counts if server != "lease"))
