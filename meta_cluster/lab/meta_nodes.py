"""More nodes for the lab's meta cluster than the one that kind makes: containers of the same node image that join it. Called by `lifecycle.up`.

They may come and go while everything runs, as servers do: one that was removed for good is made anew under its name. Every step looks first.
Pod networks are static (a range per node, as the API server hands them out) with one route per pair of nodes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from ipaddress import IPv4Address
from pathlib import Path

import yaml

from meta_cluster.assets.progress import timed
from meta_cluster.lab import boot, layout
from meta_cluster.lab.docker import attempt, docker, inspect
from meta_cluster.lab.ground import Ground, power_options
from meta_cluster.lab.isolation import meta_nodes
from meta_cluster.lab.machine_images import lab_file
from operators.errors import ErrorCode, KokError

MOST = 5
CONFLIST = "/etc/cni/net.d/10-kok.conflist"
WAIT_SECONDS = 90


def node_names(count: int) -> list[str]:
    """kind's own names for so many nodes."""
    return [layout.META_NODE, *(f"{layout.META_CLUSTER}-worker{number if number > 1 else ''}" for number in range(1, count))]


def address_of(name: str) -> IPv4Address:
    """Fixed by the name, next to the first node's."""
    return layout.META_ADDRESS + node_names(MOST).index(name)


def run_words(name: str, *, image: str, ground: Ground, mounts: Mapping[str, Path]) -> list[str]:
    """The whole `docker run` of a node, as kind runs its own, with the first node's name known to it."""
    folders = [word for place, folder in mounts.items() for word in ("--volume", f"{folder}:{place}:ro")]
    return [
        *("run", "--pull", "never", "--detach", "--name", name, "--hostname", name, "--network", layout.NETWORK),
        *("--ip", str(address_of(name)), "--dns", str(layout.GATEWAY), "--add-host", f"{layout.META_NODE}:{layout.META_ADDRESS}"),
        *("--label", layout.LABELLED, "--label", f"{layout.ROLE_LABEL}=meta"),
        *("--restart", "on-failure:1", "--cgroupns", "private", "--tmpfs", "/run", "--tmpfs", "/tmp"),  # noqa: S108
        *("--volume", "/var", "--volume", "/lib/modules:/lib/modules:ro", *folders, *power_options(ground), image),
    ]


def ensure_nodes(count: int, *, image: str, ground: Ground, mounts: Mapping[str, Path]) -> list[str]:
    """Bring the meta cluster to so many nodes at least; names of those that were made. Raises KokError LabFailed, Usage."""
    if not 1 <= count <= MOST:
        raise KokError(ErrorCode.Usage, f"--meta-nodes {count}: the lab has between 1 and {MOST} meta nodes", f"choose 1 to {MOST}")
    made = []
    for name in node_names(count)[1:]:
        known = inspect("container", name)
        if known is None:
            with timed("meta cluster", f"node {name} joins"):
                _kubectl("delete", "node", name, "--ignore-not-found")
                docker(*run_words(name, image=image, ground=ground, mounts=mounts))
                _join(name)
            made.append(name)
        elif not known["State"]["Running"]:
            docker("start", name)
    if len(meta_nodes()) > 1:
        _connect()
    return made


def _join(name: str) -> None:
    """Without a CNI configuration until its pod range is known, so that no pod starts with an address of another node's."""
    script = f"for i in $(seq {WAIT_SECONDS * 2}); do ctr version >/dev/null 2>&1 && break; sleep 0.5; done; rm -f {CONFLIST}"
    docker("exec", name, "sh", "-c", script)
    token = docker("exec", layout.META_NODE, "kubeadm", "token", "create", "--ttl", "10m").strip()
    docker("exec", "-i", name, "sh", "-c", "umask 077; cat > /kind/join.yaml", stdin=yaml.safe_dump(join_configuration(name, token)))
    docker("exec", name, "kubeadm", "join", "--config", "/kind/join.yaml", "--skip-phases=preflight", timeout=WAIT_SECONDS * 2)
    conflist = lab_file("cni.conflist", POD_CIDR=_ranges()[name]).decode()
    docker("exec", "-i", name, "sh", "-c", f"cat > {CONFLIST}", stdin=conflist)
    _kubectl("wait", "--for=condition=Ready", "node", name, f"--timeout={WAIT_SECONDS}s")


def join_configuration(name: str, token: str) -> Mapping[str, object]:
    """kubeadm's words for a worker; what its kubelet needs here comes from the cluster, as the first node left it."""
    arguments = {"node-ip": str(address_of(name)), "provider-id": f"kind://docker/{layout.META_CLUSTER}/{name}"}
    return {
        "apiVersion": "kubeadm.k8s.io/v1beta4",
        "kind": "JoinConfiguration",
        "discovery": {
            "bootstrapToken": {"token": token, "apiServerEndpoint": f"{layout.META_NODE}:6443", "unsafeSkipCAVerification": True}
        },
        "nodeRegistration": {
            "name": name,
            "criSocket": "unix:///run/containerd/containerd.sock",
            "kubeletExtraArgs": [{"name": key, "value": value} for key, value in arguments.items()],
        },
    }


def _ranges() -> dict[str, str]:
    """Node -> its pods' addresses."""
    nodes = json.loads(_kubectl("get", "nodes", "-o", "json"))["items"]
    return {node["metadata"]["name"]: str(node["spec"].get("podCIDR") or "") for node in nodes}


def _connect() -> None:
    """Every node knows the way to every other's pods, now and after each of its boots."""
    ranges = {name: cidr for name, cidr in _ranges().items() if cidr}
    for node in meta_nodes():
        ways = [f"ip route replace {cidr} via {address_of(other)}" for other, cidr in sorted(ranges.items()) if other != node]
        if ways and node in node_names(MOST):
            attempt("exec", node, "sh", "-c", " && ".join(ways))
            boot.keep(node, "routes", "\n".join(ways) + "\n")


def _kubectl(*words: str) -> str:
    return docker("exec", "-e", "KUBECONFIG=/etc/kubernetes/admin.conf", layout.META_NODE, "kubectl", *words)
