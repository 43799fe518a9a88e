"""`kok plan`: what an upgrade would do, answered by the operators (a FleetRollout with mode: Plan that is removed again). Changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from meta_cluster.cli.options import Access, ContextOption, KubeconfigOption
from meta_cluster.cli.upgrade_options import (
    ApproveOption,
    CanaryOption,
    OutputOption,
    ParallelOption,
    SelectorOption,
    SoakOption,
    StagesOption,
    ToOption,
)

if TYPE_CHECKING:
    from meta_cluster.cli.output import Output
    from meta_cluster.cli.rollout_wish import UpgradeWords

PATIENCE = 30.0


def plan(
    to: ToOption = "",
    selector: SelectorOption = "",
    canary: CanaryOption = None,
    stages: StagesOption = "rest",
    soak: SoakOption = "10m",
    max_parallel: ParallelOption = 1,
    approve_each: ApproveOption = False,
    output: OutputOption = "",
    kubeconfig: KubeconfigOption = "",
    context: ContextOption = "",
) -> None:
    """Show what `kok upgrade` with the same options would do: members in order, stages, effects, budgets, refusals. Exit code 1 if it is refused.

    Example:

      kok plan --to kubernetes-1.35.4-r1 --selector env=prod --canary c1 --stages 5%,25%,rest
    """
    from meta_cluster.cli.output import Output, output_named

    wanted = output_named(output, Output.Json, Output.Yaml)
    words = words_of(to, selector, canary, stages, soak, max_parallel, approve_each, False, "")
    show_plan(Access(kubeconfig, context), words, wanted, start="kok upgrade with the same options")


def words_of(
    to: str,
    selector: str,
    canary: list[str] | None,
    stages: str,
    soak: str,
    max_parallel: int,
    approve_each: bool,
    pause_on_fail: bool,
    reason: str,
) -> UpgradeWords:
    """The options, refused where one that has no default is missing."""
    from meta_cluster.cli.rollout_wish import UpgradeWords
    from operators.errors import ErrorCode, KokError

    if not to:
        raise KokError(ErrorCode.Usage, "no --to: to which version?", "kubectl get clusterpackageversions.kok.dev lists them")
    return UpgradeWords(to, selector, tuple(canary or ()), stages, soak, max_parallel, approve_each, pause_on_fail, "", reason)


def show_plan(access: Access, words: UpgradeWords, wanted: Output, *, start: str) -> None:
    """Ask and print; exit code 1 for a plan that would be refused as a whole. `start`: how it is begun."""
    from dataclasses import asdict

    from meta_cluster.cli.access import run
    from meta_cluster.cli.console import say, width
    from meta_cluster.cli.output import Output, structured
    from meta_cluster.cli.plan_view import is_idle, is_refused, plan_text, refused_in
    from meta_cluster.cli.rollout_acts import planned
    from meta_cluster.cli.rollout_view import phase_of

    answer, budgets, lost = run(planned(access, words, PATIENCE))
    status, refused = answer.get("status") or {}, phase_of(answer) == "Refused"
    if wanted is not Output.Table:
        data = {
            "spec": answer["spec"],
            "status": status,
            "budgets": [asdict(each) for each in budgets],
            "lost": [asdict(each) for each in lost],
            "refused": refused_in(answer, budgets),
        }
        say(structured(data, wanted))
    elif refused:
        say(f"Refused   {status.get('message', '')}")
    else:
        end = "Nothing to do: nobody is left to change" if is_idle(answer) else f"Start with   {start}"
        end = "Nothing would be started: correct what is refused, or leave it out of the selector" if is_refused(answer) else end
        say(f"{plan_text(answer, budgets, lost, width=width())}\n\n{end}")
    if refused or is_refused(answer):
        raise typer.Exit(1)
