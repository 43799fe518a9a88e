"""A fleet without pods: real API servers, the shipped operator process, and workloads that are told to be ready. Used by the benches of fleets.

Real: the meta cluster's API server, one for all business clusters, and the operator's process. Simulated: what kubelets and controllers
would do (Pods as objects, readiness, addresses of load balancers).
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import yaml

from operators.cluster_operator.cluster import kinds
from operators.ports.kube import AlreadyExists, Kind, KubePort, Manifest, Subresource
from tests.integration.api_server import ApiServer, free_port
from tests.integration.api_server import _die_with_parent as die_with_parent
from tests.integration.cluster_operator.world_of_planes import READY, SYSTEM, cluster_manifest

CRDS = Path(__file__).parents[2] / "manifests" / "crds"
AT_ONCE = 8
"""Clusters that are looked at in parallel."""
LABELLED = "kok.dev/cluster"
API_SERVER = f"{LABELLED},app.kubernetes.io/component=apiserver"
PATIENT = 120.0
"""Seconds for a call of ours: a busy machine is no failure of what is measured."""
PATIENT_LEASE = "--lease-seconds=120"
"""For the same reason; calls of leases are not counted."""
TICKS = os.sysconf("SC_CLK_TCK")


@contextmanager
def servers(*, meta_flags: Sequence[str] = ()) -> Iterator[tuple[ApiServer, ApiServer]]:
    """The meta cluster, with every kind of ours, and the one that answers for all business clusters."""
    meta, business = ApiServer(extra_flags=meta_flags), ApiServer()
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


@dataclass(frozen=True, slots=True)
class Operator:
    """The process, and what it says of itself."""

    pid: int
    port: int

    def metric(self, pattern: str) -> float:
        """Sum of the samples whose line begins with what the pattern matches. An answer that does not come is no 0: it is waited for, then a failure."""
        end_at = time.monotonic() + PATIENT
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=PATIENT) as answer:
                    text = answer.read().decode()
                break
            except OSError:
                if time.monotonic() > end_at:
                    raise
                time.sleep(0.1)
        return sum(float(count) for count in re.findall(rf"^{pattern} ([0-9.e+]+)$", text, re.MULTILINE))

    def writes(self) -> int:
        """Accepted writes so far, to the meta and to business clusters; its Lease is counted apart."""
        return int(self.metric(r'kok_api_writes_total\{server="(?:meta|business)",verb="\w+"\}'))

    def cpu_seconds(self) -> float:
        """What the process used so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def resident_mib(self) -> float:
        """Resident memory."""
        found = re.search(r"^VmRSS:\s+(\d+) kB", Path(f"/proc/{self.pid}/status").read_text(), re.MULTILINE)
        assert found
        return int(found[1]) / 1024


@contextmanager
def operator(meta: Path, business: Path, *, sweep_seconds: float, more: Sequence[str] = ()) -> Iterator[Operator]:
    """The Cluster-Operator as shipped (`sweep_process`), by two kubeconfigs; ended in order, so that its lease is free at once. `more`: its flags."""
    port = free_port()
    options = [f"--kubeconfig={meta}", "--host=127.0.0.1", f"--port={port}", f"--sweep-seconds={sweep_seconds:g}", PATIENT_LEASE]
    options += ["--idle-probe-seconds=0", *more]  # no kubelet would run its pods
    with child("operator", [sys.executable, "-m", "tests.bench.sweep_process", str(business), *options]) as process:
        yield Operator(process.pid, port)


