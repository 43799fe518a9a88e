"""The two Docker images of the lab: an ordinary server for hosts, and the node that kind makes the meta cluster of. Recipes; they run nothing.

Hosts get none of kok's packages here: installing them is the product's work. The node has what a kind node must have, with units of our own.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

from meta_cluster.assets import versions as v
from meta_cluster.assets.images import ROOTFS
from meta_cluster.assets.oci import File, Image, tree, write_archive, write_layer
from meta_cluster.assets.recipe import Asset, Inputs, Lane, key_from
from meta_cluster.assets.unpacked import unpack_deb
from meta_cluster.lab import layout

HOST_IMAGE = "image-lab-host"
# On two cores the meta cluster's own requests would leave little to the planes that it is there for.
SMALL_REQUEST = b'[{"op": "replace", "path": "%s/containers/0/resources/requests/cpu", "value": "10m"}]\n'
SMALL_REQUESTS = {
    "etcd": b"/spec",
    "kube-apiserver": b"/spec",
    "kube-controller-manager": b"/spec",
    "kube-scheduler": b"/spec",
    "corednsdeployment": b"/spec/template/spec",
}
NODE_BINARIES = ("kubelet", "kubeadm", "kubectl")
DEBS = (f"containerd-{v.CONTAINERD}", f"runc-{v.RUNC}", "containernetworking-plugins")
# Of the packages: their units and configuration (the node has its own), and what nobody reads there. A folder /lib would hide the link of that name.
UNUSED = ("lib", "etc", "usr/share/doc", "usr/share/man", "usr/share/bash-completion")
CONFIG = {"Entrypoint": ["/usr/local/bin/entrypoint"], "Env": ["container=docker"], "StopSignal": "SIGRTMIN+3"}
SYSTEMD_SETTINGS = b"[Manager]\nDefaultTimeoutStopSec=5s\nDefaultTimeoutStartSec=90s\n"
JOURNAL_SETTINGS = b"[Journal]\nStorage=volatile\nRuntimeMaxUse=64M\n"
# Nothing of these makes sense in a container; some would reach for the machine's own devices.
MASKED = (
    "getty.target",
    "systemd-logind.service",
    "systemd-udevd.service",
    "e2scrub_reap.service",
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
)


def node_image(version: str) -> str:
    """The asset name of the node image of a Kubernetes version."""
    return f"image-lab-node-{version}"


def lab_file(name: str, **values: str) -> bytes:
    """One of the lab's files with its `@NAME@` marks replaced."""
    text = (files("meta_cluster.lab") / "files" / name).read_text()
    for mark, value in values.items():
        text = text.replace(f"@{mark}@", value)
    return text.encode()


def _machine_files(entry: str) -> dict[str, File]:
    """What hosts and nodes share: the entry point, and systemd made fit for a container."""
    settings = {
        "/usr/local/bin/entrypoint": File(content=lab_file(entry), mode=0o755),
        "/usr/local/lib/kok/cgroups.sh": File(content=lab_file("cgroups.sh")),
        "/etc/systemd/system.conf.d/kok.conf": File(content=SYSTEMD_SETTINGS),
        "/etc/systemd/journald.conf.d/kok.conf": File(content=JOURNAL_SETTINGS),
    }
    return settings | {f"/etc/systemd/system/{unit}": File(link="/dev/null") for unit in MASKED}


def host_files() -> dict[str, File]:
    """The layer of a host above the plain system."""
    return _machine_files("host-entry.sh") | {
        "/etc/ssh/sshd_config.d/kok.conf": File(content=b"PermitRootLogin prohibit-password\nUseDNS no\n")
    }


