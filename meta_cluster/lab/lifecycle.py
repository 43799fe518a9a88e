"""The lab as a whole: up, down, status. Every step looks first and does only what is missing, so `up` may be repeated after any interruption."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

from filelock import FileLock

from meta_cluster.assets import versions as v
from meta_cluster.assets.builder import Builder
from meta_cluster.assets.folder import AssetsFolder, IndexEntry
from meta_cluster.assets.oci import image_names
from meta_cluster.assets.operator_image import BASE, IMAGE, built_name, checkout
from meta_cluster.assets.processes import run
from meta_cluster.assets.progress import say, timed
from meta_cluster.assets.table import table
from meta_cluster.bootstrap.install import Installer, InstallReport
from meta_cluster.bootstrap.manifests import PACKAGE_FOLDERS, Installation, InstallManifests, Overlay, install_manifests
from meta_cluster.lab import audit, engine, hosts, isolation, layout, meta, meta_nodes
from meta_cluster.lab.catalogue import AssetFacts, lab_packages, of_versions
from meta_cluster.lab.docker import attempt, docker, inspect, labelled
from meta_cluster.lab.ground import Ground, find_ground
from meta_cluster.lab.machine_images import HOST_IMAGE, lab_assets, node_image
from operators.adapters.catalogue_files import FileCatalogue
from operators.adapters.kube import KubeClient
from operators.adapters.kube_credentials import kubeconfig_file_credentials
from operators.errors import ErrorCode, KokError
from operators.ports.kube import Manifest

KIND = f"kind-{v.KIND}"
PACKAGE_ASSETS = (
    f"containerd-{v.CONTAINERD}",
    f"runc-{v.RUNC}",
    f"cni-plugins-{v.CNI_PLUGINS}",
    f"haproxy-{v.HAPROXY}",
    *v.HAPROXY_LIBRARIES,
)


@dataclass(frozen=True, slots=True)
class LabStatus:
    """What is there now. Paths and names are empty where there is nothing."""

    engine: str
    network: str = ""
    fence: str = ""
    isolation: str = ""
    meta: str = ""
    node: str = ""
    kubeconfig: str = ""
    ssh_key: str = ""
    package_version: str = ""
    hosts: tuple[hosts.Host, ...] = ()


@contextmanager
def exclusive() -> Iterator[None]:
    """One command at a time changes the lab; others wait."""
    with FileLock(layout.state_folder() / "lab.lock"):
        yield


@dataclass(frozen=True, slots=True)
class Wanted:
    """What `up` is asked for. `dev`: operators run from the work tree; `node_image`: another image for kind than our own.

    `planes`: further Kubernetes versions that planes may have; their images are brought in and their packages installed.
    """

    dev: bool = False
    node_image: str | None = None
    version: str = v.DEFAULT_KUBERNETES
    planes: tuple[str, ...] = ()
    meta_nodes: int = 1
    """Nodes of the meta cluster, at least; more are made of our own image only."""

    @property
    def assets(self) -> list[str]:
        """What is needed before anything can be started; our own node image only where no other is given."""
        archives = [f"images-meta-{self.version}", f"images-node-{self.version}", BASE, IMAGE]
        node = [] if self.node_image else [node_image(self.version)]
        more = [name for version in self.planes for name in _assets_of_plane(version)]
        return [KIND, f"kubectl-{self.version}", HOST_IMAGE, *archives, *node, *PACKAGE_ASSETS, f"kubelet-{self.version}", *more]


def _assets_of_plane(version: str) -> list[str]:
    """What a plane of a further version, and hosts that follow it, need."""
    if version not in v.KUBE_BINARIES:
        raise KokError(ErrorCode.NotFound, f"no Kubernetes {version} is known", f"one of {', '.join(v.KUBE_BINARIES)}")
    proxy = [f"images-proxy-{version}"] if "kube-proxy" in v.KUBE_BINARIES[version] else []
    return [f"images-plane-{version}", f"kubelet-{version}", *proxy]


def up(wanted: Wanted) -> None:
    """Engine, network, fence, assets, meta cluster, images, operators; what is right already is left alone."""
    folder = AssetsFolder()
    Builder(folder, table() | lab_assets()).ensure(wanted.assets)
    with exclusive():
        _ensure_surroundings()
        layout.owner_path().write_text(os.environ.get("KOK_LAB_OF", ""))
        ground = find_ground(load_image(folder, HOST_IMAGE))
        say(f"  {ground.sentence}")
        hosts.ensure_ssh_key()
        _ensure_meta(wanted, ground, folder)
        isolation.ensure_isolation()
        planes = _remember_planes(wanted)
        import_archives([f"images-meta-{wanted.version}", *(f"images-plane-{version}" for version in planes), BASE, IMAGE], folder)
        install(folder, dev=wanted.dev, versions=(*planes, wanted.version))


def _remember_planes(wanted: Wanted) -> list[str]:
    """The further versions that were ever asked for in this lab: a second `up` does not take them away."""
    path = layout.state_folder() / "planes"
    before = path.read_text().split() if path.exists() else []
    planes = sorted({*before, *wanted.planes} - {wanted.version})
    path.write_text("\n".join(planes))
    return planes


def _ensure_surroundings() -> None:
    engine.ensure_inotify()
    engine.ensure_engine()
    engine.ensure_network()
    engine.ensure_fence()


def _ensure_meta(wanted: Wanted, ground: Ground, folder: AssetsFolder) -> None:
    image = wanted.node_image or load_image(folder, node_image(wanted.version))
    audit.write_policy(checkout())
    fixed = {layout.NODE_ASSETS: folder.root}
    mounts = {**fixed, layout.NODE_SETTINGS: layout.settings_folder(), layout.NODE_SOURCE: checkout()}
    config = meta.kind_config(ground, image=image, mounts=mounts, own_image=wanted.node_image is None)
    made = meta.ensure_meta(ground, config, kind=folder.get(KIND), fixed=mounts if wanted.dev else fixed)
    if wanted.meta_nodes > 1 and wanted.node_image is None:
        for name in meta_nodes.ensure_nodes(wanted.meta_nodes, image=image, ground=ground, mounts=mounts):
            meta.mark_imported(folder.index()[f"images-meta-{wanted.version}"].sha256, name)
    if made and wanted.node_image is None:
        meta.mark_imported(folder.index()[f"images-meta-{wanted.version}"].sha256)  # by the node itself, before its kubelet


def install(folder: AssetsFolder, *, dev: bool, versions: tuple[str, ...] = (v.DEFAULT_KUBERNETES,)) -> None:
    """What `kok meta install` does, with the lab's variants of this release's packages for these Kubernetes versions, the default one last."""
    digests = {name: entry.sha256 for name, entry in folder.index().items()}
    packages = variants(folder, versions)
    installation = Installation(Overlay.Dev if dev else Overlay.Lab, built_name(folder), f"{layout.NODE_ASSETS}/artifacts")
    report = asyncio.run(_install(install_manifests(installation, digests, packages=packages)))
    names = [m["metadata"]["name"] for m in packages if m["kind"] == "ClusterPackageVersion"]
    layout.package_path().write_text(names[-1])
    say(f"  installed: {len(report.written)} objects written, package version {names[-1]}")


def variants(folder: AssetsFolder, versions: tuple[str, ...] = (v.DEFAULT_KUBERNETES,)) -> list[Manifest]:
    """The lab's packages for these Kubernetes versions, machine packages first, the last version last."""
    files = FileCatalogue()
    released = of_versions([manifest for place in PACKAGE_FOLDERS for manifest in files.manifests(place)], versions)
    facts = {name: AssetFacts(entry.sha256, deb_version(folder, entry)) for name, entry in folder.index().items()}
    return lab_packages(released, assets=facts, operator_image=built_name(folder))


