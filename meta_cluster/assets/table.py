"""The one table of all assets: name, version, how it is made, what it needs first. Order is priority: what tests wait for stands first.

A further Kubernetes minor is a folder under `modules/` and an entry in `versions.KUBE_BINARIES`.
"""

from __future__ import annotations

from collections.abc import Iterator

from meta_cluster.assets import images
from meta_cluster.assets import versions as v
from meta_cluster.assets.debian import Deb, ProgramOfDeb, RootFilesystem
from meta_cluster.assets.gobuild import FromGo, GoBinary, kubernetes_stamps
from meta_cluster.assets.official import OfficialFile, etcd_file, kind_file, kubernetes_archive, kubernetes_file
from meta_cluster.assets.operator_image import BASE, DEPENDENCIES, IMAGE, OperatorBase, OperatorDependencies, OperatorImage
from meta_cluster.assets.operator_image import ROOTFS as OPERATOR_ROOTFS
from meta_cluster.assets.recipe import Asset, Recipe

MACHINE_PACKAGES = (
    # an ordinary minimal server: init, remote access, what Ansible needs
    "systemd-sysv",
    "dbus",
    "openssh-server",
    "python3",
    "python3-apt",
    "sudo",
    "ca-certificates",
    "curl",
    "less",
    "procps",
    "tar",
    "gzip",
    "zstd",
    # networking and storage tools that a kubelet expects of its system
    "iproute2",
    "iptables",
    "nftables",
    "conntrack",
    "ipset",
    "socat",
    "ethtool",
    "ebtables",
    "kmod",
    "mount",
    "util-linux",
    "iputils-ping",
)
OPERATOR_PACKAGES = ("python3", "openssh-client", "ca-certificates")


def _official(name: str, version: str) -> OfficialFile | None:
    """What upstream publishes of what is built here."""
    if name in v.KUBE_BINARIES[v.DEFAULT_KUBERNETES]:
        return kubernetes_file(name, version)
    if name in ("etcd", "etcdctl", "etcdutl"):
        return etcd_file(name, version)
    return kind_file(version) if name == "kind" else None


def _archive(name: str, version: str) -> OfficialFile | None:
    return kubernetes_archive(name, version) if name in v.KUBE_BINARIES[v.DEFAULT_KUBERNETES] else None


FOR_HOSTS = ("kubelet", "node-problem-detector")
"""Binaries that packages of machines carry."""


def _go(name: str, version: str, binary: GoBinary, seconds: int) -> Asset:
    full, official = f"{name}-{version}", _official(name, version)
    rare = version in v.KUBERNETES_ON_DEMAND
    return Asset(
        full,
        version,
        f"bin/{full}",
        FromGo(binary),
        cold_seconds=seconds,
        on_demand=rare,
        for_hosts=name in FOR_HOSTS,
        official=official,
        archive=_archive(name, version),
    )


def _kubernetes(version: str) -> Iterator[Asset]:
    stamps = kubernetes_stamps(version)
    seconds = {"kube-apiserver": 190, "kubelet": 60, "kube-controller-manager": 40}
    for name in v.KUBE_BINARIES[version]:
        yield _go(name, version, GoBinary(f"kubernetes-{version}", f"k8s.io/kubernetes/cmd/{name}", stamps), seconds.get(name, 15))


