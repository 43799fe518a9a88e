"""`kok get`: objects of any kind as a table, JSON, YAML or names; -w goes on with changes. Reads only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from meta_cluster.cli.options import Access, ClusterOption, ContextOption, KubeconfigOption, NamespaceOption, complete_kind

INDENT = "  "

if TYPE_CHECKING:
    from meta_cluster.cli.kinds import NamedKind
    from meta_cluster.cli.observe import Query
    from meta_cluster.cli.output import Output
    from operators.ports.kube import Manifest

    Queries = list[tuple[tuple[NamedKind, ...], Query]]


def get(
    kind: Annotated[
        str,
        typer.Argument(
            help="clusters, machines, machinepools, ... or their short names, KIND,KIND or KIND/NAME; `kok` for every kind.",
            autocompletion=complete_kind,
        ),
    ],
    names: Annotated[list[str] | None, typer.Argument(help="Only these.", show_default=False)] = None,
    namespace: NamespaceOption = "",
    all_namespaces: Annotated[bool, typer.Option("--all-namespaces", "-A", help="Every namespace.")] = False,
    cluster: ClusterOption = "",
    selector: Annotated[str, typer.Option("--selector", "-l", help="Only objects with these labels.", show_default=False)] = "",
    output: Annotated[str, typer.Option("--output", "-o", help="wide, json, yaml or name.", show_default=False)] = "",
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Go on with changes until Ctrl-C.")] = False,
    kubeconfig: KubeconfigOption = "",
    context: ContextOption = "",
) -> None:
    """Show objects of kok: what is wished, authorised and observed.

    Machines live in business clusters: those of the namespace's Cluster are shown, with -A those of all.

    Examples:

      kok get kok -A

      kok get clusters -n demo -o wide

      kok get cluster/demo pool/workers -n demo

      kok get machines -n demo -w
    """
    from meta_cluster.cli.access import run
    from meta_cluster.cli.observe import Query
    from meta_cluster.cli.output import output_named
    from meta_cluster.cli.targets import targets_of

    access, wanted = Access(kubeconfig, context, namespace), output_named(output)
    targets = targets_of(kind, names or ())
    queries = [(each.kinds, Query(each.word, each.names, all_namespaces, cluster, selector)) for each in targets]
    run(_watch(access, queries, wanted) if watch else _get(access, queries, wanted))


async def _get(access: Access, queries: Queries, output: Output) -> None:
    from meta_cluster.cli.access import open_meta
    from meta_cluster.cli.console import say, tell
    from meta_cluster.cli.observe import Found, listed
    from meta_cluster.cli.output import Output, data_text, name_text

    found, kinds, query = Found(), tuple(dict.fromkeys(kind for kinds, _ in queries for kind in kinds)), queries[0][1]
    async with open_meta(access) as meta:
        for asked, each in queries:
            found.take(await listed(meta, asked, each))
    for note in found.notes:
        tell(f"note: {note}")
    if len(kinds) > 1 and not query.everywhere and not query.names:
        tell(f"note: of namespace {meta.namespace}, and what is in no namespace; -A shows all")
    every = [manifest for kind in kinds for manifest in found.objects[kind.name]]
    if output in (Output.Json, Output.Yaml):
        say(data_text(every, output, single=sum(len(each.names) for _, each in queries) == 1 and len(every) == 1))
    elif not every and not found.unseen:
        tell(_nothing(kinds, query, meta.namespace))
    elif every and output is Output.Name:
        say(name_text(every))
    elif every:
        say(_tables(kinds, found.objects, query, output))
    if found.unseen and all(kind.home == "business" for kind in kinds):
        raise typer.Exit(1)  # who asks for machines only must not take what was not seen for what is not there


def _nothing(kinds: tuple[NamedKind, ...], query: Query, namespace: str) -> str:
    if query.everywhere or not any(kind.namespaced or kind.home == "business" for kind in kinds):
        return "No resources found."
    return f"No resources found in namespace {namespace}. (-A: in all)"


def _tables(kinds: tuple[NamedKind, ...], objects: dict[str, list[Manifest]], query: Query, output: Output) -> str:
    from meta_cluster.cli.console import table_width, width
    from meta_cluster.cli.output import Output
    from meta_cluster.cli.tables import messages_of, rendered, table_of
    from meta_cluster.cli.times import now_utc

    wide, now = output is Output.Wide, now_utc()
    texts = []
    for kind in kinds:
        if objects[kind.name]:
            table = table_of(kind, objects[kind.name], now, wide=wide, namespaces=query.everywhere)
            title = f"{kind.full}\n" if len(kinds) > 1 else ""
            said = "" if wide else messages_of(kind, objects[kind.name], width())
            texts.append(title + rendered(table, width=None if wide else table_width()) + (f"\n\n{said}" if said else ""))
    return "\n\n".join(texts)


async def _watch(access: Access, queries: Queries, output: Output) -> None:
    """One row (or object) per change, as kubectl does it; below the row what is not fine."""
    from meta_cluster.cli.access import open_meta
    from meta_cluster.cli.console import say
    from meta_cluster.cli.kinds import NAMED
    from meta_cluster.cli.observe import changes
    from meta_cluster.cli.output import Output, data_text, name_text
    from operators.errors import ErrorCode, KokError

    ((kind, *more), query), *others = queries
    if more or others:
        raise KokError(ErrorCode.Usage, "-w follows one kind, not several", f"one of {', '.join(kind.plural for kind in NAMED)}")
    widths: list[int] = []
    async with open_meta(access) as meta:
        async for manifest in changes(meta, kind, query):
            if output in (Output.Json, Output.Yaml):
                say(data_text([manifest], output, single=True))
            elif output is Output.Name:
                say(name_text([manifest]))
            else:
                say(_change(kind, manifest, query, widths, wide=output is Output.Wide))


def _change(kind: NamedKind, manifest: Manifest, query: Query, widths: list[int], *, wide: bool) -> str:
    """Its row, and below it what is not fine; above the first the headings. `widths` is filled by the first and kept by the others."""
    from meta_cluster.cli.console import width
    from meta_cluster.cli.tables import GAP, column_widths, messages_of, table_of
    from meta_cluster.cli.times import now_utc

    table = table_of(kind, [manifest], now_utc(), wide=wide, namespaces=query.everywhere)
    rows = table.rows if widths else (table.headings, *table.rows)
    widths[:] = widths or [max(size, 10) for size in column_widths(table, None)]
    lines = [GAP.join(cell.ljust(size) for cell, size in zip(row, widths, strict=True)).rstrip() for row in rows]
    said = "" if wide else messages_of(kind, [manifest], width() - len(INDENT))
    return "\n".join([*lines, *(f"{INDENT}{line}" for line in said.splitlines())])
