"""How a node becomes empty: cordon, mark, evict, wait. Pure; the rungs that need an empty node ask `drain_for`."""

from __future__ import annotations

from operators.api.risk import Operation
from operators.domain.machine.cancelled import cancelled
from operators.domain.machine.drain import PodFacts
from operators.domain.machine.steps import DrainNode, Rung, Step, Wait, Workflow
from operators.domain.machine.view import MachineView

_RUNGS = {Workflow.decommission: Rung.Leaving, Workflow.maintenance: Rung.Maintenance, Workflow.update: Rung.Updating}


def drain_for(view: MachineView, workflow: Workflow, *, operation: Operation = Operation.Drain) -> Step | None:
    """What is left to do until the node is cordoned for `workflow` and empty; None if it is (or a person forced it past its deadline)."""
    node, pods, rung = view.node, view.business.pods, _RUNGS[workflow]
    if node is None:
        return None
    if step := cancelled(view, workflow, rung):
        return step
    if pods is None:
        return Wait(reason="the pods of the node have not been read yet", after=1.0, rung=rung)
    cordoned = node.unschedulable and workflow.value in node.cordon_claims
    overdue = is_overdue(view, workflow)
    if cordoned and (not pods or (overdue and view.wish.force_drain)):
        return None
    marked = cordoned and all(pod.is_marked for pod in pods)
    return DrainNode(
        reason=_words(view, pods, overdue=overdue),
        after=view.times.grant_poll if marked else view.times.migrate_grace,
        rung=rung,
        workflow=workflow,
        operation=operation,
        evict=marked,
        overdue=overdue,
    )


def is_overdue(view: MachineView, workflow: Workflow) -> bool:
    """Whether leave to drain was given longer ago than the deadline."""
    given = [grant.granted_at for grant in view.grants if grant.workflow == workflow and grant.granted_at]
    return bool(given) and (view.now - min(given)).total_seconds() > view.times.drain_deadline


def _words(view: MachineView, pods: tuple[PodFacts, ...], *, overdue: bool) -> str:
    if not pods:
        return f"cordons {view.name}"
    named = ", ".join(str(pod) for pod in pods[:3]) + (f" and {len(pods) - 3} more" if len(pods) > 3 else "")
    if not overdue:
        return f"drains {view.name}: {len(pods)} pods to move ({named})"
    pool = view.wish.pool.metadata.name if view.wish.pool else (view.owned.mine.spec.pool if view.owned.mine else "POOL")
    return (
        f"{view.name} is not empty after {view.times.drain_deadline:.0f} s: {named}; move them, or let them be lost with "
        f"`kubectl annotate machinepool {pool} kok.dev/force-drain={view.name}`"
    )