def _go_assets() -> Iterator[Asset]:
    etcd = f"etcd-{v.ETCD}"
    yield _go("etcd", v.ETCD, GoBinary(etcd, "go.etcd.io/etcd/server/v3"), 50)
    for name in ("etcdctl", "etcdutl"):
        yield _go(name, v.ETCD, GoBinary(etcd, f"go.etcd.io/etcd/{name}/v3"), 8)
    kubernetes = list(_kubernetes(v.DEFAULT_KUBERNETES))
    yield from kubernetes[:2]
    yield _go("kind", v.KIND, GoBinary(f"kind-{v.KIND}", "sigs.k8s.io/kind"), 8)
    yield from kubernetes[2:]
    for version in v.KUBE_BINARIES:
        if version != v.DEFAULT_KUBERNETES:
            yield from _kubernetes(version)
    yield _go("coredns", v.COREDNS, GoBinary(f"coredns-{v.COREDNS}", "github.com/coredns/coredns"), 100)
    stamp = f"-X github.com/flannel-io/flannel/pkg/version.Version=v{v.FLANNEL}"
    yield _go("flannel", v.FLANNEL, GoBinary(f"flannel-{v.FLANNEL}", "github.com/flannel-io/flannel", (stamp,), static_c=True), 60)
    for part in ("server", "agent"):
        proxy = GoBinary(f"konnectivity-{v.KONNECTIVITY}", f"sigs.k8s.io/apiserver-network-proxy/cmd/{part}")
        yield _go(f"konnectivity-{part}", v.KONNECTIVITY, proxy, 30)
    detector_stamp = f"-X k8s.io/node-problem-detector/pkg/version.version=v{v.NODE_PROBLEM_DETECTOR}"
    command = "k8s.io/node-problem-detector/cmd/nodeproblemdetector"
    detector = GoBinary(f"node-problem-detector-{v.NODE_PROBLEM_DETECTOR}", command, (detector_stamp,))
    yield _go("node-problem-detector", v.NODE_PROBLEM_DETECTOR, detector, 60)
    local_path = GoBinary(f"local-path-provisioner-{v.LOCAL_PATH}", "github.com/rancher/local-path-provisioner")
    yield _go("local-path-provisioner", v.LOCAL_PATH, local_path, 60)


def _packed(name: str, version: str, suffix: str, recipe: Recipe, *depends: str) -> Asset:
    return Asset(name, version, f"packages/{name}{suffix}", recipe, depends=depends, cold_seconds=5, for_hosts=True)


def _debian_assets() -> Iterator[Asset]:
    for name, packages in ((images.ROOTFS, MACHINE_PACKAGES), (OPERATOR_ROOTFS, OPERATOR_PACKAGES)):
        yield Asset(name, "bookworm", f"rootfs/{name}.tar", RootFilesystem(tuple(packages)), cold_seconds=60)
    yield _packed(f"containerd-{v.CONTAINERD}", v.CONTAINERD, ".deb", Deb("containerd", v.CONTAINERD))
    yield _packed(f"runc-{v.RUNC}", v.RUNC, ".deb", Deb("runc", v.RUNC))
    yield _packed(images.BUSYBOX, "stable", ".deb", Deb("busybox-static", ""))
    yield _packed("containernetworking-plugins", v.CNI_PLUGINS, ".deb", Deb("containernetworking-plugins", v.CNI_PLUGINS))
    yield _packed(f"haproxy-{v.HAPROXY}", v.HAPROXY, ".deb", Deb("haproxy", v.HAPROXY))
    for library in v.HAPROXY_LIBRARIES:
        yield _packed(library, "stable", ".deb", Deb(library, ""))
    cni = images.CniPlugins("containernetworking-plugins")
    yield _packed(f"cni-plugins-{v.CNI_PLUGINS}", v.CNI_PLUGINS, ".tar.gz", cni, "containernetworking-plugins")


def _bundle(name: str, version: str, packs: tuple[images.Pack, ...], *depends: str) -> Asset:
    bundle = images.Bundle(packs, "2")
    full = f"{name}-{version}"
    hosts, rare = name in ("images-node", "images-proxy"), version in v.KUBERNETES_ON_DEMAND
    return Asset(full, version, f"images/{full}.tar", bundle, depends=depends, cold_seconds=5, on_demand=rare, for_hosts=hosts)


def _plane_images(version: str) -> Iterator[Asset]:
    """What planes (`images-plane`) and hosts (`images-proxy`) of a further version run beside the default version's archives."""
    built = [name for name in v.KUBE_IMAGES if name in v.KUBE_BINARIES[version]]
    plane = [name for name in built if name != "kube-proxy"]
    packs = tuple(images.static(v.kube_image(name, version), f"{name}-{version}", at=f"/usr/local/bin/{name}") for name in plane)
    yield _bundle("images-plane", version, packs, *(f"{name}-{version}" for name in plane))
    if "kube-proxy" in built:
        yield _bundle("images-proxy", version, (images.kube_proxy(version),), f"kube-proxy-{version}", images.ROOTFS)