def node_settings(version: str) -> dict[str, File]:
    """The configuration of a kind node: containerd, units, CNI, default storage."""
    archive = f"{layout.NODE_ASSETS}/images/images-meta-{version}.tar"
    units = {
        "containerd.service": lab_file("containerd.service"),
        "kok-images.service": lab_file("kok-images.service", ARCHIVE=archive),
        "kubelet.service": lab_file("kubelet.service"),
    }
    found = {f"/etc/systemd/system/{name}": File(content=content) for name, content in units.items()}
    found |= {f"/etc/systemd/system/multi-user.target.wants/{name}": File(link=f"../{name}") for name in units}
    storage = lab_file("default-storage.yaml", LOCAL_PATH=v.IMAGE_LOCAL_PATH, HELPER=v.IMAGE_BUSYBOX)
    return found | {
        "/etc/systemd/system/ssh.service": File(link="/dev/null"),
        "/etc/containerd/config.toml": File(content=lab_file("containerd.toml", PAUSE=v.IMAGE_PAUSE)),
        "/etc/cni/net.d/10-kok.conflist": File(content=lab_file("cni.conflist", POD_CIDR=layout.NODE_POD_CIDR)),
        **{f"/kind/patches/{target}+json.json": File(content=SMALL_REQUEST % path) for target, path in SMALL_REQUESTS.items()},
        "/kind/version": File(content=f"v{version}".encode()),
        "/kind/manifests/default-storage.yaml": File(content=storage),
    }


@dataclass(frozen=True, slots=True)
class HostImage:
    """A Debian server with sshd and Python."""

    lane: Lane = field(default=Lane.PACK, init=False)

    def key(self, inputs: Inputs) -> str:
        """The system and the files above it."""
        return key_from(inputs, "host-1", _contents(host_files()), CONFIG)

    def make(self, inputs: Inputs, work: Path) -> Path:
        """Two layers: the plain system, our files."""
        layers = (inputs.path(ROOTFS), write_layer(work / "layer.tar", host_files()))
        return write_archive(work / "image.tar", [Image(docker_name(HOST_IMAGE, self.key(inputs)), layers, CONFIG)])


@dataclass(frozen=True, slots=True)
class NodeImage:
    """A kind node of one Kubernetes version."""

    version: str
    lane: Lane = field(default=Lane.PACK, init=False)

    def key(self, inputs: Inputs) -> str:
        """The system, the binaries and the settings."""
        return key_from(inputs, "node-2", _contents(_machine_files("node-entry.sh") | node_settings(self.version)), CONFIG)

    def make(self, inputs: Inputs, work: Path) -> Path:
        """Two layers: the plain system; containerd, Kubernetes and settings."""
        contents = _machine_files("node-entry.sh") | node_settings(self.version)
        for deb in DEBS:
            root = unpack_deb(inputs.path(deb), work / deb)
            for unused in UNUSED:
                shutil.rmtree(root / unused, ignore_errors=True)
            contents |= tree(root)
        contents |= {f"/opt/cni/bin/{p.name}": File(source=p, mode=0o755) for p in (work / DEBS[2] / "usr/lib/cni").iterdir()}
        for name in NODE_BINARIES:
            contents[f"/usr/bin/{name}"] = File(source=inputs.path(f"{name}-{self.version}"), mode=0o755)
        layers = (inputs.path(ROOTFS), write_layer(work / "layer.tar", contents))
        return write_archive(work / "image.tar", [Image(docker_name(node_image(self.version), self.key(inputs)), layers, CONFIG)])


def _contents(entries: Mapping[str, File]) -> dict[str, str]:
    return {path: str(file.content or file.link) for path, file in sorted(entries.items())}


def docker_name(asset: str, key: str) -> str:
    """What Docker calls the image: named by content, so an image that is loaded is the right one."""
    return f"kok-lab/{asset.removeprefix('image-lab-')}:{key[:12]}"


def lab_assets() -> dict[str, Asset]:
    """The lab's own lines of the asset table."""
    assets = [Asset(HOST_IMAGE, "bookworm", f"images/{HOST_IMAGE}.tar", HostImage(), depends=(ROOTFS,), cold_seconds=5)]
    for version in (v.DEFAULT_KUBERNETES,):
        name = node_image(version)
        needs = (ROOTFS, *DEBS, *(f"{binary}-{version}" for binary in NODE_BINARIES))
        assets.append(Asset(name, version, f"images/{name}.tar", NodeImage(version), depends=needs, cold_seconds=5))
    return {asset.name: asset for asset in assets}