@contextmanager
def child(name: str, command: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is to live until the block ends; one that does not is an AssertionError with the end of what it said."""
    with tempfile.TemporaryDirectory(prefix="kok-bench-") as folder:
        said = Path(folder) / f"{name}.log"
        with said.open("wb") as log:
            process = subprocess.Popen(command, stderr=log, stdout=log, env={**os.environ, **heap_as_shipped()}, preexec_fn=die_with_parent)
        try:
            yield process
            assert process.poll() is None, f"{name} ended with {process.returncode}: {said.read_text()[-3000:]}"
        finally:
            _end(process)


def heap_as_shipped() -> dict[str, str]:
    """What the operator's manifest tells the allocator."""
    manifests = yaml.safe_load_all((CRDS.parent / "operators" / "base" / "cluster-operator.yaml").read_text())
    (deployment,) = [each for each in manifests if each["kind"] == "Deployment"]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    return {each["name"]: each["value"] for each in container["env"] if each["name"].startswith("MALLOC_")}


def _end(process: subprocess.Popen[bytes], patience: float = 20.0) -> None:
    """SIGTERM, and SIGKILL for one that does not go."""
    process.send_signal(signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(patience)
    process.kill()
    process.wait()


def namespace_of(number: int) -> str:
    """Where the Cluster of that number lives."""
    return f"fleet-{number}"


async def grow(kube: KubePort, numbers: Iterable[int]) -> None:
    """Make these Clusters. All have the same address, since one API server answers for all: what is inside must be right for each of them."""
    for number in numbers:
        namespace = namespace_of(number)
        with suppress(AlreadyExists):
            await kube.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}, deadline=PATIENT)
            await kube.create(cluster_manifest(namespace, endpoint={"type": "LoadBalancer"}), deadline=PATIENT)


async def until_ready(kube: KubePort, numbers: Iterable[int], *, within: float) -> None:
    """Do what kubelets and controllers would, until all of these Clusters say Ready. Raises TimeoutError."""
    end_at, left, turn = time.monotonic() + within, {namespace_of(number) for number in numbers}, asyncio.Semaphore(AT_ONCE)
    total = len(left)

    async def look(namespace: str) -> bool:
        async with turn:
            return await _bring_up(kube, namespace)

    while left:
        if time.monotonic() > end_at:
            raise TimeoutError(f"{len(left)} of {total} Clusters are not Ready after {within:.0f} s, {min(left)} among them")
        asked = sorted(left)
        ready = await asyncio.gather(*(look(namespace) for namespace in asked))
        left -= {namespace for namespace, is_ready in zip(asked, ready, strict=True) if is_ready}
        await asyncio.sleep(1.0)


async def _bring_up(kube: KubePort, namespace: str) -> bool:
    """One look at one Cluster; whether it is Ready."""
    for kind in (kinds.STATEFUL_SET, kinds.DEPLOYMENT):
        for manifest in (await kube.list(kind, namespace=namespace, selector=LABELLED, deadline=PATIENT)).items:
            await _make_ready(kube, kind, manifest)
    services = await kube.list(kinds.SERVICE, namespace=namespace, selector=API_SERVER, deadline=PATIENT)
    for service in services.items:
        await _balance(kube, service)
    clusters = (await kube.list(kinds.CLUSTER, namespace=namespace, deadline=PATIENT)).items
    return all((each.get("status") or {}).get("phase") == "Ready" for each in clusters)


async def _make_ready(kube: KubePort, kind: Kind, manifest: Manifest) -> None:
    metadata, replicas = manifest["metadata"], manifest["spec"]["replicas"]
    status = {"observedGeneration": metadata["generation"], "replicas": replicas, "readyReplicas": replicas, "updatedReplicas": replicas}
    if (manifest.get("status") or {}).items() >= status.items():
        return
    for number in range(replicas):
        await _make_pod(kube, manifest, f"{metadata['name']}-{number}")
    await kube.patch_json(
        kind.ref(metadata["name"], metadata["namespace"]), {"status": status}, subresource=Subresource.Status, deadline=PATIENT
    )


async def _make_pod(kube: KubePort, manifest: Manifest, name: str) -> None:
    template = manifest["spec"]["template"]
    metadata = {**template["metadata"], "name": name, "namespace": manifest["metadata"]["namespace"]}
    claimed = [{"name": claim["metadata"]["name"], "emptyDir": {}} for claim in manifest["spec"].get("volumeClaimTemplates") or ()]
    spec = {**template["spec"], "volumes": [*(template["spec"].get("volumes") or ()), *claimed]}
    with suppress(AlreadyExists):
        await kube.create({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}, deadline=PATIENT)
    await kube.patch_json(kinds.POD.ref(name, metadata["namespace"]), {"status": READY}, subresource=Subresource.Status, deadline=PATIENT)


async def _balance(kube: KubePort, service: Manifest) -> None:
    if not (service.get("status") or {}).get("loadBalancer"):
        ref = kinds.SERVICE.ref(service["metadata"]["name"], service["metadata"]["namespace"])
        address = {"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}}
        await kube.patch_json(ref, address, subresource=Subresource.Status, deadline=PATIENT)
