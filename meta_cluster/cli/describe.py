"""`kok describe`: one object as a tree that shows what is not fine and folds what is. Reads only."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from meta_cluster.cli.options import Access, ClusterOption, ContextOption, KubeconfigOption, NamespaceOption, complete_kind

if TYPE_CHECKING:
    from meta_cluster.cli.tree import Node


def describe(
    kind: Annotated[
        str, typer.Argument(help="cluster, machine, pool, or any other kind of kok; or KIND/NAME.", autocompletion=complete_kind)
    ],
    name: Annotated[str, typer.Argument(help="Its name.", show_default=False)] = "",
    namespace: NamespaceOption = "",
    cluster: ClusterOption = "",
    everything: Annotated[bool, typer.Option("--all", "-a", help="Unfold what is fine, too.")] = False,
    output: Annotated[str, typer.Option("--output", "-o", help="wide (no wrapping), json, yaml or name.", show_default=False)] = "",
    kubeconfig: KubeconfigOption = "",
    context: ContextOption = "",
) -> None:
    """Show one object as a tree: what is not fine stands out, what is fine is folded.

    Examples:

      kok describe cluster demo -n demo

      kok describe machine demo-1 -n demo

      kok describe pool workers -n demo --all
    """
    from meta_cluster.cli.access import run
    from meta_cluster.cli.console import is_coloured, say, width
    from meta_cluster.cli.output import Output, output_named
    from meta_cluster.cli.targets import one_target
    from meta_cluster.cli.tree import folded, rendered

    wanted = output_named(output)
    kind, name = one_target(kind, name)
    access = Access(kubeconfig, context, namespace)
    if wanted in (Output.Json, Output.Yaml, Output.Name):
        from meta_cluster.cli.get import get

        get(kind, [name], namespace, False, cluster, "", output, False, kubeconfig, context)
        return
    tree, outline = run(_tree(access, kind, name, cluster))
    tree = folded(tree) if outline and not everything else tree
    say(rendered(tree, width=None if wanted is Output.Wide else width(), coloured=is_coloured(sys.stdout)))


async def _tree(access: Access, word: str, name: str, cluster: str) -> tuple[Node, bool]:
    """The tree, and whether it is an outline that may be folded."""
    from meta_cluster.cli.access import open_meta
    from meta_cluster.cli.cluster_tree import cluster_tree
    from meta_cluster.cli.kinds import kind_named
    from meta_cluster.cli.object_tree import machine_tree, object_tree
    from meta_cluster.cli.observe import Query, listed
    from meta_cluster.cli.picture import look_at_cluster
    from meta_cluster.cli.rollout_view import rollout_tree
    from meta_cluster.cli.tables import CLUSTER
    from meta_cluster.cli.times import now_utc

    kind = kind_named(word)
    async with open_meta(access) as meta:
        if kind.name == "Cluster":
            return cluster_tree(await look_at_cluster(meta, name, meta.namespace), now_utc()), True
        found = (await listed(meta, (kind,), Query(word, (name,), cluster=cluster))).objects[kind.name][0]
    if kind.name == "FleetRollout":
        return rollout_tree(found, now_utc()), False
    if kind.name == "Machine":
        return machine_tree(found, found["metadata"]["annotations"][CLUSTER], now_utc()), True
    return object_tree(found, now_utc()), False
