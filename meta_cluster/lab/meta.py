"""The meta cluster of the lab: one kind node at a fixed address. Made if it is not there, started if it stopped, never changed in place.

Installs nothing of kok: that is `kok meta install`, on this cluster as on any other.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from meta_cluster.assets import versions as v
from meta_cluster.assets.progress import say, timed
from meta_cluster.lab import audit, docker_wrapper, layout
from meta_cluster.lab.docker import attempt, docker, inspect
from meta_cluster.lab.ground import Ground, power_options
from meta_cluster.lab.isolation import meta_nodes
from operators.errors import ErrorCode, KokError

READY_SECONDS = 120


def any_image_patches(ground: Ground) -> list[Mapping[str, Any]]:
    """What kind's kubeadm configuration needs on this machine, whoever made the node image; and room for many planes."""
    kubelet: dict[str, Any] = {"kind": "KubeletConfiguration", "maxPods": 250, "serializeImagePulls": False, "failCgroupV1": False}
    if not ground.privileged:
        kubelet["featureGates"] = {"KubeletInUserNamespace": True}
    return [kubelet, {"kind": "ClusterConfiguration", "controllerManager": {"extraArgs": {"node-cidr-mask-size": "23"}}}]


def kubeadm_patches(ground: Ground) -> list[Mapping[str, Any]]:
    """What it needs for our own node image besides: driver and root of cgroups, our image tags."""
    kubelet, cluster = any_image_patches(ground)
    kubelet = {**kubelet, "cgroupDriver": "cgroupfs", "cgroupRoot": "/", "resolvConf": "/etc/kok-resolv.conf"}
    cluster = {
        **cluster,
        "apiServer": audit.api_server_patch(),
        "dns": {"imageTag": f"v{v.COREDNS}"},
        "etcd": {"local": {"imageTag": f"{v.ETCD}-0", "extraArgs": {"unsafe-no-fsync": "true"}}},
    }
    # A plane's Services change a dozen times while it comes up; the default holds each change back for up to a second.
    proxy = {"kind": "KubeProxyConfiguration", "iptables": {"minSyncPeriod": "50ms"}}
    return [kubelet, cluster, proxy, {"kind": "InitConfiguration", "patches": {"directory": "/kind/patches"}}]


def kind_config(ground: Ground, *, image: str, mounts: Mapping[str, Path], own_image: bool = True) -> Mapping[str, Any]:
    """The kind configuration: image, patches, and folders of this machine (place in the node -> folder) mounted read-only.

    An image that is not ours brings its own CNI and settings; it only gets room for many planes.
    """
    patches = kubeadm_patches(ground) if own_image else any_image_patches(ground)
    node = {
        "role": "control-plane",
        "image": image,
        "extraMounts": [{"hostPath": str(folder), "containerPath": place, "readOnly": True} for place, folder in mounts.items()],
        "kubeadmConfigPatches": [yaml.safe_dump(dict(patch), sort_keys=True) for patch in patches],
    }
    networking = {
        "disableDefaultCNI": own_image,
        "apiServerAddress": "127.0.0.1",
        "podSubnet": layout.POD_SUBNET,
        "serviceSubnet": layout.SERVICE_SUBNET,
        "kubeProxyMode": "iptables",
    }
    api = "kind.x-k8s.io/v1alpha4"
    return {"kind": "Cluster", "apiVersion": api, "name": layout.META_CLUSTER, "networking": networking, "nodes": [node]}


def ensure_meta(ground: Ground, config: Mapping[str, Any], *, kind: Path, fixed: Mapping[str, Path]) -> bool:
    """Bring the meta cluster up: a healthy one is kept, a stopped one started, the remains of an interrupted creation removed and made anew.

    `fixed`: mounts (place in the node -> folder) that a node which is there has to have, too; it may have been made from another checkout.
    True if it was made by this call. Raises KokError LabFailed.
    """
    known = inspect("container", layout.META_NODE)
    if known is not None and known["Config"]["Labels"].get(layout.LABEL) != layout.LABEL_VALUE:
        raise KokError(
            ErrorCode.LabFailed,
            f"a container {layout.META_NODE} exists that is not the lab's",
            f"kind delete cluster --name {layout.META_CLUSTER}",
        )
    if known is not None and _is_complete():
        check_mounts(known, fixed)
        if not known["State"]["Running"]:
            with timed("meta cluster", "starting the stopped node"):
                docker("start", layout.META_NODE)
        _wait_until_ready()
        return False
    if known is not None:
        say("  meta cluster: an interrupted creation is removed")
        docker("rm", "--force", "--volumes", layout.META_NODE)
    with timed("meta cluster", "kind create cluster"):
        _create(ground, config, kind=kind)
        _wait_until_ready()
        _complete_file().write_text(_node_id())
    return True


