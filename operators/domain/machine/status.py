"""What a Machine shows after a pass, and the verdict that its pool counts. Pure; called by the machine controller. Displays only."""

from __future__ import annotations

from collections.abc import Iterator

from operators.api.base import Condition
from operators.api.machines import MachineStatus, ObservedPackage
from operators.domain.machine.conditions import Observed, conditions_of
from operators.domain.machine.difference import package_difference
from operators.domain.machine.effects import EffectRules
from operators.domain.machine.gate_ladder import listed_gates
from operators.domain.machine.host import DesiredPackage, HostReport
from operators.domain.machine.ladder import refused_requests
from operators.domain.machine.pending import pending_changes
from operators.domain.machine.release import GateVerdict, Verdict
from operators.domain.machine.repairs import repairs_of
from operators.domain.machine.staging import STAGED, staged_of
from operators.domain.machine.staging import condition_of as staging_condition_of
from operators.domain.machine.steps import CordonNode, Done, DrainNode, Rung, Step, Wait
from operators.domain.machine.view import MachineView
from operators.errors import ErrorCode, KokError

GRANT_WAITS = "GrantWaits"


def machine_status_of(view: MachineView, step: Step, told: str | KokError) -> MachineStatus:
    """The whole status. `told` is what acting said beyond the step's reason (a grant's denial), or the error it ended with."""
    machine = view.business.machine
    before = machine.status.conditions if machine and machine.status else ()
    generation = machine.metadata.generation if machine else 0
    words = sentence_of(step, told)
    observed = (*_summary(view, step, told, words), *_parts(view))
    report = view.report
    return MachineStatus(
        observed_generation=generation,
        phase=step.rung.value,
        message=words[:1024],
        address=_address(view),
        boot_id=report.boot_id[:64] if report else (machine.status.boot_id if machine and machine.status else ""),
        packages=_packages(view) if report else (machine.status.packages if machine and machine.status else ()),
        pending=pending_changes(view),
        repairs=repairs_of(machine.status.repairs if machine and machine.status else (), view, step),
        conditions=_valid(conditions_of(before, observed, generation=generation, now=view.now)),
    )


def verdict_of(view: MachineView, step: Step, told: str | KokError) -> Verdict:
    """What the pool's update counts: open with exactly these packages, or stalled and the sentence; otherwise the rung, which changes less."""
    code = stalled_by(step, told)
    ours = code is ErrorCode.ManyUnreachable
    packages, stalled = view.wish.packages or (), code is not None and not ours
    message = sentence_of(step, told) if code else step.rung.value
    asks = isinstance(step, CordonNode)
    return Verdict(packages, is_open(view, step), stalled, message, _gate_verdicts(view), asks, staged_of(view), ours)


def _gate_verdicts(view: MachineView) -> tuple[GateVerdict, ...]:
    """What the pool counts of each gate; nothing while there is no Node to close."""
    node = view.node
    if node is None:
        return ()
    closed = node.is_closed or node.unschedulable
    return tuple(GateVerdict(gate.type, gate.is_open, closed) for gate in listed_gates(view))


def is_open(view: MachineView, step: Step) -> bool:
    """Whether the node takes pods and nothing is left to do."""
    node = view.node
    return isinstance(step, Done) and step.rung is Rung.Open and (node is None or (not node.is_closed and not node.unschedulable))


def sentence_of(step: Step, told: str | KokError) -> str:
    """The one sentence."""
    if isinstance(told, KokError):
        return f"{told.message}; {told.hint}" if told.hint else told.message
    return told or step.reason


TRANSIENT = frozenset({ErrorCode.Conflict, ErrorCode.Unreachable, ErrorCode.Timeout, ErrorCode.TooManyRequests})


def stalled_by(step: Step, told: str | KokError) -> ErrorCode | None:
    """Why it will not go on by itself; None while it does."""
    if isinstance(told, KokError):
        return None if told.code in TRANSIENT else told.code
    if isinstance(step, DrainNode) and step.overdue:
        return ErrorCode.DrainOverdue
    return step.stalled if isinstance(step, Wait) else None


