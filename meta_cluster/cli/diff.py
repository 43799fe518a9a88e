"""`kok diff -f DIR`: what committing these files would change, object by object, with the effects. Reads, and asks the API server with dry runs only."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Annotated

import typer

from meta_cluster.cli.options import Access, ContextOption, KubeconfigOption

if TYPE_CHECKING:
    from collections.abc import Sequence

    from meta_cluster.cli.access import Meta
    from meta_cluster.cli.diff_effects import Difference, Surroundings
    from meta_cluster.cli.diff_load import Loaded
    from operators.api.cluster import Cluster
    from operators.ports.kube import Manifest

SAME, DIFFERENT, BROKEN = 0, 1, 2
MANAGER = "kok-diff"


def diff(
    file: Annotated[
        str, typer.Option("--filename", "-f", help="Folder (with all below it), file, or - for stdin.", show_default=False)
    ] = "",
    output: Annotated[str, typer.Option("--output", "-o", help="json or yaml.", show_default=False)] = "",
    kubeconfig: KubeconfigOption = "",
    context: ContextOption = "",
) -> None:
    """Show what committing files would do: fields, objects of each plane, effects on machines, what would be refused. Changes nothing.

    Exit codes as kubectl diff: 0 no difference, 1 differences, more than 1 an error.

    Examples:

      kok diff -f clusters/

      kok diff -f clusters/ -o json
    """
    from meta_cluster.cli.access import run
    from meta_cluster.cli.console import say, tell, tell_error
    from meta_cluster.cli.diff_effects import difference_text
    from meta_cluster.cli.diff_load import load
    from meta_cluster.cli.output import Output, output_named, structured
    from operators.errors import ErrorCode, KokError

    try:
        wanted = output_named(output, Output.Json, Output.Yaml)
        if not file:
            raise KokError(ErrorCode.Usage, "no --filename: what would be committed?", "kok diff -f DIR")
        loaded = load(file)
        found = run(_differences(Access(kubeconfig, context), loaded))
    except KokError as error:
        tell_error(error)
        raise typer.Exit(BROKEN) from error
    if wanted is not Output.Table:
        say(structured([each.data() for each in found], wanted))
    elif found:
        say("\n\n".join(difference_text(each) for each in found))
    tell(
        f"{len(loaded.manifests)} objects of kok compared, {len(found)} differ{f', {loaded.others} others not looked at' if loaded.others else ''}"
    )
    raise typer.Exit(BROKEN if any(each.refused for each in found) else DIFFERENT if found else SAME)


async def _differences(access: Access, loaded: Loaded) -> list[Difference]:
    from meta_cluster.cli.access import open_meta
    from meta_cluster.cli.diff_effects import Difference, difference_of, place_of
    from operators.errors import KokError
    from operators.ports.kube import Ref

    found = []
    async with open_meta(access) as meta:
        around = await _surroundings(meta, loaded.manifests)
        for manifest in loaded.manifests:
            live = await meta.kube.get(Ref.of(manifest))
            try:
                wished = await _wished(access, manifest, live, loaded.namespaces)
            except KokError as error:
                what = "changed" if live else "created"
                found.append(Difference(manifest["kind"], place_of(manifest), what, refused=f"{error.message} ({error.code})"))
                continue
            if each := difference_of(live, wished, around):
                found.append(each)
    return found


async def _wished(access: Access, manifest: Manifest, live: Manifest | None, coming: frozenset[str]) -> Manifest:
    """The object as it would be stored; as it is written where its namespace comes with the commit. Raises KokError where it would be refused."""
    from operators.errors import ErrorCode, KokError
    from operators.ports.kube import NotFound

    try:
        return await _tried(access, manifest, live)
    except NotFound as missing:
        home = manifest["metadata"].get("namespace")
        if home in coming:
            return manifest
        words = f"there is no namespace {home}, nor one among these files; create it first, or add it to them" if home else missing.message
        raise KokError(ErrorCode.NotFound, words) from missing


async def _tried(access: Access, manifest: Manifest, live: Manifest | None) -> Manifest:
    """The object as the API server would store it, admission included: applied as whoever applies it, and not stored."""
    from meta_cluster.cli.access import open_meta

    appliers = [each for each in ((live or {}).get("metadata") or {}).get("managedFields") or () if each.get("operation") == "Apply"]
    owners = [str(each["manager"]) for each in appliers if "f:spec" in (each.get("fieldsV1") or {})]
    async with open_meta(access, field_manager=owners[0] if owners else MANAGER, dry_run=True) as dry:
        return await dry.kube.apply(manifest)


async def _surroundings(meta: Meta, wished: Sequence[Manifest]) -> Surroundings:
    from meta_cluster.cli.diff_effects import Surroundings, place_of
    from operators.adapters.catalogue_files import FileCatalogue
    from operators.api.base import API_VERSION
    from operators.api.cluster_release import ClusterRelease
    from operators.api.pools import MachinePool
    from operators.cluster_operator.rollout.outlook import catalogue_from
    from operators.ports.kube import Kind

    async def listed(kind: str) -> tuple[Manifest, ...]:
        return (await meta.kube.list(Kind(API_VERSION, kind))).items

    def of_folder(kind: str) -> list[Manifest]:
        return [each for each in wished if each["kind"] == kind]

    pools = defaultdict(list)
    known = {place_of(each): each for each in (*await listed("MachinePool"), *of_folder("MachinePool"))}
    for each in known.values():
        pools[f"{each['metadata']['namespace']}/{each['spec']['clusterName']}"].append(MachinePool.parse(each))
    planes = (*await listed("ClusterPackageVersion"), *of_folder("ClusterPackageVersion"))
    machines = (*await listed("MachinePackageVersion"), *of_folder("MachinePackageVersion"))
    releases = {place_of(each): ClusterRelease.parse(each) for each in await listed("ClusterRelease")}
    services = await _services(meta) if of_folder("Cluster") else ()
    templates, wishes = FileCatalogue().plane_templates, _parsed(of_folder("Cluster"))
    return Surroundings(releases, pools, catalogue_from(planes, machines), templates, wishes, services)


async def _services(meta: Meta) -> tuple[Manifest, ...]:
    """Whoever may not list Services is told that ports were not looked at; the operator says it later."""
    from meta_cluster.cli.console import tell
    from operators.errors import KokError
    from operators.ports.kube import Kind

    try:
        return (await meta.kube.list(Kind("v1", "Service"))).items
    except KokError as error:
        tell(f"node ports were not compared with those of other Services: {error.message}")
        return ()


def _parsed(manifests: Sequence[Manifest]) -> dict[str, Cluster]:
    from meta_cluster.cli.diff_effects import place_of
    from operators.api.cluster import Cluster
    from operators.errors import KokError

    found = {}
    for manifest in manifests:
        try:
            found[place_of(manifest)] = Cluster.parse(manifest)
        except KokError:
            continue  # told when its own turn comes
    return found
