"""`kok rollout`: how rollouts stand, and a person's orders to them, legal in every state. Writes orders only; the operators decide what follows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from meta_cluster.cli.options import Access, ContextOption, KubeconfigOption
from meta_cluster.cli.upgrade_options import NameArgument, OutputOption, ReasonOption, TimeoutOption

if TYPE_CHECKING:
    from meta_cluster.cli.output import Output
    from meta_cluster.cli.rollout_acts import Change

app = typer.Typer()
ListOutput = Annotated[str, typer.Option("--output", "-o", help="wide, json, yaml or name.", show_default=False)]
HistoryOutput = Annotated[
    str, typer.Option("--output", "-o", help="wide, json, jsonl (one JSON object a line) or yaml.", show_default=False)
]
FollowOption = Annotated[bool, typer.Option("--follow", "-f", help="Stay and watch it to its end.")]


@app.callback(invoke_without_command=True)
def rollout(words: typer.Context, kubeconfig: KubeconfigOption = "", context: ContextOption = "", output: ListOutput = "") -> None:
    """Show changes over many clusters, how they stand, or give one an order.

    Examples:

      kok rollout

      kok rollout status october --follow

      kok rollout pause october --reason "incident 42"
    """
    if not words.invoked_subcommand:
        list_rollouts(output, kubeconfig, context)


@app.command("list")
def list_rollouts(output: ListOutput = "", kubeconfig: KubeconfigOption = "", context: ContextOption = "") -> None:
    """Show all rollouts.

    Example:

      kok rollout list
    """
    from meta_cluster.cli.get import get

    get("fleetrollouts", None, "", False, "", "", output, False, kubeconfig, context)


@app.command()
def status(
    name: NameArgument,
    follow: FollowOption = False,
    timeout: TimeoutOption = "0",
    output: OutputOption = "",
    kubeconfig: KubeconfigOption = "",
    context: ContextOption = "",
) -> None:
    """Show a rollout as a tree: stages, members, verdicts, why it waits; with --follow to its end.

    Exit codes with --follow: 0 done, 1 failed or taken back, 4 timed out, 130 interrupted (it goes on).

    Examples:

      kok rollout status october

      kok rollout status october --follow --timeout 2h
    """
    from meta_cluster.cli.access import run
    from meta_cluster.cli.console import say
    from meta_cluster.cli.output import Output, output_named
    from meta_cluster.cli.rollout_follow import follow as stay
    from meta_cluster.cli.rollout_wish import seconds_of

    wanted, access = output_named(output, Output.Json, Output.Yaml), Access(kubeconfig, context)
    patience = seconds_of(timeout, "--timeout")
    if follow:
        raise typer.Exit(stay(access, name, patience))
    say(run(_looked_at(access, name, wanted)))


async def _looked_at(access: Access, name: str, wanted: Output) -> str:
    import sys

    from meta_cluster.cli.access import open_meta
    from meta_cluster.cli.console import is_coloured, width
    from meta_cluster.cli.output import Output, data_text
    from meta_cluster.cli.rollout_acts import rollout_named
    from meta_cluster.cli.rollout_follow import lag_words
    from meta_cluster.cli.rollout_view import OVER, phase_of, rollout_tree
    from meta_cluster.cli.times import now_utc
    from meta_cluster.cli.tree import rendered

    async with open_meta(access) as meta:
        found = await rollout_named(meta, name)
        if wanted is not Output.Table:
            return data_text([found], wanted, single=True)
        lag = await lag_words(meta, name) if phase_of(found) in OVER else ""
    tree = rendered(rollout_tree(found, now_utc()), width=width(), coloured=is_coloured(sys.stdout))
    return f"{tree}\n{lag}" if lag else tree


@app.command()
def pause(name: NameArgument, reason: ReasonOption = "", kubeconfig: KubeconfigOption = "", context: ContextOption = "") -> None:
    """Finish what is in hand and start nothing new, forward or back.

    Example:

      kok rollout pause october --reason "incident 42"
    """
    from meta_cluster.cli import rollout_acts

    _order(Access(kubeconfig, context), name, rollout_acts.pause, reason, "is told to pause; kok rollout resume lets it go on")


@app.command()
def resume(
    name: NameArgument,
    accept: Annotated[
        list[str] | None,
        typer.Option(
            "--accept",
            help="A failed stage that does not matter; rollback: past what going back did not help; harm: although it made it worse. Repeatable.",
        ),
    ] = None,
    reason: ReasonOption = "",
    kubeconfig: KubeconfigOption = "",
    context: ContextOption = "",
) -> None:
    """Go on after a pause, or past a failure that a person accepts.

    Examples:

      kok rollout resume october

      kok rollout resume october --accept canary --reason "known, harmless"
    """
    from functools import partial

    from meta_cluster.cli import rollout_acts

    _order(Access(kubeconfig, context), name, partial(rollout_acts.resume, accept=tuple(accept or ())), reason, "is told to go on")


@app.command()
def approve(
    name: NameArgument,
    stage: Annotated[str, typer.Argument(help="Stage to say yes to; default the next that waits.", show_default=False)] = "",
    reason: ReasonOption = "",
    kubeconfig: KubeconfigOption = "",
    context: ContextOption = "",
) -> None:
    """Say yes to a stage that waits for approval.

    Example:

      kok rollout approve october rest --reason "canary is fine"
    """
    from functools import partial

    from meta_cluster.cli import rollout_acts

    _order(Access(kubeconfig, context), name, partial(rollout_acts.approve, stage=stage), reason, "has the approval")


@app.command()
def abort(name: NameArgument, reason: ReasonOption = "", kubeconfig: KubeconfigOption = "", context: ContextOption = "") -> None:
    """Stop, and take back what this rollout changed. It cannot be revoked.

    Example:

      kok rollout abort october --reason "customers complain"
    """
    from meta_cluster.cli import rollout_acts

    _order(Access(kubeconfig, context), name, rollout_acts.abort, reason, "is told to stop and to take back what it changed")


@app.command()
def undo(
    name: NameArgument,
    reason: ReasonOption = "",
    parallel: Annotated[
        int | None,
        typer.Option(
            "--parallel",
            min=1,
            max=100,
            help="Members on their way back at once; default: the most that a stage allows.",
            show_default=False,
        ),
    ] = None,
    kubeconfig: KubeconfigOption = "",
    context: ContextOption = "",
) -> None:
    """Take back what this rollout changed, also when it has ended well. It stops when going back makes fewer pods than before.

    Examples:

      kok rollout undo october --reason "breaks the billing jobs"

      kok rollout undo october --parallel 10
    """
    from functools import partial

    from meta_cluster.cli import rollout_acts

    change = partial(rollout_acts.undo, parallel=parallel)
    _order(Access(kubeconfig, context), name, change, reason, "is told to take back what it changed")


@app.command()
def history(name: NameArgument, output: HistoryOutput = "", kubeconfig: KubeconfigOption = "", context: ContextOption = "") -> None:
    """Show what happened in a rollout: orders, stages, verdicts with their numbers, members, outcome.

    Example:

      kok rollout history october
    """
    from meta_cluster.cli.history import show_history

    show_history(Access(kubeconfig, context), f"rollout/{name}", output, 0)


def _order(access: Access, name: str, change: Change, reason: str, words: str) -> None:
    from meta_cluster.cli.access import run
    from meta_cluster.cli.console import say
    from meta_cluster.cli.rollout_acts import ordered
    from meta_cluster.cli.rollout_view import come_back

    run(ordered(access, name, change, reason))
    say(f"FleetRollout {name} {words}\n  follow it   {come_back(name)}")
