"""What must hold before a node takes pods: kok's own gates, Node conditions and condition ConfigMaps. Pure; called by the ladder and the status.

A gate that cannot be judged is closed: missing, stale, or not from the registered reporter. Losing a gate later does not close the node
again; Ready, the boot id and packages do (`close_reason`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from operators.api.machines import GateSource, ReadinessGate
from operators.domain.machine.node import OPENED_BOOT, NodeFacts

CONDITIONS_NAMESPACE = "kok-conditions"


@dataclass(frozen=True, slots=True)
class GateReport:
    """One condition ConfigMap of a machine, and when its reporter's Lease was renewed last (None: no Lease)."""

    type: str
    status: str
    message: str
    reporter: str
    renewed: datetime | None


@dataclass(frozen=True, slots=True)
class GateResult:
    """One gate: open, or closed and why."""

    type: str
    is_open: bool
    reason: str
    message: str


def gate_report_of(manifest: Mapping[str, Any], renewed: Mapping[str, datetime]) -> GateReport:
    """A condition ConfigMap as a report; `renewed` is the last renewal by reporter."""
    data = manifest.get("data") or {}
    reporter = data.get("reporter", "")
    return GateReport(data.get("type", ""), data.get("status", ""), data.get("message", ""), reporter, renewed.get(reporter))


def gate_results(
    gates: Sequence[ReadinessGate], *, node: NodeFacts | None, reports: Sequence[GateReport], now: datetime
) -> tuple[GateResult, ...]:
    """Every gate judged, in the order in which they are listed."""
    return tuple(
        _node_gate(gate, node, now) if gate.source is GateSource.NodeCondition else _reported_gate(gate, reports, now) for gate in gates
    )


def _node_gate(gate: ReadinessGate, node: NodeFacts | None, now: datetime) -> GateResult:
    condition = next((c for c in node.conditions if c.type == gate.type), None) if node else None
    if condition is None:
        return GateResult(gate.type, False, "NotReported", f"gate {gate.type}: the Node has no such condition")
    heard = parse_time(condition.heartbeat)
    if heard and (now - heard).total_seconds() > gate.max_age_seconds:
        return GateResult(gate.type, False, "Stale", f"gate {gate.type}: not reported for more than {gate.max_age_seconds} s")
    if condition.status != "True":
        words = condition.message or condition.reason or "no reason given"
        return GateResult(gate.type, False, "NotSatisfied", f"gate {gate.type} is {condition.status}: {words}")
    return GateResult(gate.type, True, "Satisfied", condition.message)


def _reported_gate(gate: ReadinessGate, reports: Sequence[GateReport], now: datetime) -> GateResult:
    same_type = [report for report in reports if report.type == gate.type]
    own = [report for report in same_type if report.reporter == gate.reporter and gate.reporter]
    if not own:
        other = f"; {same_type[0].reporter or 'nobody'} reports it instead" if same_type else ""
        return GateResult(gate.type, False, "NotReported", f"gate {gate.type} has not been reported by {gate.reporter or 'anybody'}{other}")
    report = own[0]
    if report.renewed is None or (now - report.renewed).total_seconds() > gate.max_age_seconds:
        words = f"gate {gate.type}: reporter {gate.reporter} renewed no Lease in {CONDITIONS_NAMESPACE} within {gate.max_age_seconds} s"
        return GateResult(gate.type, False, "Stale", words)
    if len(own) > 1 or report.status != "True":
        return GateResult(gate.type, False, "NotSatisfied", f"gate {gate.type} is {report.status or 'empty'}: {report.message}")
    return GateResult(gate.type, True, "Satisfied", report.message)


def close_reason(node: NodeFacts, packages_hold: str) -> str:
    """Why an open node must take no new pods now; `packages_hold` is why packages do not, empty if they do."""
    if not node.is_ready:
        return f"the node is not Ready: {node.ready.message or node.ready.reason or node.ready.status}"
    if node.annotations.get(OPENED_BOOT, "") != node.boot_id:
        return "the host was booted anew since it was judged"
    return packages_hold


def parse_time(text: str) -> datetime | None:
    """An RFC 3339 time of the API server; None if it is none."""
    try:
        return datetime.fromisoformat(text.replace("Z", "+00:00")) if text else None
    except ValueError:
        return None