def deb_version(folder: AssetsFolder, entry: IndexEntry) -> str:
    """What dpkg calls the version of an asset; empty for what is no Debian package."""
    return run(["dpkg-deb", "-f", folder.root / entry.path, "Version"]).strip() if entry.path.endswith(".deb") else ""


async def _install(manifests: InstallManifests) -> InstallReport:
    kube = KubeClient(kubeconfig_file_credentials(layout.kubeconfig_path()), field_manager="kok-install")
    try:
        return await Installer(kube, tell=lambda line: say(f"  {line}")).run(manifests)
    finally:
        await kube.close()


def import_archives(names: list[str], folder: AssetsFolder) -> None:
    """Bring image archives into the meta cluster's node, those that are not there yet."""
    index = folder.index()
    meta.import_images({f"{layout.NODE_ASSETS}/{index[name].path}": index[name].sha256 for name in names})


def load_image(folder: AssetsFolder, asset: str) -> str:
    """The Docker name of one of the lab's images, loaded if Docker does not have it."""
    name = image_names(folder.get(asset))[0]
    if inspect("image", name) is None:
        with timed(name, "loading into docker"):
            docker("load", "--input", str(folder.get(asset)))
        for older in docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}", name.split(":")[0]).split():
            if older != name:
                attempt("image", "rm", older)  # refused while a container uses it, which is right
    return name


