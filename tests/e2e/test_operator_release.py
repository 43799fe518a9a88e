"""A release of the operators goes up and down under a running fleet: no object of a plane is written, no process on a host starts anew.

The other release is a real one: built from a copy of this tree with another version, so another image, another content hash, another wheel.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from unittest.mock import patch

import pytest

from meta_cluster.assets import operator_image
from meta_cluster.assets.folder import AssetsFolder
from meta_cluster.assets.oci import image_names
from meta_cluster.assets.recipe import Inputs
from meta_cluster.assets.toolchain import find_go
from meta_cluster.demo.kubectl import Kubectl, wait_until
from meta_cluster.lab import layout
from meta_cluster.lab.docker import labelled
from tests.e2e.ground import KOK, ROOT, Fleet

MOVING = {"events", "events.events.k8s.io", "leases.coordination.k8s.io"}
"""Kinds that are written all the time, by name: heartbeats and what is said about things."""
INSIDE = (
    "machines.kok.dev,deployments,daemonsets,configmaps,services,serviceaccounts,clusterroles,clusterrolebindings,customresourcedefinitions"
)
PROCESSES = "containerd|kubelet|containerd-shim.*|flanneld|kube-proxy|coredns|httpd|pause|systemd"
STARTED = """cd /proc && for p in [0-9]*; do
  [ -r $p/stat ] && sed -E 's/^([0-9]+) \\((.*)\\) (.*)$/\\1 \\2 \\3/' $p/stat 2>/dev/null | awk '{print $1, $2, $22}'
done"""
FILES = "find /etc/kubernetes /etc/containerd /etc/kok /etc/cni /etc/systemd/system /etc/sysctl.d -type f -exec sha256sum {} + | sort"
QUIET_SECONDS, WORK_SECONDS = 25.0, 75.0


def versions(kubectl: Kubectl, kinds: str, *where: str) -> dict[str, str]:
    """Object -> uid and resourceVersion."""
    return {
        f"{one['kind']} {one['metadata'].get('namespace', '')}/{one['metadata']['name']}": f"{one['metadata']['uid']}@{one['metadata']['resourceVersion']}"
        for one in json.loads(kubectl.run("get", kinds, *where, "-o", "json"))["items"]
    }


def on_host(name: str, command: str) -> list[str]:
    done = subprocess.run(["docker", "exec", name, "sh", "-c", command], capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.splitlines()


def of_host(name: str) -> dict[str, str]:
    """Processes that carry pods, with their start times, and the files that kok may write."""
    lines = [line.split() for line in on_host(name, STARTED)]
    processes = {f"{name} pid {pid}": f"{comm} since {since}" for pid, comm, since in lines if re.fullmatch(PROCESSES, comm)}
    files = {f"{name} {line.split()[1]}": line.split()[0] for line in on_host(name, FILES)}
    assert processes, f"no process of {name} was recognised"
    return processes | files


def snapshot(fleet: Fleet) -> dict[str, str]:
    """Everything that must not change, by name."""
    found = fleet.meta.run("api-resources", "--namespaced", "--verbs=list", "-o", "name").split()
    kinds = ",".join(sorted(set(found) - MOVING))
    hosts = [host["name"] for host in fleet.lab["hosts"] if host["name"].startswith("demo-")]
    seen = versions(fleet.meta, kinds, "-n", "demo") | versions(fleet.business, INSIDE, "-A")
    for host in hosts:
        seen |= of_host(host)
    assert hosts
    return seen


def difference(before: dict[str, str], after: dict[str, str]) -> dict[str, tuple[str, str]]:
    return {
        name: (before.get(name, "-"), after.get(name, "-"))
        for name in sorted(set(before) | set(after))
        if before.get(name) != after.get(name)
    }


def quiet(fleet: Fleet) -> dict[str, str]:
    """A snapshot after which nothing moved for a while by itself."""
    seen = [snapshot(fleet)]

    def still() -> bool:
        time.sleep(QUIET_SECONDS)
        seen.append(snapshot(fleet))
        return not difference(seen[-2], seen[-1])

    wait_until("the fleet is quiet", still, timeout=300, tell=lambda: str(difference(seen[-2], seen[-1]) if len(seen) > 1 else ""))
    return seen[-1]


def operator(fleet: Fleet) -> tuple[str, int]:
    """The image that the Cluster-Operator's pods run, and the epoch of the one that leads."""
    deployment = json.loads(fleet.meta.run("get", "deployment", "kok-cluster-operator", "-n", "kok-system", "-o", "json"))
    lease = json.loads(fleet.meta.run("get", "lease", "kok-cluster-operator", "-n", "kok-system", "-o", "json"))
    return deployment["spec"]["template"]["spec"]["containers"][0]["image"], int(lease["spec"]["leaseTransitions"])


