"""`kok upgrade`: a change over many clusters in stages, as a FleetRollout. Makes one object, or only asks what it would do; the operators do the rest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from meta_cluster.cli.options import Access, ContextOption, KubeconfigOption
from meta_cluster.cli.plan import show_plan, words_of
from meta_cluster.cli.upgrade_options import (
    ApproveOption,
    CanaryOption,
    OnFailOption,
    ParallelOption,
    ReasonOption,
    SelectorOption,
    SoakOption,
    StagesOption,
    TimeoutOption,
    ToOption,
)

if TYPE_CHECKING:
    from meta_cluster.cli.output import Output
    from meta_cluster.cli.rollout_wish import UpgradeWords


def upgrade(
    to: ToOption = "",
    selector: SelectorOption = "",
    canary: CanaryOption = None,
    stages: StagesOption = "rest",
    soak: SoakOption = "10m",
    max_parallel: ParallelOption = 1,
    approve_each: ApproveOption = False,
    pause_on_fail: OnFailOption = False,
    name: Annotated[str, typer.Option("--name", help="Of the FleetRollout; default the version and four digits.", show_default=False)] = "",
    reason: ReasonOption = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show the plan, as `kok plan`.")] = False,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Stay and watch it to its end.")] = False,
    timeout: TimeoutOption = "0",
    output: Annotated[
        str, typer.Option("--output", "-o", help="json or yaml: print the object for Git, and make nothing.", show_default=False)
    ] = "",
    kubeconfig: KubeconfigOption = "",
    context: ContextOption = "",
) -> None:
    """Bring many clusters to another version, in stages, judged after each; what is bad is taken back by itself.

    Makes a FleetRollout; the same object committed to Git does the same. Where everything selected is at that version already, none is made. Exit codes with --follow: 0 done, 1 failed or taken back, 4 timed out, 130 interrupted (it goes on).

    Examples:

      kok upgrade --to kubernetes-1.35.4-r1 --selector env=prod --canary c1 --stages 5%,25%,rest --soak 10m --dry-run

      kok upgrade --to kubernetes-1.35.4-r1 --selector env=prod --canary c1 --stages 5%,25%,rest --follow

      kok upgrade --to kubernetes-1.35.4-r1 --selector env=prod --approve-each -o yaml > rollouts/october.yaml
    """
    from meta_cluster.cli.output import Output, output_named

    wanted = output_named(output, Output.Json, Output.Yaml)
    words = words_of(to, selector, canary, stages, soak, max_parallel, approve_each, pause_on_fail, reason)
    _upgrade(Access(kubeconfig, context), words, Manner(name, dry_run, follow, timeout, wanted))


@dataclass(frozen=True, slots=True)
class Manner:
    """What is to be done with the words, as the options said."""

    name: str
    dry_run: bool
    follow: bool
    timeout: str
    wanted: Output


def _upgrade(access: Access, words: UpgradeWords, manner: Manner) -> None:
    from meta_cluster.cli.access import run
    from meta_cluster.cli.console import say
    from meta_cluster.cli.output import Output, structured
    from meta_cluster.cli.rollout_acts import drafted, started
    from meta_cluster.cli.rollout_view import come_back
    from meta_cluster.cli.rollout_wish import seconds_of

    wanted, patience = manner.wanted, seconds_of(manner.timeout, "--timeout")
    if manner.dry_run:
        show_plan(access, words, wanted, start="the same command without --dry-run")
        return
    if wanted is not Output.Table:
        say(structured(run(drafted(access, manner.name, words)), wanted))
        return
    answer = run(started(access, manner.name, words))
    if isinstance(answer, str):
        say(answer)
        return
    made = str(answer["metadata"]["name"])
    orders = (f"follow it   {come_back(made)}", f"stop it     kok rollout pause {made}", f"take back   kok rollout abort {made}")
    say("\n  ".join([f"FleetRollout {made} is made", *orders]))
    if manner.follow:
        from meta_cluster.cli.rollout_follow import follow

        raise typer.Exit(follow(access, made, patience))
