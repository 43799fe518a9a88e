"""Host open: from applying a pool to the node taking pods, by kok and bare, in turn, each on a freshly installed lab host.

Bare is a script with everything in its hands: files already rendered, artifacts already on this machine, one SSH session per step group, its
own token, approval and untaint by kubectl, polling at 50 ms. It does the same steps and checks nothing.
"""

from __future__ import annotations

import base64
import io
import json
import subprocess
import sys
import tarfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from meta_cluster.assets.folder import default_root
from meta_cluster.demo import fleet, stories
from meta_cluster.demo.kubectl import wait_until
from meta_cluster.demo.stories import Demo
from operators.api import MachinePackageVersion
from operators.api.packages import Artifact, InstallAs
from operators.domain.machine.host import DesiredPackage
from operators.domain.machine.render import ClusterFacts, HostFacts, NodeFacts, desired_package
from operators.domain.plane.inputs import service_address
from tests.bench.report import Row

HOST, POOL = "bench-host", "bench"
TOKEN = ("kokbch", "0123456789abcdef")
POLL = 0.05
BREAK_GLASS = ("--as=bench", "--as-group=system:masters", "--as-group=kok:break-glass")
"""Only the Machine-Operator deletes Nodes; a script that works beside it is what the emergency group is for."""


@dataclass(frozen=True, slots=True)
class Site:
    """The demo's business cluster, and the bench's own host beside it."""

    demo: Demo
    host: fleet.LabHost
    packages: tuple[DesiredPackage, ...]
    kubeconfig: str
    """Bootstrap kubeconfig with the bench's token."""


def measure(runs: int) -> Row:
    """Samples of both sides in turn; needs the demo's fleet and leaves it as it was."""
    demo = Demo()
    stories.bring_up(demo)
    ours, bare = [], []
    try:
        for run in range(runs):
            bare.append(by_hand(site(demo)))
            ours.append(by_kok(site(demo)))
            print(f"host {run + 1}/{runs}: kok {ours[-1]:.1f} s, bare {bare[-1]:.1f} s", file=sys.stderr, flush=True)
    finally:
        stories.kok("lab", "host", "remove", HOST)
    return Row("host applied to node open", "s", tuple(ours), tuple(bare), max_ratio=2, max_value=40, setting="real host, warm artifacts")


def site(demo: Demo) -> Site:
    """A freshly installed host; everything the script needs is computed before the clock starts."""
    stories.kok("lab", "host", "add", HOST)
    stories.kok("lab", "host", "reinstall", HOST)
    demo.lab = json.loads(stories.kok("lab", "status", "-o", "json"))
    found = next(one for one in demo.lab["hosts"] if one["name"] == HOST)
    host = fleet.LabHost(HOST, found["address"], tuple(found["hostKeys"]))
    admin = yaml.safe_load(demo.business.kubeconfig.read_text())["clusters"][0]["cluster"]
    facts = HostFacts(NodeFacts(HOST, host.address), _cluster_facts(demo, admin))
    package = demo.meta.get("clusterpackageversions.kok.dev", demo.lab["packageVersion"]) or {}
    names = package["spec"]["machinePackages"]
    versions = [MachinePackageVersion.parse(demo.meta.get("machinepackageversions.kok.dev", name) or {}) for name in names]
    packages = sorted((desired_package(one, facts) for one in versions), key=lambda one: one.order)
    return Site(demo, host, tuple(packages), _bootstrap_kubeconfig(admin))


def _cluster_facts(demo: Demo, admin: dict[str, Any]) -> ClusterFacts:
    network = (demo.meta.get("clusters.kok.dev", fleet.CLUSTER, "-n", fleet.NAMESPACE) or {})["spec"]["network"]
    return ClusterFacts(
        name=fleet.CLUSTER,
        endpoint=admin["server"],
        ca=base64.b64decode(admin["certificate-authority-data"]).decode(),
        dns=service_address(network["serviceCIDR"], 10),
        domain=network["domain"],
        pod_cidr=network["podCIDR"],
    )


def _bootstrap_kubeconfig(admin: dict[str, Any]) -> str:
    named = {"name": "bench"}
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [named | {"cluster": admin}],
            "users": [named | {"user": {"token": ".".join(TOKEN)}}],
            "contexts": [named | {"context": {"cluster": "bench", "user": "bench"}}],
            "current-context": "bench",
        }
    )


