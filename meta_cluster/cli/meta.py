"""`kok meta`: install kok into an existing cluster, say how it stands, take it out. A thin face of meta_cluster.bootstrap."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from meta_cluster.cli.meta_init import init
from meta_cluster.cli.options import Access, ContextOption, KubeconfigOption, YesOption
from meta_cluster.cli.rebuild_ledger import rebuild_ledger

if TYPE_CHECKING:
    from meta_cluster.bootstrap.install import InstallReport
    from meta_cluster.bootstrap.manifests import InstallManifests
    from meta_cluster.bootstrap.uninstall import Removal

app = typer.Typer(no_args_is_help=True, help="The meta cluster: install kok into it, see how it stands, take it out.")
FIELD_MANAGER = "kok-install"
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only print what would change; the server checks it and stores nothing.")]


@app.command(short_help="Install kok; run again, it changes only what differs.")
def install(
    kubeconfig: KubeconfigOption = "",
    context: ContextOption = "",
    image: Annotated[str, typer.Option("--image", help="Image of the operators; default this release's.", show_default=False)] = "",
    artifacts: Annotated[
        str,
        typer.Option(
            "--artifacts",
            help="Where hosts' packages lie: /FOLDER on every node, or the name of a PersistentVolumeClaim in kok-system; default a new claim.",
            show_default=False,
        ),
    ] = "",
    dev: Annotated[bool, typer.Option("--dev", help="Run the work tree that is mounted at /kok-src of the nodes.")] = False,
    timeout: Annotated[float, typer.Option("--timeout", min=1, help="Seconds to wait for the operators.")] = 180.0,
    dry_run: DryRun = False,
) -> None:
    """Install CRDs, admission, catalogue, ledger and operators; run again, it changes only what differs.

    Examples:

      kok meta install --kubeconfig meta.kubeconfig --dry-run

      kok meta install --artifacts /srv/kok/artifacts
    """
    from meta_cluster.bootstrap.manifests import Installation, Overlay, install_manifests
    from meta_cluster.cli.access import run

    overlay = Overlay.Dev if dev else Overlay.Lab if artifacts.startswith("/") else Overlay.Production
    digests, deb_versions = asset_facts()
    manifests = install_manifests(Installation(overlay, image, artifacts), digests, deb_versions=deb_versions)
    report = run(_install(Access(kubeconfig, context), manifests, timeout, dry_run=dry_run))
    _print(report, dry_run=dry_run)


async def _install(access: Access, manifests: InstallManifests, patience: float, *, dry_run: bool) -> InstallReport:
    from meta_cluster.bootstrap.apply import Mode
    from meta_cluster.bootstrap.install import Installer
    from meta_cluster.cli.access import open_meta
    from meta_cluster.cli.console import Progress

    progress, mode = Progress(), Mode.Try if dry_run else Mode.Do
    rewrite = progress.rewrite if sys.stderr.isatty() else None
    async with open_meta(access, field_manager=FIELD_MANAGER, dry_run=dry_run) as meta:
        try:
            return await Installer(meta.kube, progress.tell, mode, patience=patience, rewrite=rewrite).run(manifests)
        finally:
            progress.end()


def asset_facts() -> tuple[dict[str, str], dict[str, str]]:
    """Of the assets folder, by asset name: the sha256 of each, and what dpkg calls the version of each .deb."""
    from meta_cluster.assets.folder import AssetsFolder
    from meta_cluster.lab.lifecycle import deb_version

    folder = AssetsFolder()
    index = folder.index()
    digests = {name: entry.sha256 for name, entry in index.items()}
    return digests, {name: version for name, entry in index.items() if (version := deb_version(folder, entry))}


def _print(report: InstallReport, *, dry_run: bool) -> None:
    from meta_cluster.cli.console import say

    would = " (not stored: --dry-run)" if dry_run else ""
    if not report.written:
        say(f"0 changes: all {len(report.changes)} objects are as they should be{would}")
        return
    say("\n".join(str(change) for change in report.written))
    say(f"{len(report.written)} changes, {len(report.changes) - len(report.written)} objects as they were{would}")


@app.command(short_help="Remove what install brought; refused while it is used.")
def uninstall(kubeconfig: KubeconfigOption = "", context: ContextOption = "", yes: YesOption = False, dry_run: DryRun = False) -> None:
    """Remove everything that install brought; refused while Clusters, pools or claimed hosts exist.

    Example:

      kok meta uninstall --dry-run
    """
    from meta_cluster.bootstrap.uninstall import removal
    from meta_cluster.cli.access import run

    run(_uninstall(Access(kubeconfig, context), removal(), yes=yes, dry_run=dry_run))


async def _uninstall(access: Access, wanted: Removal, *, yes: bool, dry_run: bool) -> None:
    from meta_cluster.bootstrap.uninstall import present, refuse_while_used, uninstall
    from meta_cluster.cli.access import open_meta
    from meta_cluster.cli.console import confirm, say, tell

    async with open_meta(access, field_manager=FIELD_MANAGER) as meta:
        await refuse_while_used(meta.kube)
        refs = await present(meta.kube, wanted.refs)
        if not refs:
            say(f"0 changes: nothing of kok is in {meta.server}")
            return
        if dry_run:
            say("\n".join(f"would delete {ref}" for ref in refs))
            return
        what = f"removes {len(refs)} objects of kok, and kok-system with the sealed copies of root keys, from {meta.server}"
        confirm(what, yes=yes)
        removed = await uninstall(meta.kube, refs, tell=tell)
        say(f"{len(removed)} objects removed")


@app.command()
def status(kubeconfig: KubeconfigOption = "", context: ContextOption = "") -> None:
    """Show what of kok is installed and whether it works.

    Example:

      kok meta status
    """
    from meta_cluster.bootstrap.status import rows_of
    from meta_cluster.cli.access import run
    from meta_cluster.cli.console import say, table_width
    from meta_cluster.cli.tables import Table, rendered
    from operators.errors import ErrorCode, KokError

    rows = rows_of(run(_look(Access(kubeconfig, context))))
    say(rendered(Table(("PART", "STATE", "DETAIL"), tuple((row.part, row.state, row.detail) for row in rows)), width=table_width()))
    if any(row.state != "ok" for row in rows):
        raise KokError(ErrorCode.NotFound, "kok is not whole there", "kok meta install brings what is missing")


async def _look(access: Access) -> dict[str, list[dict[str, object]]]:
    from meta_cluster.bootstrap.status import look
    from meta_cluster.cli.access import open_meta

    async with open_meta(access) as meta:
        return await look(meta.kube)


app.command("init", short_help="Make a meta cluster of 1 or 3 hosts.")(init)
app.command("rebuild-ledger", short_help="Make a lost Ledger anew from the stored OperationGrants.")(rebuild_ledger)
