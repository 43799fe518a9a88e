"""`kok budget`: what may be done at once and per hour, who holds it, and why something would be denied. Freezes and settles; decides nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from meta_cluster.cli.options import (
    Access,
    AsGroupOption,
    AsOption,
    ClusterOption,
    ContextOption,
    KubeconfigOption,
    NamespaceOption,
    YesOption,
)

if TYPE_CHECKING:
    from meta_cluster.cli.budget_view import Answer

app = typer.Typer()
OutputOption = Annotated[str, typer.Option("--output", "-o", help="json or yaml.", show_default=False)]
TableOutput = Annotated[str, typer.Option("--output", "-o", help="wide, json or yaml.", show_default=False)]
Reason = Annotated[str, typer.Option("--reason", help="Why; shown to everybody who is denied.")]


@app.callback(invoke_without_command=True)
def budget(words: typer.Context, kubeconfig: KubeconfigOption = "", context: ContextOption = "", output: TableOutput = "") -> None:
    """Show limits of dangerous acts: every budget and each scope that uses it, used, free, by whom, when free.

    Examples:

      kok budget

      kok budget explain Drain worker-1 -n demo

      kok budget freeze all-changes --reason "incident 42" --for 2h
    """
    if words.invoked_subcommand:
        return
    from meta_cluster.cli.access import run
    from meta_cluster.cli.budget_view import notes_text, overview, rows_data, rows_table
    from meta_cluster.cli.console import say, table_width, width
    from meta_cluster.cli.output import Output, output_named, structured
    from meta_cluster.cli.tables import rendered
    from meta_cluster.cli.times import now_utc

    wanted = output_named(output, Output.Wide, Output.Json, Output.Yaml)
    rows = run(overview(Access(kubeconfig, context)))
    if wanted is Output.Table:
        say(rendered(rows_table(rows), width=table_width()) + "\n" + notes_text(rows, now_utc(), width()))
    elif wanted is Output.Wide:
        say(rendered(rows_table(rows, wide=True)))
    else:
        say(structured(rows_data(rows), wanted))


@app.command()
def explain(
    operation: Annotated[str, typer.Argument(help="Drain, Reboot, DeleteMachine, RestartMaster, UpgradePlane, ...")],
    target: Annotated[str, typer.Argument(help="Name of the machine; of the pod for RestartMaster; of the Cluster for UpgradePlane.")],
    namespace: NamespaceOption = "",
    cluster: ClusterOption = "",
    purpose: Annotated[str, typer.Option("--purpose", help="Forward, Rollback or Repair.")] = "Forward",
    output: OutputOption = "",
    kubeconfig: KubeconfigOption = "",
    context: ContextOption = "",
) -> None:
    """Say what the risk centre would answer now, budget by budget; asks for nothing and changes nothing. Exit code 1 if it would deny.

    Examples:

      kok budget explain Drain worker-1 -n demo

      kok budget explain RestartMaster demo-etcd-0 -n demo
    """
    from meta_cluster.cli.access import run
    from meta_cluster.cli.budget_view import Question, answer_text, answered
    from meta_cluster.cli.console import say
    from meta_cluster.cli.output import Output, output_named, structured

    wanted = output_named(output, Output.Json, Output.Yaml)
    question = Question(operation, target, cluster, purpose)
    answer: Answer = run(answered(Access(kubeconfig, context, namespace), question))
    say(answer_text(answer) if wanted is Output.Table else structured(answer.data(), wanted))
    if not answer.allowed:
        raise typer.Exit(1)


@app.command()
def freeze(
    name: Annotated[str, typer.Argument(help="OperationBudget; all-changes stops everything that goes forward.")],
    reason: Reason,
    duration: Annotated[str, typer.Option("--for", help="Until when, from now: 30m, 2h, 3d.")],
    scope: Annotated[
        list[str] | None,
        typer.Option(
            "--scope", help="Only there, as `kok budget` names it; can be given more than once. Default: everywhere.", show_default=False
        ),
    ] = None,
    disable_breaker: Annotated[bool, typer.Option("--disable-breaker", help="Instead of freezing: keep its breaker from opening.")] = False,
    kubeconfig: KubeconfigOption = "",
    context: ContextOption = "",
) -> None:
    """Deny everything that goes forward under a budget until a given time. Rollbacks and repairs go on; it ends by itself.

    Examples:

      kok budget freeze machines-per-pool --reason "network works" --for 2h

      kok budget freeze masters-per-cluster --scope "cluster demo/demo" --reason "month's end" --for 2d
    """
    from meta_cluster.cli.access import run
    from meta_cluster.cli.budget_acts import held
    from meta_cluster.cli.console import say

    mode = "Disabled" if disable_breaker else "ForcedOpen"
    say(run(held(Access(kubeconfig, context), name, mode=mode, reason=reason, duration=duration, scopes=scope or ())))


@app.command()
def unfreeze(
    name: Annotated[str, typer.Argument(help="OperationBudget.")], kubeconfig: KubeconfigOption = "", context: ContextOption = ""
) -> None:
    """Take a freeze back before its time. Nothing that was denied is replayed: who still wants to act asks again.

    Example:

      kok budget unfreeze machines-per-pool
    """
    from meta_cluster.cli.access import run
    from meta_cluster.cli.budget_acts import released
    from meta_cluster.cli.console import say

    say(run(released(Access(kubeconfig, context), name)))


@app.command()
def close(
    name: Annotated[str, typer.Argument(help="OperationBudget.")],
    reason: Reason,
    scope: Annotated[str, typer.Option("--scope", help="Only there, as `kok budget` names it; default: everywhere.")] = "",
    kubeconfig: KubeconfigOption = "",
    context: ContextOption = "",
) -> None:
    """Close an open breaker before its time: what opened it was looked at and is dealt with. What comes later opens it again.

    Example:

      kok budget close plane-upgrades-per-cluster --scope "cluster demo/demo" --reason "the canary is back, the next version is built"
    """
    from meta_cluster.cli.access import run
    from meta_cluster.cli.budget_acts import closed
    from meta_cluster.cli.console import say

    say(run(closed(Access(kubeconfig, context), name, scope=scope, reason=reason)))


@app.command()
def settle(
    grant: Annotated[str, typer.Argument(help="Name of the OperationGrant whose holder is gone.")],
    outcome: Annotated[str, typer.Option("--outcome", help="Succeeded, Failed or Cancelled: what you saw at the target.")],
    namespace: NamespaceOption = "",
    yes: YesOption = False,
    kubeconfig: KubeconfigOption = "",
    context: ContextOption = "",
    user: AsOption = "",
    groups: AsGroupOption = None,
) -> None:
    """Report the end of an act in the place of its holder, which frees its slot. Look at the target first: somebody may still be acting on it.

    Admission lets only the group kok:break-glass do it; --as and --as-group take that group where RBAC allows it.

    Example:

      kok budget settle drain-worker-1-0a1b2c-0 -n demo --outcome Failed --as jane --as-group system:masters --as-group kok:break-glass
    """
    from meta_cluster.cli.access import run
    from meta_cluster.cli.budget_acts import settled
    from meta_cluster.cli.console import confirm, say

    confirm(f"reports {grant} as {outcome} and frees its slot, whatever its holder is doing", yes=yes)
    say(run(settled(Access(kubeconfig, context, namespace, user, tuple(groups or ())), grant, outcome)))
