"""`kok history`: what was changed, by whom, when, from what to what, why, with which leave, and how it ended. Reads only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from meta_cluster.cli.options import Access, ContextOption, KubeconfigOption
from meta_cluster.cli.upgrade_options import complete_cluster, complete_rollout

if TYPE_CHECKING:
    from meta_cluster.cli.history_view import Entry

FORMATS = ("wide", "json", "jsonl", "yaml")


def complete_subject(incomplete: str) -> list[str]:
    """Clusters and rollouts."""
    return [*complete_cluster(incomplete), *complete_rollout(incomplete)]


def history(
    name: Annotated[
        str,
        typer.Argument(
            help="A Cluster (name or namespace/name) or a FleetRollout; cluster/NAME or rollout/NAME where both have the name.",
            show_default=False,
            autocompletion=complete_subject,
        ),
    ] = "",
    namespace: Annotated[
        str,
        typer.Option("--namespace", "-n", help="Only clusters and pools of this namespace; default the whole fleet.", show_default=False),
    ] = "",
    limit: Annotated[int, typer.Option("--limit", help="Only the newest so many; 0: all.", min=0)] = 0,
    output: Annotated[
        str, typer.Option("--output", "-o", help="wide, json, jsonl (one JSON object a line) or yaml.", show_default=False)
    ] = "",
    kubeconfig: KubeconfigOption = "",
    context: ContextOption = "",
) -> None:
    """Show the records of changes, oldest first: of the fleet, one cluster, or one rollout.

    Examples:

      kok history

      kok history -n demo

      kok history demo -n demo -o wide

      kok history rollout/october -o jsonl > october.jsonl
    """
    show_history(Access(kubeconfig, context, namespace), name, output, limit)


def show_history(access: Access, name: str, output: str, limit: int) -> None:
    """Read, choose, print."""
    import json

    from meta_cluster.cli.access import run
    from meta_cluster.cli.console import say, table_width, tell, width
    from meta_cluster.cli.history_view import history_table, story_text
    from meta_cluster.cli.output import Output, structured
    from meta_cluster.cli.tables import rendered
    from operators.errors import ErrorCode, KokError

    if output and output not in FORMATS:
        raise KokError(ErrorCode.Usage, f"-o {output}: unknown output format here", f"one of {', '.join(FORMATS)}")
    entries = run(_entries(access, name))[-limit:]
    if output == "jsonl":
        say("\n".join(json.dumps(each, sort_keys=True) for each in entries)) if entries else None
    elif output in ("json", "yaml"):
        say(structured([dict(each) for each in entries], Output(output)))
    elif not entries:
        tell("No records found.")
    elif output == "wide":
        say(rendered(history_table(entries, wide=True)))
    elif any(each["kind"] in ("Event", "Order") for each in entries):
        say(story_text(entries, width()))
    else:
        say(rendered(history_table(entries, wide=False), width=table_width()))


async def _entries(access: Access, name: str) -> list[Entry]:
    """Records that are about the name; KokError NotFound for a name that nothing has."""
    from meta_cluster.cli.access import open_meta
    from meta_cluster.cli.history_view import NOT_REPORTED, in_order, is_about, names_of, under_way, with_outcomes
    from meta_cluster.cli.near import near_hint
    from meta_cluster.cli.rollout_acts import ROLLOUT
    from meta_cluster.cli.rollout_follow import RELEASE
    from operators.api.rollout import FleetRollout
    from operators.cluster_operator.cluster.kinds import GRANT
    from operators.cluster_operator.rollout.records import read_history, read_story
    from operators.errors import ErrorCode, KokError
    from operators.services.ledger import SYSTEM_NAMESPACE

    if access.namespace and name.startswith("rollout/"):
        raise KokError(ErrorCode.Usage, f"-n {access.namespace}: a FleetRollout is in no namespace", f"kok history {name}")
    async with open_meta(access) as meta:
        ended = await read_history(meta.kube, SYSTEM_NAMESPACE)
        releases = (await meta.kube.list(RELEASE)).items
        found = [each for each in (*ended, *under_way(releases, ended)) if is_about(each, name, access.namespace)]
        if any(grant["outcome"] == NOT_REPORTED for each in found for grant in each.get("grants") or ()):
            found = with_outcomes(found, (await meta.kube.list(GRANT)).items)
        alone = name.removeprefix("rollout/")
        rollout = await meta.kube.get(ROLLOUT.ref(alone)) if alone and "/" not in alone and not access.namespace else None
        if rollout:
            found += await read_story(meta.kube, SYSTEM_NAMESPACE, FleetRollout.parse(rollout))
    if name and not found and rollout is None:
        known = [known for each in (*ended, *under_way(releases, ended)) for known in names_of(each)]
        hint = near_hint(name, known, "kok history shows all records; kok get clusters -A the clusters")
        place = f" in namespace {access.namespace}" if access.namespace else ""
        raise KokError(ErrorCode.NotFound, f"nothing is recorded of {name}{place}", hint)
    return in_order(found)