def _summary(view: MachineView, step: Step, told: str | KokError, words: str) -> Iterator[Observed]:
    stalled = stalled_by(step, told)
    ready = stalled is None and is_open(view, step)
    reason = stalled.value if stalled else step.rung.value
    yield Observed("Ready", ready, reason, words)
    resting = isinstance(step, Done) or stalled is not None or step.rung in (Rung.Paused, Rung.Decommissioned)
    yield Observed("Reconciling", not resting, reason, "" if resting else words)
    yield Observed("Stalled", stalled is not None, reason, words if stalled else "")


def _parts(view: MachineView) -> Iterator[Observed]:
    yield _reachable(view)
    yield _packages_ready(view)
    yield _node_ready(view)
    results = listed_gates(view)
    closed = next((result for result in results if not result.is_open), None)
    node_closed = view.node is None or view.node.is_closed
    if closed:
        yield Observed("GatesOpen", False, closed.reason.value, closed.message)
    else:
        yield Observed("GatesOpen", not node_closed, "Closed" if node_closed else "Open", "kok's own gates" if node_closed else "")
    if view.drain_workflow and view.node is not None:
        empty = view.node.unschedulable and view.business.pods == ()
        yield Observed("Drained", empty, view.drain_workflow.value, "")
    if words := refused_requests(view):
        yield Observed("CertificatesRefused", True, "NotItsOwn", words)
    if staging := staging_condition_of(view):
        yield staging
    taken = {
        STAGED,
        "Ready",
        "Reconciling",
        "Stalled",
        "HostReachable",
        "PackagesReady",
        "NodeReady",
        "GatesOpen",
        "Drained",
        "CertificatesRefused",
    }
    yield from (Observed(r.type, r.is_open, r.reason.value, r.message) for r in results if r.type not in taken)


def _reachable(view: MachineView) -> Observed:
    if view.probe is None:
        return Observed("HostReachable", None, "NotLookedAt", "the host has not been looked at yet")
    if view.probe.error:
        return Observed("HostReachable", False, view.probe.error.code.value, view.probe.error.message)
    return Observed("HostReachable", True, "Answered", "")


def _packages_ready(view: MachineView) -> Observed:
    if view.desired_problem:
        return Observed("PackagesReady", False, view.desired_problem.code.value, view.desired_problem.message)
    if view.report is None:
        return Observed("PackagesReady", None, "NotLookedAt", "nothing is known of the host")
    found = view.differences
    if not found:
        return Observed("PackagesReady", True, "Match", f"{len(view.desired)} packages match")
    failed = view.job is not None and view.job.failed and not view.job.is_running
    message = f"{found[0].words}: {view.job.message}" if failed and view.job else found[0].words
    return Observed("PackagesReady", False, ErrorCode.AnsibleFailed.value if failed else "Differ", message)


def _node_ready(view: MachineView) -> Observed:
    if view.node is None:
        return Observed("NodeReady", False, "NotRegistered", "the kubelet has not registered its node")
    ready = view.node.ready
    status = {"True": True, "False": False}.get(ready.status)
    return Observed("NodeReady", status, ready.reason or "NoReason", "" if status else ready.message)


def _address(view: MachineView) -> str:
    if view.wish.host:
        return view.wish.host.address
    return view.owned.mine.spec.address if view.owned.mine else ""


def _packages(view: MachineView) -> tuple[ObservedPackage, ...]:
    report = view.report
    if report is None:
        return ()
    wanted = {package.component: package for package in view.desired}
    shown = [_observed(package, report, view.rules) for package in sorted(view.desired, key=lambda package: package.order)]
    for component, found in sorted(report.packages.items()):
        if component not in wanted:
            words = f"{component} is installed and not wanted any more"
            shown.append(ObservedPackage(component=component, version=found.version[:128], matches=False, difference=words))
    return tuple({each.component: each for each in shown[:64]}.values())


def _observed(package: DesiredPackage, report: HostReport, rules: EffectRules) -> ObservedPackage:
    found = report.packages.get(package.component)
    difference = package_difference(package, found, rules)
    return ObservedPackage(
        component=package.component,
        wanted=package.name,
        version=(found.version if found else "")[:128],
        matches=difference is None,
        pending=difference.effect if difference else None,
        difference=difference.words[:1024] if difference else "",
    )


def _valid(conditions: tuple[Condition, ...]) -> tuple[Condition, ...]:
    """One per type: the first wins."""
    return tuple({condition.type: condition for condition in reversed(conditions)}.values())[::-1]
