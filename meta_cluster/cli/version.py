"""`kok version`: of this client, of the operators, of the meta cluster. The client's comes first and needs nothing."""

from __future__ import annotations

from typing import Annotated

import typer

from meta_cluster.cli.options import Access, ContextOption, KubeconfigOption
from meta_cluster.own_version import own_version


def version(
    client: Annotated[bool, typer.Option("--client", help="Only this client's; asks no server.")] = False,
    kubeconfig: KubeconfigOption = "",
    context: ContextOption = "",
) -> None:
    """Show versions: client, operators, meta cluster. The exit code is 1 if the meta cluster cannot be asked, as kubectl's.

    Examples:

      kok version

      kok version --client
    """
    from meta_cluster.cli.console import say

    say(f"client         {own_version()}")
    if client:
        return
    from meta_cluster.cli.access import run

    operators, server = run(_ask(Access(kubeconfig, context)))
    say(f"operators      {operators}\nmeta cluster   {server}")


async def _ask(access: Access) -> tuple[str, str]:
    import json

    from meta_cluster.cli.access import open_meta
    from operators.ports.kube import Kind

    async with open_meta(access) as meta:
        server = json.loads(await meta.kube.read_path("/version"))
        deployment = await meta.kube.get(Kind("apps/v1", "Deployment").ref("kok-cluster-operator", "kok-system"))
    image = deployment["spec"]["template"]["spec"]["containers"][0]["image"] if deployment else "not installed"
    return str(image), f"{server['gitVersion']} at {meta.server}"