def by_kok(where: Site) -> float:
    """One sample: apply a pool of one host; then take the pool away, which cleans the host."""
    pool = fleet.pool([where.host])
    pool["metadata"]["name"] = POOL
    began = time.monotonic()
    where.demo.meta.apply(pool)
    try:
        wait_until("node open", lambda: stories.is_open(where.demo.business, HOST), timeout=180, every=POLL)
        return time.monotonic() - began
    finally:
        where.demo.meta.run("delete", "machinepools.kok.dev", POOL, "-n", fleet.NAMESPACE, "--timeout=180s", timeout=190)


def by_hand(where: Site) -> float:
    """One sample of the baseline."""
    bundle = _bundle(where)
    business = where.demo.business
    began = time.monotonic()
    business.apply(_token())
    _ssh(where, "tar -C / -xf -", stdin=bundle)
    _ssh(where, "sh /tmp/bench/install.sh")
    wait_until("CSR", lambda: _approve(where), timeout=60, every=POLL)
    wait_until("node", lambda: business.get("node", HOST), timeout=60, every=POLL)
    wait_until("Ready", lambda: business.condition("node", HOST, "Ready").get("status") == "True", timeout=90, every=POLL)
    business.run("taint", "node", HOST, "kok.dev/not-ready-")
    took = time.monotonic() - began
    business.run("delete", "node", HOST, *BREAK_GLASS)
    business.run("delete", "secret", f"bootstrap-token-{TOKEN[0]}", "-n", "kube-system")
    return took


def _token() -> dict[str, Any]:
    secret = {"token-id": TOKEN[0], "token-secret": TOKEN[1], "usage-bootstrap-authentication": "true", "usage-bootstrap-signing": "true"}
    metadata = {"name": f"bootstrap-token-{TOKEN[0]}", "namespace": "kube-system"}
    return {"apiVersion": "v1", "kind": "Secret", "type": "bootstrap.kubernetes.io/token", "metadata": metadata, "stringData": secret}


def _approve(where: Site) -> bool:
    """Approve what is pending, as a script in a hurry does; true once the kubelet's client certificate was among it."""
    pending = [one for one in where.demo.business.items("csr") if not (one.get("status") or {}).get("conditions")]
    if pending:
        where.demo.business.run("certificate", "approve", *(one["metadata"]["name"] for one in pending))
    return bool(pending)


def _ssh(where: Site, command: str, *, stdin: bytes = b"") -> None:
    key = where.demo.lab["sshKey"]
    options = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"]
    subprocess.run(["ssh", "-i", key, *options, f"root@{where.host.address}", command], input=stdin, check=True, timeout=180)


def _bundle(where: Site) -> bytes:
    """Files, units and artifacts as one tar, with the script that puts them to work; made before the clock starts."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        _add(tar, "/etc/kubernetes/bootstrap-kubelet.conf", where.kubeconfig.encode(), "0600")
        _add(
            tar, "/tmp/bench/install.sh", "\n".join(["set -e", *(line for one in where.packages for line in _steps(one))]).encode(), "0755"
        )
        for package in where.packages:
            for file in package.files:
                _add(tar, file.path, file.content.encode(), file.mode)
            for unit in package.units:
                if unit.content:
                    _add(tar, f"/etc/systemd/system/{unit.name}", unit.content.encode(), "0644")
            for artifact in package.artifacts:
                _add(tar, _place(artifact), (Path(default_root()) / "artifacts" / artifact.sha256).read_bytes(), artifact.mode)
    return buffer.getvalue()


def _add(tar: tarfile.TarFile, path: str, content: bytes, mode: str) -> None:
    info = tarfile.TarInfo(path.lstrip("/"))
    info.size, info.mode = len(content), int(mode, 8)
    tar.addfile(info, io.BytesIO(content))


def _place(artifact: Artifact) -> str:
    return artifact.path if artifact.install_as is InstallAs.File and artifact.path else f"/tmp/bench/{artifact.name}"


def _steps(package: DesiredPackage) -> list[str]:
    debs = [_place(one) for one in package.artifacts if one.install_as is InstallAs.Deb]
    lines = [f"dpkg --force-confold -i {' '.join(debs)}"] if debs else []
    for one in package.artifacts:
        if one.install_as is InstallAs.Archive:
            lines.append(f"mkdir -p {one.path} && tar -C {one.path} -xf {_place(one)}")
    lines += [f"sysctl -q -w {key}='{value}'" for key, value in package.sysctls.items()]
    lines += ["systemctl daemon-reload", *(f"systemctl enable -q {unit.name} && systemctl restart {unit.name}" for unit in package.units)]
    lines += [f"ctr -n k8s.io images import {_place(one)} >/dev/null" for one in package.artifacts if one.install_as is InstallAs.Image]
    return lines
