"""`kok kubeconfig`: the admin kubeconfig of a business cluster, with the endpoint as it is reached from outside. Reads one Secret, prints it."""

from __future__ import annotations

from typing import Annotated

import typer

from meta_cluster.cli.options import Access, ContextOption, KubeconfigOption, NamespaceOption


def kubeconfig(
    cluster: Annotated[str, typer.Argument(help="The Cluster.")],
    namespace: NamespaceOption = "",
    meta_kubeconfig: KubeconfigOption = "",
    context: ContextOption = "",
) -> None:
    """Print a kubeconfig for a business cluster, as its admin.

    It is a credential: who has the file is admin there until its certificate ends. Keep it from others (umask 077), out of Git and of chats.

    Examples:

      (umask 077; kok kubeconfig demo -n demo > demo.kubeconfig)

      kubectl --kubeconfig demo.kubeconfig get nodes
    """
    from meta_cluster.cli.access import run
    from meta_cluster.cli.console import say

    say(run(_read(Access(meta_kubeconfig, context, namespace), cluster)))


async def _read(access: Access, cluster: str) -> str:
    from meta_cluster.cli.access import kubeconfig_of, open_meta

    async with open_meta(access) as meta:
        return await kubeconfig_of(meta, meta.namespace, cluster)
