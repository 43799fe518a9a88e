"""What must hold before a node takes pods: kok's own gates, Node conditions and condition ConfigMaps. Pure; called by the ladder and the status.

A gate that cannot be judged is closed: missing, stale, malformed, from an earlier boot, or not surely from the registered reporter. What becomes
of an open node whose gate is lost is `gate_ladder`'s; Ready, the boot id and packages close it at once (`close_reason`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from operators.api.pools import RESERVED_GATES, GateSource, ReadinessGate
from operators.domain.machine.node import OPENED_BOOT, NodeFacts
from operators.domain.machine.reports import CONDITIONS_NAMESPACE, GateReport
from operators.domain.machine.times import parse_time

CLOCK_SLACK = timedelta(seconds=60)
"""How far ahead of ours a reporter's clock may be."""


class GateReason(StrEnum):
    """The reason of a gate's condition."""

    Satisfied = "Satisfied"
    NotSatisfied = "NotSatisfied"
    NotReported = "NotReported"
    OtherReporter = "OtherReporter"
    Malformed = "Malformed"
    Stale = "Stale"
    BeforeBoot = "BeforeBoot"
    Reserved = "Reserved"
    ReportsNotProtected = "ReportsNotProtected"


@dataclass(frozen=True, slots=True)
class Boot:
    """The boot that a report must be about. `began` None: not known when, so a report that does not name its boot does not count."""

    id: str
    began: datetime | None = None


@dataclass(frozen=True, slots=True)
class Evidence:
    """What gates are judged by. `unprotected` is why no report can be believed now; empty if those that bind writers are in force."""

    now: datetime
    node: NodeFacts | None
    boot: Boot
    reports: Sequence[GateReport]
    unprotected: str


@dataclass(frozen=True, slots=True)
class GateResult:
    """One gate: open, or closed and why."""

    type: str
    is_open: bool
    reason: GateReason
    message: str
    source: GateSource = GateSource.ConfigMap

    @property
    def is_lost(self) -> bool:
        """Whether an open node may be cordoned for it: not while it is our own eyes that fail, for every machine at once."""
        return not self.is_open and self.reason not in (GateReason.ReportsNotProtected, GateReason.Reserved)


def boot_of(node: NodeFacts | None, began: datetime | None) -> Boot:
    """The boot that the Node names. `began`: when the last look at the host says that it began; of a node that was opened in this boot
    every report that is there was judged in it, so that a host that cannot be looked at for a while loses nothing."""
    if node is None:
        return Boot("")
    opened = node.boot_id != "" and node.annotations.get(OPENED_BOOT, "") == node.boot_id and not node.is_closed
    return Boot(node.boot_id, began or (datetime.min.replace(tzinfo=UTC) if opened else None))


def gate_results(gates: Sequence[ReadinessGate], evidence: Evidence) -> tuple[GateResult, ...]:
    """Every gate judged, in the order in which they are listed."""
    return tuple(
        _node_gate(gate, evidence) if gate.source is GateSource.NodeCondition else _reported_gate(gate, evidence) for gate in gates
    )


def _node_gate(gate: ReadinessGate, evidence: Evidence) -> GateResult:
    def closed(reason: GateReason, words: str) -> GateResult:
        return GateResult(gate.type, False, reason, f"gate {gate.type}{words}", gate.source)

    condition = next((c for c in evidence.node.conditions if c.type == gate.type), None) if evidence.node else None
    if condition is None:
        return closed(GateReason.NotReported, ": the Node has no such condition")
    heard = parse_time(condition.heartbeat)
    if heard is None:
        return closed(GateReason.Malformed, ": the Node's condition has no lastHeartbeatTime, so its age is not known")
    if (evidence.now - heard).total_seconds() > gate.max_age_seconds:
        return closed(GateReason.Stale, f": not reported for more than {gate.max_age_seconds} s")
    if evidence.boot.began is None or heard < evidence.boot.began:
        return closed(GateReason.BeforeBoot, ": not reported since the host was booted")
    if condition.status != "True":
        return closed(GateReason.NotSatisfied, f" is {condition.status}: {condition.message or condition.reason or 'no reason given'}")
    return GateResult(gate.type, True, GateReason.Satisfied, condition.message, gate.source)