def down() -> list[str]:
    """Remove every container and network with the lab's label, the fence, credentials, and an engine that the lab started; says what was removed.

    Raises KokError LabFailed where the lab was made and Docker does not answer: stopped containers may be there.
    """
    removed: list[str] = []
    if shutil.which("docker") is None or attempt("info").returncode != 0:
        if (layout.state_folder() / "meta-node-id").exists():
            raise KokError(
                ErrorCode.LabFailed, "Docker does not answer, so nothing is removed", "start Docker, then give the command again"
            )
        return removed
    with exclusive():
        names = labelled("container", layout.LABELLED)
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda name: docker("rm", "--force", "--volumes", name), names))
        removed += [f"container {name}" for name in names]
        for name in labelled("network", layout.LABELLED):
            engine.remove_fence()
            docker("network", "rm", name)
            removed.append(f"network {name}")
        for name in ("kubeconfig", "meta-node-id", "kind.yaml", "package-version", "planes", "of"):
            (layout.state_folder() / name).unlink(missing_ok=True)
        for credential in layout.state_folder().glob("*.kubeconfig"):
            credential.unlink()
            removed.append(f"credential {credential.name}")
        if engine.stop_engine():
            removed.append("the docker engine that the lab had started")
    return removed


def status() -> LabStatus:
    """What is there now; starts nothing."""
    if shutil.which("docker") is None or attempt("info").returncode != 0:
        return LabStatus("not running")
    network = inspect("network", layout.NETWORK) is not None
    known = inspect("container", layout.META_NODE)
    running = known is not None and known["State"]["Running"] and layout.kubeconfig_path().is_file()
    return LabStatus(
        engine="running",
        network=f"{layout.NETWORK} {layout.SUBNET}" if network else "",
        fence="closed" if network and engine.fence_is_up() else "",
        isolation="closed" if running and all(map(isolation.is_isolated, isolation.meta_nodes())) else "",
        meta=f"{layout.META_CONTEXT} {known['State']['Status']}" if known else "",
        node=str(layout.META_ADDRESS),
        kubeconfig=str(layout.kubeconfig_path()) if running else "",
        ssh_key=str(layout.ssh_key_path()) if layout.ssh_key_path().is_file() else "",
        package_version=_package_version(),
        hosts=tuple(hosts.host(name) for name in hosts.host_names()),
    )


def _package_version() -> str:
    try:
        return layout.package_path().read_text()
    except OSError:
        return ""


def host_ground() -> tuple[str, Ground]:
    """The host image and the ground, for commands on single hosts; the engine, network and fence are made sure of first."""
    folder = AssetsFolder()
    Builder(folder, table() | lab_assets()).ensure([HOST_IMAGE])
    with exclusive():
        _ensure_surroundings()
        image = load_image(folder, HOST_IMAGE)
    return image, find_ground(image)
