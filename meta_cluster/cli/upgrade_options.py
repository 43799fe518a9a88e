"""Options that `kok upgrade` and `kok plan` share, and what the shell may complete in them. Types; touches the meta cluster only for completion."""

from __future__ import annotations

from typing import Annotated

import typer

COMPLETION_SECONDS = 2.0


def complete_from(kind: str, incomplete: str) -> list[str]:
    """Names of objects of a kind for the shell; nothing where the meta cluster does not answer at once."""
    import asyncio

    from meta_cluster.cli.access import open_meta
    from meta_cluster.cli.options import Access
    from operators.api.base import API_VERSION
    from operators.errors import KokError
    from operators.ports.kube import Kind

    async def names() -> list[str]:
        async with open_meta(Access()) as meta:
            listing = await meta.kube.list(Kind(API_VERSION, kind), deadline=COMPLETION_SECONDS)
            return sorted(each["metadata"]["name"] for each in listing.items)

    try:
        return [name for name in asyncio.run(names()) if name.startswith(incomplete)]
    except (KokError, OSError):
        return []


def complete_version(incomplete: str) -> list[str]:
    """ClusterPackageVersions."""
    return complete_from("ClusterPackageVersion", incomplete)


def complete_rollout(incomplete: str) -> list[str]:
    """FleetRollouts."""
    return complete_from("FleetRollout", incomplete)


def complete_cluster(incomplete: str) -> list[str]:
    """Clusters."""
    return complete_from("Cluster", incomplete)


ToOption = Annotated[
    str,
    typer.Option(
        "--to",
        help="ClusterPackageVersion that clusters get, or MachinePackageVersion that pools get.",
        show_default=False,
        autocompletion=complete_version,
    ),
]
SelectorOption = Annotated[
    str,
    typer.Option(
        "--selector", "-l", help="Labels of the clusters (or pools): env=prod,zone=z1. Without it nothing is done.", show_default=False
    ),
]
CanaryOption = Annotated[
    list[str] | None,
    typer.Option("--canary", help="Goes first, alone; may be repeated. A name, or namespace/name.", autocompletion=complete_cluster),
]
StagesOption = Annotated[str, typer.Option("--stages", help="Shares of all clusters, rising; rest for all that are left: 5%,25%,rest.")]
SoakOption = Annotated[str, typer.Option("--soak", help="How long each stage is watched before the next: 90s, 10m, 2h.")]
ParallelOption = Annotated[int, typer.Option("--max-parallel", help="Clusters in hand at once; canaries go one by one.", min=1, max=100)]
ApproveOption = Annotated[bool, typer.Option("--approve-each", help="Each stage after the first waits for `kok rollout approve`.")]
OnFailOption = Annotated[bool, typer.Option("--pause-on-fail", help="Wait for a person when a stage fails, instead of taking it back.")]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why; goes into the records.", show_default=False)]
TimeoutOption = Annotated[str, typer.Option("--timeout", help="With --follow: give up watching after so long (exit code 4); 0: never.")]
NameArgument = Annotated[str, typer.Argument(help="Name of the FleetRollout.", autocompletion=complete_rollout)]
OutputOption = Annotated[str, typer.Option("--output", "-o", help="json or yaml.", show_default=False)]