def _reported_gate(gate: ReadinessGate, evidence: Evidence) -> GateResult:
    """The first thing that is wrong with the gate, its report, its reporter's Lease, its boot, its status."""
    if evidence.unprotected:
        return GateResult(gate.type, False, GateReason.ReportsNotProtected, f"gate {gate.type}: {evidence.unprotected}")
    own = [report for report in evidence.reports if report.type == gate.type and gate.reporter and report.reporter == gate.reporter]
    if gate.type in RESERVED_GATES:
        reason, words = GateReason.Reserved, " is the kubelet's own condition: read it with source NodeCondition"
    elif not own:
        reason, words = _nobody(gate, evidence.reports)
    elif len(own) > 1:
        names = ", ".join(sorted(report.name for report in own)[:3])
        reason, words = (
            GateReason.Malformed,
            f" is reported more than once by {gate.reporter}: ConfigMaps {names} in {CONDITIONS_NAMESPACE}",
        )
    else:
        reason, words = _judged(gate, own[0], evidence)
    is_open = reason is GateReason.Satisfied
    return GateResult(gate.type, is_open, reason, words if is_open else f"gate {gate.type}{words}")


def _nobody(gate: ReadinessGate, reports: Sequence[GateReport]) -> tuple[GateReason, str]:
    words = f" has not been reported by {gate.reporter or 'anybody'}"
    if faulty := next((report for report in reports if report.reporter == gate.reporter and report.fault), None):
        return GateReason.Malformed, f"{words}; its ConfigMap {CONDITIONS_NAMESPACE}/{faulty.name} {faulty.fault}"
    if other := next((report for report in reports if report.type == gate.type), None):
        return GateReason.OtherReporter, f"{words}; {other.reporter or 'nobody'} reports it instead"
    return GateReason.NotReported, words


def _judged(gate: ReadinessGate, report: GateReport, evidence: Evidence) -> tuple[GateReason, str]:
    where = f": ConfigMap {CONDITIONS_NAMESPACE}/{report.name}"
    if report.fault:
        return GateReason.Malformed, f"{where} {report.fault}"
    if stale := _stale(gate, report, evidence.now):
        return GateReason.Stale, f": reporter {gate.reporter} {stale}"
    if old := _from_before(report, evidence.boot):
        return GateReason.BeforeBoot, f"{where} {old}"
    if report.status != "True":
        return GateReason.NotSatisfied, f" is {report.status}: {report.message or report.reason or 'no reason given'}"
    return GateReason.Satisfied, report.message


def _stale(gate: ReadinessGate, report: GateReport, now: datetime) -> str:
    if report.renewed is None:
        return f"has no Lease in {CONDITIONS_NAMESPACE}"
    if report.renewed - now > CLOCK_SLACK:
        return f"renewed its Lease in the future, at {report.renewed.isoformat(timespec='seconds')}: its clock is wrong"
    if (now - report.renewed).total_seconds() > gate.max_age_seconds:
        return f"renewed no Lease in {CONDITIONS_NAMESPACE} within {gate.max_age_seconds} s"
    return ""


def _from_before(report: GateReport, boot: Boot) -> str:
    """Whether it may speak of an earlier boot. One that names no boot must have been made, not only changed, since this one began."""
    if report.boot_id:
        return "" if boot.id and report.boot_id == boot.id else "is about another boot of the host"
    if boot.began is None or report.created is None or report.created < boot.began:
        return "may be older than the host's boot: let it name its bootID, or make it anew after each boot"
    return ""


def close_reason(node: NodeFacts, packages_hold: str) -> str:
    """Why an open node must take no new pods now; `packages_hold` is why packages do not, empty if they do."""
    if not node.is_ready:
        return f"the node is not Ready: {node.ready.message or node.ready.reason or node.ready.status}"
    if node.annotations.get(OPENED_BOOT, "") != node.boot_id:
        return "the host was booted anew since it was judged"
    return packages_hold
