"""What is installed on a host of the meta cluster: the catalogue's containerd and CNI plugins, kubeadm's node package, the operators' images.

Pure but for the catalogue's files: digests come from the assets index. Called by `meta_init`.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace

from meta_cluster.assets import versions as v
from meta_cluster.bootstrap.catalogue import resolved
from meta_cluster.bootstrap.inventory import Inventory
from meta_cluster.bootstrap.kubeadm import RESOLV_CONF
from meta_cluster.lab.catalogue import CHANGES
from operators.adapters.catalogue_files import FileCatalogue
from operators.api import ClusterPackageVersion, MachinePackageVersion
from operators.api.hosts import Host
from operators.domain.machine.host import DesiredFile, DesiredPackage
from operators.domain.machine.render import ClusterFacts, HostFacts, NodeFacts, desired_package
from operators.ports.kube import Manifest

SHARED = ("containerd", "cni-plugins")
"""Components that hosts of a meta cluster and of business clusters get alike."""
DONE_FILE = "/etc/kok/meta-init.done"
HOST_CACHE = "/var/cache/kok/sha256"
"""Where hosts keep what they were sent, named by sha256: what business hosts need as well, so it can serve as `--artifacts`."""
NEEDED = (
    *(f"{name}-{v.DEFAULT_KUBERNETES}" for name in ("kubelet", "kubeadm", "kubectl", "images-meta", "images-node")),
    f"containerd-{v.CONTAINERD}", f"runc-{v.RUNC}", f"cni-plugins-{v.CNI_PLUGINS}",
)  # fmt: skip
"""Assets that are sent to the hosts."""


@dataclass(frozen=True, slots=True)
class OperatorImages:
    """Archives of the operators' image, by sha256, so that no registry is needed; `name` is what `kok meta install --image` takes."""

    name: str
    base_name: str
    base: str
    image: str


def shared_packages(catalogue: FileCatalogue) -> list[Manifest]:
    """containerd and the CNI plugins that the default ClusterPackageVersion names, and the node package of meta clusters."""
    released = [ClusterPackageVersion.parse(manifest) for manifest in catalogue.manifests("packages/cluster")]
    default = next(each for each in released if each.spec.kubernetes_version == v.DEFAULT_KUBERNETES)
    machine = {manifest["metadata"]["name"]: manifest for manifest in catalogue.manifests("packages/machine")}
    named = [machine[name] for name in default.spec.machine_packages if machine[name]["spec"]["component"] in SHARED]
    return [*named, *catalogue.manifests("playbooks/meta/packages")]


def wanted_packages(
    inventory: Inventory, digests: Mapping[str, str], deb_versions: Mapping[str, str], images: OperatorImages | None
) -> tuple[DesiredPackage, ...]:
    """In the order of installation; the same on every host. Raises KokError AssetUnavailable for an asset that is not there."""
    manifests = [copy.deepcopy(manifest) for manifest in shared_packages(FileCatalogue())]
    if inventory.inside_containers:
        for manifest in manifests:
            if change := CHANGES.get(manifest["spec"]["component"]):
                change(manifest)
    packages = [_desired(manifest, inventory) for manifest in resolved([*manifests, *_operators(images)], digests, deb_versions)]
    if inventory.nameservers:
        lines = "".join(f"nameserver {address}\n" for address in inventory.nameservers)
        packages = [replace(p, files=(*p.files, DesiredFile(RESOLV_CONF, lines))) if p.component == "meta-node" else p for p in packages]
    return tuple(sorted(packages, key=lambda package: package.order))


def done_mark() -> DesiredPackage:
    """Asked for like a package, so that one look at a host also tells whether kubeadm came to its end there. Never applied."""
    mark = MachinePackageVersion.parse(_manifest("meta-init", "meta-init", order=99))
    return replace(_parsed(mark, "meta"), files=(DesiredFile(DONE_FILE, "done\n"),))


def _operators(images: OperatorImages | None) -> list[Manifest]:
    if images is None:
        return []
    name = f"kok-operators-{hashlib.sha256(f'{images.base} {images.image}'.encode()).hexdigest()[:12]}"
    manifest = _manifest(name, "kok-operators", order=40)
    manifest["spec"]["artifacts"] = [
        {"name": "base", "as": "Image", "image": images.base_name, "sha256": images.base},
        {"name": "image", "as": "Image", "image": images.name, "sha256": images.image},
    ]
    return [manifest]


def _manifest(name: str, component: str, *, order: int) -> Manifest:
    spec = {"component": component, "version": "1", "order": order}
    return {"apiVersion": "kok.dev/v1alpha1", "kind": "MachinePackageVersion", "metadata": {"name": name}, "spec": spec}


def _desired(manifest: Manifest, inventory: Inventory) -> DesiredPackage:
    return _parsed(MachinePackageVersion.parse(manifest), inventory.name)


def _parsed(package: MachinePackageVersion, cluster: str) -> DesiredPackage:
    facts = ClusterFacts(name=cluster, endpoint="", ca="", dns="", domain="cluster.local", pod_cidr="")
    return desired_package(package, HostFacts(NodeFacts(name="", address=""), facts))


def host_names(hosts: tuple[Host, ...]) -> str:
    """For a sentence."""
    return ", ".join(host.name for host in hosts)
