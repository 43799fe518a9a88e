"""`kok meta init`: hosts become a meta cluster. A thin face of meta_cluster.bootstrap.meta_init."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from meta_cluster.assets.folder import AssetsFolder
    from meta_cluster.bootstrap.inventory import Inventory
    from meta_cluster.bootstrap.meta_init import HostState
    from meta_cluster.bootstrap.meta_packages import OperatorImages


def init(
    inventory: Annotated[Path, typer.Option("--inventory", "-f", help="YAML file that names the hosts.")],
    kubeconfig: Annotated[
        str,
        typer.Option(
            "--kubeconfig-out", help="Where the administrator's kubeconfig is written; default NAME.kubeconfig.", show_default=False
        ),
    ] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Look at the hosts and print what would be done; nothing is changed.")] = False,
) -> None:
    """Make a meta cluster of 1 or 3 hosts that SSH reaches, with kubeadm. Run again, it goes on where it stopped, and changes nothing at its end.

    Examples:

      kok meta init --inventory hosts.yaml --dry-run

      kok meta init --inventory hosts.yaml && kok meta install --kubeconfig meta.kubeconfig
    """
    from meta_cluster.bootstrap.inventory import private_key_of, read_inventory
    from meta_cluster.cli.access import run

    wanted = read_inventory(inventory)
    key = private_key_of(wanted)
    run(_init(wanted, key, Path(kubeconfig or f"{wanted.name}.kubeconfig"), dry_run=dry_run))


async def _init(inventory: Inventory, key: str, kubeconfig: Path, *, dry_run: bool) -> None:
    from meta_cluster.assets.builder import Builder
    from meta_cluster.assets.folder import AssetsFolder
    from meta_cluster.assets.table import table
    from meta_cluster.bootstrap.folder_artifacts import FolderArtifacts
    from meta_cluster.bootstrap.meta_init import MetaInit
    from meta_cluster.bootstrap.meta_packages import HOST_CACHE, NEEDED, wanted_packages
    from meta_cluster.cli.console import say, tell
    from meta_cluster.cli.meta import asset_facts
    from operators.adapters.ansible import AnsibleRunner
    from operators.adapters.catalogue_files import FileCatalogue
    from operators.adapters.ssh import SshProbe
    from operators.ports.grants import NoLeave

    folder = AssetsFolder()
    Builder(folder, table()).ensure(NEEDED)
    playbooks, images = FileCatalogue().playbooks(), _images(folder)
    packages = wanted_packages(inventory, *asset_facts(), images)
    ansible = AnsibleRunner(FolderArtifacts(folder), playbooks, grants=NoLeave())
    work = MetaInit(inventory, key, packages, SshProbe(playbooks), ansible, playbooks, tell)
    if dry_run:
        say("\n".join(_plan(await work.look(), kubeconfig)))
        return
    changed = await work.run(kubeconfig, lambda: _surround(inventory, kubeconfig))
    say(f"{changed} changes: the meta cluster {inventory.name} is ready" if changed else f"0 changes: {inventory.name} is as it should be")
    image = f" --image {images.name}" if images else ""
    tell(f"next: kok meta install --kubeconfig {kubeconfig}{image} --artifacts {HOST_CACHE}")


async def _surround(inventory: Inventory, kubeconfig: Path) -> int:
    from meta_cluster.bootstrap.surroundings import Surroundings
    from meta_cluster.cli.console import tell
    from operators.adapters.kube import KubeClient
    from operators.adapters.kube_credentials import kubeconfig_file_credentials

    kube = KubeClient(kubeconfig_file_credentials(kubeconfig), field_manager="kok-install")
    try:
        return await Surroundings(kube, inventory, tell).bring()
    finally:
        await kube.close()


def _plan(states: list[HostState], kubeconfig: Path) -> list[str]:
    lines = [f"would {line}, on {state.host.name}" for state in states for line in state.todo]
    if any(not state.is_done for state in states):
        lines += [f"would write {kubeconfig}", "would apply the pod network and a default StorageClass"]
    return lines or ["0 changes: every host is as it should be"]


def _images(folder: AssetsFolder) -> OperatorImages | None:
    """The operators' images, where they were built here; else they come from a registry."""
    from meta_cluster.assets.oci import image_names
    from meta_cluster.assets.operator_image import BASE, IMAGE
    from meta_cluster.bootstrap.meta_packages import OperatorImages

    index = folder.index()
    if BASE not in index or IMAGE not in index:
        return None
    name, base = image_names(folder.get(IMAGE))[0], image_names(folder.get(BASE))[0]
    return OperatorImages(name, base, index[BASE].sha256, index[IMAGE].sha256)
