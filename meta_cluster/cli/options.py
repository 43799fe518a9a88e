"""Options that verbs share, and how they are spelled. Types, and what the shell may complete."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

KubeconfigOption = Annotated[
    str, typer.Option("--kubeconfig", help="Kubeconfig of the meta cluster; default $KUBECONFIG, then ~/.kube/config.", show_default=False)
]
ContextOption = Annotated[str, typer.Option("--context", help="Context in it; default its current one.", show_default=False)]
NamespaceOption = Annotated[str, typer.Option("--namespace", "-n", help="Namespace; default the context's.", show_default=False)]
ClusterOption = Annotated[
    str, typer.Option("--cluster", "-c", help="Business cluster, for what lives in it (machines).", show_default=False)
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
AsOption = Annotated[str, typer.Option("--as", help="Act as this user (impersonation, as kubectl does it).", show_default=False)]
AsGroupOption = Annotated[list[str] | None, typer.Option("--as-group", help="And in these groups; may be repeated.", show_default=False)]


def complete_kind(incomplete: str) -> list[str]:
    """Kinds for the shell's completion."""
    from meta_cluster.cli.kinds import ALL, NAMED

    return [word for word in (ALL, *(kind.plural for kind in NAMED)) if word.startswith(incomplete)]


@dataclass(frozen=True, slots=True)
class Access:
    """Which meta cluster, as whom, and which namespace: what the shared options said."""

    kubeconfig: str = ""
    context: str = ""
    namespace: str = ""
    user: str = ""
    """Whom to act as (--as); empty: as whom the kubeconfig says."""
    groups: tuple[str, ...] = ()
    """In which groups, with `user`."""
