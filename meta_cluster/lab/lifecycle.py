"""The lab as a whole: up, down, status. Every step looks first and does only what is missing, so `up` may be repeated after any interruption."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from meta_cluster.assets import versions as v
from meta_cluster.assets.builder import Builder
from meta_cluster.assets.folder import AssetsFolder
from meta_cluster.assets.progress import say, timed
from meta_cluster.assets.table import table
from meta_cluster.lab import engine, hosts, layout, meta
from meta_cluster.lab.docker import attempt, docker, inspect, labelled
from meta_cluster.lab.ground import Ground, find_ground
from meta_cluster.lab.machine_images import HOST_IMAGE, docker_name, lab_assets, node_image

KIND = f"kind-{v.KIND}"
OPERATOR_IMAGE = "image-kok"


@dataclass(frozen=True, slots=True)
class LabStatus:
    """What is there now; strings are for people."""

    engine: str
    network: str
    fence: str
    meta: str
    hosts: tuple[hosts.Host, ...]


@contextmanager
def exclusive() -> Iterator[None]:
    """One command at a time changes the lab; others wait."""
    with FileLock(layout.state_folder() / "lab.lock"):
        yield


def up(*, source: Path | None = None, node: str | None = None, version: str = v.DEFAULT_KUBERNETES) -> None:
    """Engine, network, fence, assets, meta cluster, images. `source` is a work tree to mount, `node` another node image for kind."""
    folder = AssetsFolder()
    wanted = [KIND, f"kubectl-{version}", HOST_IMAGE, f"images-meta-{version}", f"images-node-{version}", OPERATOR_IMAGE, node_image(version)]
    builder = Builder(folder, table() | lab_assets())
    builder.ensure(name for name in wanted if node is None or name != node_image(version))
    with exclusive():
        engine.ensure_engine()
        engine.ensure_network()
        engine.ensure_fence()
        ground = find_ground(load_image(folder, HOST_IMAGE))
        say(f"  {ground.sentence}")
        hosts.ensure_ssh_key()
        image = node or load_image(folder, node_image(version))
        config = meta.kind_config(ground, image=image, assets=folder.root, source=source)
        meta.ensure_meta(ground, config, kind=folder.get(KIND))
        import_archives([f"images-meta-{version}", OPERATOR_IMAGE], folder)


def import_archives(names: list[str], folder: AssetsFolder) -> None:
    """Bring image archives into the meta cluster's node, those that are not there yet."""
    index = folder.index()
    meta.import_images({f"{layout.NODE_ASSETS}/{index[name].path}": index[name].sha256 for name in names})


def load_image(folder: AssetsFolder, asset: str) -> str:
    """The Docker name of one of the lab's images, loaded if Docker does not have it."""
    name = docker_name(asset, folder.index()[asset].key)
    if inspect("image", name) is None:
        with timed(name, "loading into docker"):
            docker("load", "--input", str(folder.get(asset)))
    return name


def down() -> list[str]:
    """Remove every container and network with the lab's label, the fence, and an engine that the lab started; says what was removed."""
    removed: list[str] = []
    if shutil.which("docker") is None or attempt("info").returncode != 0:
        return removed
    with exclusive():
        for name in labelled("container", layout.LABELLED):
            docker("rm", "--force", "--volumes", name)
            removed.append(f"container {name}")
        for name in labelled("network", layout.LABELLED):
            engine.remove_fence()
            docker("network", "rm", name)
            removed.append(f"network {name}")
        for name in ("kubeconfig", "meta-node-id", "kind.yaml"):
            (layout.state_folder() / name).unlink(missing_ok=True)
        if engine.stop_engine():
            removed.append("the docker engine that the lab had started")
    return removed


def status() -> LabStatus:
    """What is there now; starts nothing."""
    if shutil.which("docker") is None or attempt("info").returncode != 0:
        return LabStatus("not running", "-", "-", "-", ())
    network = f"{layout.NETWORK} {layout.SUBNET}" if inspect("network", layout.NETWORK) else "none"
    fence = "closed" if network != "none" and engine.fence_is_up() else "none"
    known = inspect("container", layout.META_NODE)
    state = f"{layout.META_CONTEXT} {known['State']['Status']} at {layout.META_ADDRESS}" if known else "none"
    return LabStatus("running", network, fence, state, tuple(hosts.host(name) for name in hosts.host_names()))


def host_ground() -> tuple[str, Ground]:
    """The host image and the ground, for commands on single hosts; the engine, network and fence are made sure of first."""
    folder = AssetsFolder()
    Builder(folder, table() | lab_assets()).ensure([HOST_IMAGE])
    engine.ensure_engine()
    engine.ensure_network()
    engine.ensure_fence()
    image = load_image(folder, HOST_IMAGE)
    return image, find_ground(image)
