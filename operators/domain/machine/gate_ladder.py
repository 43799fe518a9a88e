"""The rungs that close a node, show its gates on it, open it, and cordon it when a gate is lost later. Pure; called by the ladder.

Closing (the taint) hurts nothing that runs and is never asked for. Opening needs every gate at once. Cordoning an open node takes capacity
away, so it needs leave, never happens to the last open node of a pool, and is given up when the gates are back: only kok's own claim.
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta

from operators.api.pending import Effect
from operators.api.risk import Outcome
from operators.domain.machine.cancelled import forgotten
from operators.domain.machine.gate_mirror import mirror_step
from operators.domain.machine.gates import Evidence, GateResult, boot_of, close_reason, gate_results
from operators.domain.machine.host import HostReport
from operators.domain.machine.node import NodeFacts, close_patch, open_patch, uncordon_patch
from operators.domain.machine.packages import packages_broken, packages_hold
from operators.domain.machine.steps import CordonNode, OpenNode, PatchNode, Rung, SettleGrants, Step, Wait, Workflow
from operators.domain.machine.times import parse_time
from operators.domain.machine.view import KUBELET, MachineView

ASKING_AT_ONCE = 3
"""Machines of a pool that ask for leave to be cordoned at the same time; the others wait for them, so that a lost reporter of 200 machines
does not flood the API."""
LOOK_AGAIN = 15.0
OPENS = "opens the node: packages match, it is Ready, every gate holds"


def evidence_of(view: MachineView) -> Evidence:
    """What the machine's gates are judged by."""
    business = view.business
    return Evidence(view.now, business.node, boot_of(business.node, _boot_began(view)), business.reports, business.unprotected)


def _boot_began(view: MachineView) -> datetime | None:
    """When the host's boot began, by our clock, as the last look at it says; None if that was not of the boot that the Node names."""
    report, node = view.report, view.node
    if view.probe is None or report is None or report.uptime_seconds is None or node is None or report.boot_id != node.boot_id:
        return None
    return view.probe.at - timedelta(seconds=report.uptime_seconds)


def listed_gates(view: MachineView) -> tuple[GateResult, ...]:
    """Every listed gate, judged."""
    return gate_results(view.gates, evidence_of(view))


def closing(view: MachineView) -> Step | None:
    """The not-ready taint goes back on as soon as the node must take no new pods."""
    if view.node is None or view.node.is_closed or view.is_leaving or view.wish.packages is None or view.owned.mine is None:
        return None
    why = close_reason(view.node, packages_broken(view)) or _in_maintenance(view)
    return PatchNode(reason=f"closed to new pods: {why}", patch=close_patch(view.node), rung=Rung.Gates) if why else None


def _in_maintenance(view: MachineView) -> str:
    """Once it is cordoned with leave: somebody may boot it now, and it is opened only after every gate was judged anew."""
    node = view.node
    cordoned = node is not None and node.unschedulable and Workflow.maintenance in node.cordon_claims
    return "it is in maintenance and may be booted" if view.drain_workflow is Workflow.maintenance and cordoned else ""


def mirror(view: MachineView) -> Step | None:
    """The Node shows what its reports say, so that whoever watches Nodes needs nothing of kok."""
    return mirror_step(view.node, listed_gates(view), view.now) if view.node else None


def uncordon(view: MachineView) -> Step | None:
    """kok lifts only what kok put on, and only when nothing of ours wants the node empty or closed."""
    if view.node is None:
        return None
    lost = any(not gate.is_open for gate in listed_gates(view))
    wanted = {view.drain_workflow, Workflow.gate if lost else None}
    over = frozenset(workflow.value for workflow in Workflow if workflow not in wanted)
    if patch := uncordon_patch(view.node, over):
        return PatchNode(reason="gives up kok's cordon: its work is done", patch=patch, rung=Rung.Gates)
    patch = forgotten(view)
    return PatchNode(reason="forgets what was cancelled: nobody wants it any more", patch=patch, rung=Rung.Gates) if patch else None


def gates(view: MachineView) -> Step | None:
    """The node opens when kok's own gates and every listed one hold; one that is lost later cordons it, with leave."""
    node = view.node
    if node is None or (node.is_closed and view.drain_workflow):
        return None
    own, closed = _own_gates(view), [gate for gate in listed_gates(view) if not gate.is_open]
    if node.is_closed:
        why = own or (closed[0].message if closed else "")
        return _wait(view, f"takes no new pods: {why}") if why else _open(view)
    if own:
        return _wait(view, f"is open, but: {own}")
    return _lost(view, closed) if closed else None


def _open(view: MachineView) -> Step | None:
    if view.node is None:
        return None
    return OpenNode(reason=OPENS, after=2.0, patch=open_patch(view.node), rung=Rung.Gates)


def _own_gates(view: MachineView) -> str:
    node, report = view.node, view.report
    if node is None or report is None:
        return "nothing is known of the host"
    if not node.is_ready:
        return f"the node is not Ready: {node.ready.message or node.ready.reason or node.ready.status}"
    if node.boot_id != report.boot_id:
        return "the host was booted anew since it was looked at"
    return packages_hold(view, least=Effect.NoEffect) or _unheard(node, report)


def _unheard(node: NodeFacts, report: HostReport) -> str:
    """The API server believes a kubelet that is dead for forty seconds more: what counts is that the one which runs now has reported.

    Both times are by the host's clock: the kubelet stamps its reports itself. The first thing a kubelet does is to report.
    """
    kubelet = report.packages.get(KUBELET)
    unit = kubelet.units.get(f"{KUBELET}.service") if kubelet else None
    began = unit.since if unit else None
    heard = parse_time(node.ready.heartbeat)
    if began is None or (heard is not None and heard.timestamp() >= math.floor(began)):
        return ""
    return "the kubelet has not reported since it was started"


def _lost(view: MachineView, closed: list[GateResult]) -> Step | None:
    """What becomes of an open node on which a listed gate does not hold."""
    node, lost = view.node, next((gate for gate in closed if gate.is_lost), None)
    claimed = node is not None and Workflow.gate in node.cordon_claims
    if node is None or node.unschedulable:
        return _wait(view, f"takes no new pods: {closed[0].message}")
    if claimed:
        return _overruled(view, closed[0].message)
    if lost is None:
        return _wait(view, f"is open, and stays so: {closed[0].message}")
    if not view.business.mates.open:
        return _wait(view, f"stays open, as the last open node of its pool, although {lost.message}")
    if view.business.mates.asking >= ASKING_AT_ONCE:
        return _wait(view, f"is open, but {lost.message}; it is cordoned after others of its pool")
    return CordonNode(
        reason=f"cordons {view.name}: {lost.message}", after=min(LOOK_AGAIN, view.times.probe), rung=Rung.Gates, gate=lost.message
    )


def _overruled(view: MachineView, message: str) -> Step:
    """A person lifted kok's cordon: that stands until the gate was back once, and the leave is given back."""
    if held := tuple(grant.name for grant in view.grants if grant.workflow == Workflow.gate and grant.granted_at):
        return SettleGrants(
            reason="gives back leave to cordon: a person uncordoned it", grants=held, outcome=Outcome.Cancelled, rung=Rung.Gates
        )
    return _wait(view, f"is open because a person uncordoned it, although {message}")


def _wait(view: MachineView, words: str) -> Wait:
    return Wait(reason=words, after=min(LOOK_AGAIN, view.times.probe), rung=Rung.Gates)
