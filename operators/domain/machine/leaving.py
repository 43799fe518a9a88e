"""How a host leaves: drained, cleaned, its Node and its Machine deleted, its claim given back. Pure; called by the ladder.

The host is cleaned before its Node is deleted: a kubelet that still runs would make its Node anew. From cleaning on everything happens under
one grant (DeleteMachine), asked for only when nothing has to be waited for any more. A host that cannot be cleaned is kept until it can,
or until a person gives it up by name (`kok.dev/abandon-host`).
"""

from __future__ import annotations

from operators.api.risk import Operation, Outcome
from operators.domain.machine.drain_ladder import drain_for
from operators.domain.machine.packages import pause_after, signature_of
from operators.domain.machine.steps import (
    CleanHost,
    DeleteMachine,
    DeleteNode,
    DeleteToken,
    ReleaseClaim,
    Rung,
    SettleGrants,
    Step,
    Wait,
    Workflow,
)
from operators.domain.machine.view import JobPhase, MachineView
from operators.errors import ErrorCode


def leaving(view: MachineView) -> Step | None:
    """The next step of a host that is to go; None for one that stays."""
    if not view.is_leaving:
        return None
    if view.wish.problem:
        return Wait(
            reason=f"{view.name} is kept as it is: {view.wish.problem}", after=None, rung=Rung.Leaving, stalled=ErrorCode.InvalidObject
        )
    for rung in (_job, _token, _drained, _drain_over, _cleaned, _node_gone, _parked, _machine_gone, _given_back):
        if step := rung(view):
            return step
    return Wait(reason=f"{view.name} is gone", after=None, rung=Rung.Leaving)


def _job(view: MachineView) -> Step | None:
    if view.job and view.job.is_running:
        return Wait(reason=view.job.message, after=None, rung=Rung.Leaving)
    return None


def _token(view: MachineView) -> Step | None:
    if view.business.token is None:
        return None
    return DeleteToken(reason=f"deletes the bootstrap token of {view.name}: it leaves", rung=Rung.Leaving)


def _drained(view: MachineView) -> Step | None:
    """Not when the whole cluster goes, not when the host is clean already, not when a person gave up a host whose node is dead."""
    dead = view.wish.abandoned and view.node is not None and not view.node.is_ready
    if view.cluster.deleting or dead or (view.owned.mine is not None and is_clean(view)):
        return None
    return drain_for(view, Workflow.decommission)


def _drain_over(view: MachineView) -> Step | None:
    """Nobody holds leave to drain while waiting for leave to remove."""
    return _settled(view, Operation.Drain, Outcome.Succeeded)


def _settled(view: MachineView, operation: Operation, outcome: Outcome) -> Step | None:
    names = tuple(grant.name for grant in view.grants if grant.operation is operation and grant.granted_at)
    reason = f"reports the end of {', '.join(names)}: {outcome.value}"
    return SettleGrants(reason=reason, grants=names, outcome=outcome, rung=Rung.Leaving) if names else None


def is_clean(view: MachineView) -> bool:
    """Whether a probe after the last job found nothing of kok on the host."""
    report = view.report
    return report is not None and view.job_is_current and report.owner is None and not report.packages


def _cleaned(view: MachineView) -> Step | None:
    claim = view.owned.mine
    if claim is None or view.wish.abandoned or is_clean(view):
        return None
    if view.probe is None or not view.job_is_current:
        return Wait(reason=f"{view.name} has not been looked at yet", after=1.0, rung=Rung.Leaving)
    if view.probe.error:
        error = view.probe.error
        words = (
            f"{view.name} cannot be cleaned: {error.message}; it is tried again, or let it go uncleaned with "
            f"`kubectl annotate machinepool {claim.spec.pool} kok.dev/abandon-host={view.name}`"
        )
        return Wait(reason=words, after=view.times.probe / 4, rung=Rung.Leaving, stalled=error.code)
    return _clean(view, claim.metadata.uid)


def _clean(view: MachineView, claim_uid: str) -> Step | None:
    owner = view.report.owner if view.report else None
    if owner and owner.claim_uid != claim_uid:
        return None  # somebody else's by now: not ours to clean
    if view.desired_problem:
        problem = view.desired_problem
        words = f"{view.name} cannot be cleaned: {problem.message}; {problem.hint}"
        return Wait(reason=words, after=60.0, rung=Rung.Leaving, stalled=problem.code)
    signature = signature_of(view, ("clean",))
    if pause := pause_after(view, signature, "it is not clean"):
        withheld = view.job is not None and view.job.phase is JobPhase.Withheld
        return _settled(view, Operation.DeleteMachine, Outcome.Cancelled if withheld else Outcome.Failed) or pause
    return CleanHost(
        reason=f"cleans {view.name}: removes everything of kok from it",
        after=view.times.grant_poll,
        rung=Rung.Leaving,
        packages=tuple(reversed(view.desired)),
        signature=signature,
    )


def _node_gone(view: MachineView) -> Step | None:
    if view.node is None:
        return None
    return DeleteNode(reason=f"deletes Node {view.name}: its host is clean", after=view.times.grant_poll, rung=Rung.Leaving)


def _parked(view: MachineView) -> Step | None:
    """Decommissioned by its desiredState while a pool still lists it: clean, kept as a Machine."""
    if not view.is_wished:
        return None
    if view.grants:
        names = tuple(grant.name for grant in view.grants)
        return SettleGrants(reason=f"reports the end of {', '.join(names)}", grants=names, rung=Rung.Decommissioned)
    words = f"{view.name} is decommissioned and clean; set desiredState InService to use it again, or remove it from its pool"
    return Wait(reason=words, after=view.times.probe, rung=Rung.Decommissioned)


def _machine_gone(view: MachineView) -> Step | None:
    if view.business.machine is None:
        return None
    return DeleteMachine(reason=f"deletes Machine {view.name}: its host is clean", after=view.times.grant_poll, rung=Rung.Leaving)


def _given_back(view: MachineView) -> Step | None:
    claim = view.owned.mine
    if claim:
        where = f"{claim.spec.address}:{claim.spec.port}"
        return ReleaseClaim(reason=f"gives back host {where}: it can be used again", rung=Rung.Leaving)
    names = tuple(grant.name for grant in view.grants)
    return SettleGrants(reason=f"reports the end of {', '.join(names)}", grants=names, rung=Rung.Leaving) if names else None