def install(fleet: Fleet, image: str) -> None:
    """As a person does it; then until the new leader has looked at everything."""
    _, epoch = operator(fleet)
    words = ["meta", "install", "--kubeconfig", fleet.lab["kubeconfig"], "--image", image, "--artifacts", f"{layout.NODE_ASSETS}/artifacts"]
    done = subprocess.run([str(KOK), *words], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    fleet.meta.run("rollout", "status", "deployment/kok-cluster-operator", "-n", "kok-system", "--timeout=180s", timeout=200)
    wait_until("a new leader", lambda: operator(fleet)[1] > epoch, timeout=90)
    assert operator(fleet)[0] == image
    pods = fleet.meta.items("pods", "-n", "kok-system", "-l", "app.kubernetes.io/component=cluster-operator")
    assert {pod["spec"]["containers"][0]["image"] for pod in pods if not pod["metadata"].get("deletionTimestamp")} == {image}
    time.sleep(WORK_SECONDS)  # a sweep of every kind, and a poll of every business cluster (60 s, jittered)


@pytest.fixture(scope="module")
def next_release(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Another release in the meta cluster's nodes: the name of its image."""
    tree, work = tmp_path_factory.mktemp("release") / "tree", tmp_path_factory.mktemp("work")
    tree.mkdir()
    for path in operator_image.source_files(ROOT):
        target = tree / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    declared = (tree / "pyproject.toml").read_text()
    (tree / "pyproject.toml").write_text(re.sub(r'^version = "[^"]+"$', 'version = "0.99.0"', declared, count=1, flags=re.MULTILINE))
    folder = AssetsFolder()
    inputs = Inputs(folder, lambda: find_go(folder), folder.index())
    with patch.object(operator_image, "checkout", return_value=tree):
        archive = operator_image.OperatorImage().make(inputs, work)
    for node in labelled("container", f"{layout.ROLE_LABEL}=meta"):
        with archive.open("rb") as content:
            subprocess.run(
                ["docker", "exec", "-i", node, "ctr", "-n", "k8s.io", "images", "import", "-"], stdin=content, check=True, timeout=120
            )
    (name,) = image_names(archive)
    assert ":0.99.0-" in name
    return name


@pytest.mark.slow
def test_should_change_no_plane_and_no_host_up_and_down(fleet: Fleet, next_release: str) -> None:
    before, (first, _) = quiet(fleet), operator(fleet)
    assert sum("Pod demo/" in name for name in before) >= 5
    assert sum(name.startswith("Machine /") for name in before) >= 2
    assert next_release != first
    try:
        install(fleet, next_release)
        up = difference(before, snapshot(fleet))
        print(f"\n{first} -> {next_release}: {len(up)} of {len(before)} objects, processes and files changed")
        assert up == {}
    finally:
        install(fleet, first)
    down = difference(before, snapshot(fleet))
    print(f"{next_release} -> {first}: {len(down)} of {len(before)} changed")
    assert down == {}
    control(fleet, before)


def control(fleet: Fleet, before: dict[str, str]) -> None:
    """What would have been seen: one written object, one restarted process."""
    host = next(host["name"] for host in fleet.lab["hosts"] if host["name"].startswith("demo-"))
    fleet.meta.run("annotate", "--overwrite", "configmap", "kube-root-ca.crt", "-n", "demo", f"example.org/touched={time.time():.0f}")
    subprocess.run(["docker", "exec", host, "systemctl", "restart", "kubelet"], check=True, timeout=60)
    changed = difference(before, snapshot(fleet))
    assert "ConfigMap demo/kube-root-ca.crt" in changed
    assert any(f"{host} pid" in name for name in changed)
