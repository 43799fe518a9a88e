"""A person's uncordon cancels what kok had queued for the node. Pure; called by the drain ladder and the machine ladder.

kok's own cordon puts claim and cordon on the Node in one write, so a claim on a node that takes pods means that a person lifted it. The claim is
then turned into a note of what was cancelled (`kok.dev/cancelled-drains`); while it names the same work, that node is not cordoned for it again.
The note goes when the work changes, when nobody wants it any more, or when a person removes it.
"""

from __future__ import annotations

import hashlib
from typing import Any

from operators.api.risk import Outcome
from operators.domain.machine.node import CORDON_CLAIMS, NodeFacts
from operators.domain.machine.steps import PatchNode, Rung, SettleGrants, Step, UnmarkPods, Wait, Workflow
from operators.domain.machine.view import MachineView
from operators.errors import ErrorCode

CANCELLED = "kok.dev/cancelled-drains"


def cancelled(view: MachineView, workflow: Workflow, rung: Rung) -> Step | None:
    """What is left to do, or to wait for, after a person uncordoned the node while kok emptied it; None if nobody did."""
    node = view.node
    if node is None:
        return None
    work = _work(view, workflow)
    if workflow.value in node.cordon_claims and not node.unschedulable:
        words = f"{view.name} was uncordoned by hand while kok emptied it: its {workflow.value} is cancelled"
        return PatchNode(reason=words, patch=_note_patch(node, {**notes_of(node), workflow.value: work}), rung=rung)
    if notes_of(node).get(workflow.value) != work:
        return None
    return _over(view, workflow, rung)


def _over(view: MachineView, workflow: Workflow, rung: Rung) -> Step:
    """Nothing that was queued stays: marks on pods, leave to drain."""
    words = (
        f"the {workflow.value} of {view.name} was cancelled: somebody uncordoned it; to go on: "
        f"`kubectl annotate node {view.name} {CANCELLED}-`"
    )
    marked = tuple(pod for pod in view.business.pods or () if pod.is_marked and not pod.is_leaving)
    if marked:
        return UnmarkPods(reason=words, pods=marked, rung=rung)
    held = tuple(grant.name for grant in view.grants if grant.workflow == workflow and grant.granted_at)
    if held:
        return SettleGrants(reason=words, grants=held, outcome=Outcome.Cancelled, rung=rung)
    return Wait(reason=words, after=view.times.probe, rung=rung, stalled=ErrorCode.DrainCancelled)


def forgotten(view: MachineView) -> dict[str, Any]:
    """The patch that removes notes of work that nobody wants now; empty if there are none."""
    node = view.node
    if node is None or not notes_of(node):
        return {}
    wanted = view.drain_workflow
    kept = {workflow: work for workflow, work in notes_of(node).items() if wanted and workflow == wanted.value}
    return {} if kept == notes_of(node) else {"metadata": {"annotations": {CANCELLED: _written(kept)}}}


def notes_of(node: NodeFacts) -> dict[str, str]:
    """Workflow -> the work that was cancelled."""
    pairs = (entry.partition("=") for entry in node.annotations.get(CANCELLED, "").split(",") if entry)
    return {workflow: work for workflow, _, work in pairs}


def _note_patch(node: NodeFacts, notes: dict[str, str]) -> dict[str, Any]:
    """The claims go, all that were to empty the node: who lifted the cordon lifted everybody's. A gate's claim tells its own story."""
    claims = ",".join(claim for claim in node.cordon_claims if claim == Workflow.gate) or None
    return {"metadata": {"annotations": {CORDON_CLAIMS: claims, CANCELLED: _written(notes)}}}


def _written(notes: dict[str, str]) -> str | None:
    return ",".join(f"{workflow}={work}" for workflow, work in sorted(notes.items())) or None


def _work(view: MachineView, workflow: Workflow) -> str:
    """Stands for the work: an update to other packages is other work."""
    if workflow is not Workflow.update:
        return "asked"
    return hashlib.sha256("\0".join(sorted(view.wish.packages or ())).encode()).hexdigest()[:12]