def _is_complete() -> bool:
    """Whether the creation of the very node that is there came to its end."""
    try:
        return _complete_file().read_text() == _node_id() and layout.kubeconfig_path().is_file()
    except OSError:
        return False


def _complete_file() -> Path:
    return layout.state_folder() / "meta-node-id"


def _node_id() -> str:
    known = inspect("container", layout.META_NODE)
    return str(known["Id"]) if known else ""


def _create(ground: Ground, config: Mapping[str, Any], *, kind: Path) -> None:
    path = layout.state_folder() / "kind.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    kubeconfig = layout.kubeconfig_path()
    kubeconfig.unlink(missing_ok=True)
    command: list[str | Path] = [kind, "create", "cluster", "--config", path, "--kubeconfig", kubeconfig, "--retain"]
    done = subprocess.run(command, env=_kind_environment(ground), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        log = layout.state_folder() / "kind.log"
        log.write_text(done.stdout + done.stderr)
        last = "\n".join(done.stderr.strip().splitlines()[-6:])
        raise KokError(
            ErrorCode.LabFailed, f"kind could not create the meta cluster:\n{last}", f"less {log}; docker logs {layout.META_NODE}"
        )
    kubeconfig.chmod(0o600)


def _kind_environment(ground: Ground) -> dict[str, str]:
    """kind's environment: the lab's network, and the docker wrapper first on PATH."""
    folder = layout.state_folder() / "kind-bin"
    folder.mkdir(exist_ok=True)
    wrapper = folder / "docker"
    wrapper.write_text(f'#!/bin/sh\nexec {sys.executable} -S {Path(docker_wrapper.__file__)} "$@"\n')
    wrapper.chmod(0o755)
    run_options = [
        "--ip",
        str(layout.META_ADDRESS),
        "--dns",
        str(layout.GATEWAY),
        "--label",
        layout.LABELLED,
        "--label",
        f"{layout.ROLE_LABEL}=meta",
    ]
    return {
        **os.environ,
        "PATH": f"{folder}:{os.environ.get('PATH', '')}",
        "KIND_EXPERIMENTAL_DOCKER_NETWORK": layout.NETWORK,
        docker_wrapper.REAL: str(shutil.which("docker")),
        docker_wrapper.RUN_OPTIONS: json.dumps(run_options),
        docker_wrapper.POWER_OPTIONS: json.dumps(power_options(ground)),
    }


def _wait_until_ready() -> None:
    """Until the API server says it is ready and the node is Ready."""
    script = (
        f"for i in $(seq {READY_SECONDS * 2}); do kubectl get --raw /readyz >/dev/null 2>&1 && break; sleep 0.5; done; "
        f"kubectl wait --for=condition=Ready node --all --timeout={READY_SECONDS}s"
    )
    done = attempt("exec", "-e", "KUBECONFIG=/etc/kubernetes/admin.conf", layout.META_NODE, "sh", "-c", script, timeout=READY_SECONDS * 3)
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip()[-300:]
        raise KokError(ErrorCode.LabFailed, f"the meta cluster is not ready: {said}", f"docker logs {layout.META_NODE}")


def import_images(archives: Mapping[str, str]) -> None:
    """Import archives (path inside the node -> content hash) in this order, each hash once for each node."""
    for path, digest in archives.items():
        for node in meta_nodes():
            if attempt("exec", node, "test", "-e", _mark(digest)).returncode == 0:
                continue
            with timed("images", f"importing {Path(path).name} on {node}"):
                docker("exec", node, "ctr", "-n", "k8s.io", "images", "import", path)
                mark_imported(digest, node)


def mark_imported(digest: str, node: str = layout.META_NODE) -> None:
    """Remember in the node that an archive of this content was imported there."""
    docker("exec", node, "touch", _mark(digest))


def _mark(digest: str) -> str:
    return f"/var/lib/kok-imported-{digest[:16]}"


def check_mounts(known: Mapping[str, Any], wanted: Mapping[str, Path]) -> None:
    """Raise KokError LabFailed if the node has other folders of this machine mounted than wanted (place in the node -> folder)."""
    mounted = {mount["Destination"]: mount["Source"] for mount in known["Mounts"]}
    for place, folder in wanted.items():
        if mounted.get(place) != str(folder):
            message = f"the meta cluster has {mounted.get(place, 'nothing')} mounted at {place}, not {folder}"
            raise KokError(ErrorCode.LabFailed, message, "kok lab down, then kok lab up")
