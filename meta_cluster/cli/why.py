"""`kok why`: the chain of reasons for what is not as wished, down to the event, the SSH error or the differing file. Reads only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from meta_cluster.cli.options import Access, ClusterOption, ContextOption, KubeconfigOption, NamespaceOption, complete_kind

if TYPE_CHECKING:
    from meta_cluster.cli.access import Meta
    from meta_cluster.cli.reasons import Chain


def why(
    kind: Annotated[
        str, typer.Argument(help="cluster, machine, pool, or any other kind of kok; or KIND/NAME.", autocompletion=complete_kind)
    ],
    name: Annotated[str, typer.Argument(help="Its name.", show_default=False)] = "",
    namespace: NamespaceOption = "",
    cluster: ClusterOption = "",
    output: Annotated[str, typer.Option("--output", "-o", help="json or yaml.", show_default=False)] = "",
    kubeconfig: KubeconfigOption = "",
    context: ContextOption = "",
) -> None:
    """Say why something is not as wished, and what to do next.

    Examples:

      kok why cluster demo -n demo

      kok why machine demo-1 -n demo

      kok why host demo-1 -n demo
    """
    from dataclasses import asdict

    from meta_cluster.cli.access import run
    from meta_cluster.cli.console import say, width
    from meta_cluster.cli.output import Output, output_named, structured
    from meta_cluster.cli.targets import one_target

    wanted = output_named(output, Output.Json, Output.Yaml)
    kind, name = one_target(kind, name)
    chain = run(_chain(Access(kubeconfig, context, namespace), kind, name, cluster))
    say(structured({**asdict(chain), "because": list(chain.because)}, wanted) if wanted else chain.text(width()))


async def _chain(access: Access, word: str, name: str, cluster: str) -> Chain:
    from meta_cluster.cli.access import open_meta
    from meta_cluster.cli.kinds import kind_named
    from meta_cluster.cli.observe import Query, listed
    from meta_cluster.cli.picture import look_at_cluster
    from meta_cluster.cli.reasons import cluster_chain, object_chain
    from meta_cluster.cli.times import now_utc

    kind = kind_named(word)
    async with open_meta(access) as meta:
        if kind.name == "Cluster":
            return cluster_chain(await look_at_cluster(meta, name, meta.namespace), now_utc())
        if kind.name == "Machine":
            return await _machine(meta, name, cluster)
        found = (await listed(meta, (kind,), Query(word, (name,)))).objects[kind.name][0]
    return object_chain(found, now_utc())


async def _machine(meta: Meta, name: str, cluster: str) -> Chain:
    """The Machine of that name in the namespace's Cluster; a host without a Machine is explained by its pool."""
    from meta_cluster.cli.access import clusters_in
    from meta_cluster.cli.near import near_hint
    from meta_cluster.cli.picture import look_at_cluster
    from meta_cluster.cli.reasons import machine_chain, missing_machine_chain
    from meta_cluster.cli.times import now_utc
    from operators.errors import ErrorCode, KokError

    known: list[str] = []
    for found in await clusters_in(meta, namespace=meta.namespace, cluster=cluster):
        picture = await look_at_cluster(meta, found["metadata"]["name"], meta.namespace)
        for machine in picture.business.machines:
            if machine["metadata"]["name"] == name:
                return machine_chain(machine, picture.business, picture.place, now_utc())
        if chain := missing_machine_chain(name, picture):
            return chain
        known += [host["name"] for pool in picture.pools for host in pool["spec"].get("hosts") or ()]
    hint = near_hint(name, known, f"kok get machines -n {meta.namespace} lists them")
    raise KokError(ErrorCode.NotFound, f"there is no machine {name} in namespace {meta.namespace}", hint)