def _image_assets(version: str) -> Iterator[Asset]:
    """Two archives: what the meta cluster and the planes in it run, and what hosts run."""
    kube = {
        name: images.static(v.kube_image(name, version), f"{name}-{version}", at=f"/usr/local/bin/{name}") for name in v.KUBE_IMAGES[:3]
    }
    proxy, proxy_needs = images.kube_proxy(version), (f"kube-proxy-{version}", images.ROOTFS)
    coredns = images.static(v.IMAGE_COREDNS, f"coredns-{v.COREDNS}", at="/coredns")
    local_path = images.static(v.IMAGE_LOCAL_PATH, f"local-path-provisioner-{v.LOCAL_PATH}", at="/usr/bin/local-path-provisioner")
    server_binary, agent_binary = (f"konnectivity-{part}-{v.KONNECTIVITY}" for part in ("server", "agent"))
    server = images.static(v.IMAGE_KONNECTIVITY_SERVER, server_binary, at="/proxy-server")
    agent = images.static(v.IMAGE_KONNECTIVITY_AGENT, agent_binary, at="/proxy-agent")
    shared = (f"coredns-{v.COREDNS}", images.BUSYBOX, *proxy_needs)
    etcd = tuple(f"{name}-{v.ETCD}" for name in ("etcd", "etcdctl", "etcdutl"))
    meta = (images.etcd, *kube.values(), proxy, coredns, images.pause, local_path, images.busybox, server)
    meta_needs = (*etcd, server_binary, *(f"{name}-{version}" for name in kube), f"local-path-provisioner-{v.LOCAL_PATH}")
    yield _bundle("images-meta", version, meta, *meta_needs, *shared)
    node = (images.pause, proxy, coredns, images.flannel, images.web, agent)
    yield _bundle("images-node", version, node, f"flannel-{v.FLANNEL}", agent_binary, *shared)


def _own_assets() -> Iterator[Asset]:
    layer = OperatorDependencies()
    yield Asset(DEPENDENCIES, "lock", "layers/operator-dependencies.tar", layer, depends=(OPERATOR_ROOTFS,), cold_seconds=40)
    yield Asset(BASE, "lock", "images/kok-base.tar", OperatorBase(), depends=(OPERATOR_ROOTFS, DEPENDENCIES), cold_seconds=5)
    yield Asset(IMAGE, "tree", "images/kok.tar", OperatorImage(), depends=(OPERATOR_ROOTFS, DEPENDENCIES, BASE), cold_seconds=8)


def _on_demand() -> Iterator[Asset]:
    """Made only when asked for by name: what tests ask besides our own parts."""
    for name, version, package, seconds in (("kwok", v.KWOK, "sigs.k8s.io/kwok/cmd/kwok", 110), ("kstatus", v.KSTATUS, ".", 20)):
        recipe = FromGo(GoBinary(f"{name}-{version}", package))
        yield Asset(f"{name}-{version}", version, f"bin/{name}-{version}", recipe, cold_seconds=seconds, on_demand=True)
    for name in ("prometheus", "promtool"):
        yield Asset(name, "bookworm", f"bin/{name}", ProgramOfDeb("prometheus", f"/usr/bin/{name}"), cold_seconds=10, on_demand=True)


def table() -> dict[str, Asset]:
    """All assets by name, in order of priority."""
    assets = [*_go_assets(), *_debian_assets(), *_own_assets()]
    assets += _image_assets(v.DEFAULT_KUBERNETES)
    for version in v.KUBE_BINARIES:
        if version != v.DEFAULT_KUBERNETES:
            assets += _plane_images(version)
    return {asset.name: asset for asset in [*assets, *_on_demand()]}
