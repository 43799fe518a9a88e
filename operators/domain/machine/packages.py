"""The rungs that put packages on a host and make its kubelet a node. Pure; called by the ladder.

Cost follows the change: only packages that differ are applied, all of a host in one run; a host that is right gets none. A run that failed,
or that left the host different, is tried again with a growing pause that is counted per exact work.
"""

from __future__ import annotations

import hashlib
from datetime import timedelta

from operators.api.pending import Effect
from operators.api.risk import Operation, Outcome
from operators.domain.machine.difference import PackageDifference
from operators.domain.machine.drain_ladder import drain_for
from operators.domain.machine.effects import is_at_least, refused_words, worst
from operators.domain.machine.host import DesiredPackage, HostReport
from operators.domain.machine.repairs import drifts
from operators.domain.machine.steps import ApplyPackages, DeleteToken, IssueToken, Rung, SettleGrants, Step, Wait, Workflow
from operators.domain.machine.view import KUBELET, JobPhase, MachineView
from operators.errors import ErrorCode

DISK_RESERVE_BYTES = 512 * 1024 * 1024
"""Less than this free on /var, and no package is put on the host."""
TOKEN_RESERVE = timedelta(seconds=60)


def packages_hold(view: MachineView, *, least: Effect) -> str:
    """Why packages do not hold, counting differences whose effect is at least `least`; empty if they do, or if nothing is known of the host."""
    return next((difference.words for difference in view.differences if is_at_least(difference.effect, least)), "")


def packages_broken(view: MachineView) -> str:
    """Why the node must take no new pods: something is wrong that a restart or worse mends. Not: another version that waits for its drain."""
    installed = view.report.packages if view.report else {}
    for each in view.differences:
        found = installed.get(each.component)
        is_whole_other = found is not None and bool(found.name) and found.name != each.package
        if is_at_least(each.effect, Effect.Restart) and not (is_whole_other and is_at_least(each.effect, Effect.Drain)):
            return each.words
    return ""


def packages_rung(view: MachineView) -> Step | None:
    """Make what differs right, in one run; drained and with leave first if it hurts pods."""
    if view.desired_problem:
        problem = view.desired_problem
        return Wait(reason=_sentence(problem.message, problem.hint), after=60.0, rung=_rung(view), stalled=problem.code)
    found = view.differences
    if not found:
        return None
    return _obstacle(view, found) or _apply(view, damaged_first(view, found) or found)


def damaged_first(view: MachineView, found: tuple[PackageDifference, ...]) -> tuple[PackageDifference, ...]:
    """What somebody damaged by hand and can be put back without a drain, where something else needs one: pods leave a node only through a
    runtime and a kubelet that run. Tried once: what is still wrong then is for the run that follows the drain.
    """
    if view.node is None or not is_at_least(worst(each.effect for each in found), Effect.Drain):
        return ()
    damaged = tuple(each for each in drifts(view) if each in found and not is_at_least(each.effect, Effect.Drain))
    was_tried = view.job is not None and view.job.signature == signature_of(view, _work(view, damaged))
    return () if was_tried else damaged


def _obstacle(view: MachineView, found: tuple[PackageDifference, ...]) -> Step | None:
    effect = worst(each.effect for each in found)
    if words := _forbidden(view, found):
        return Wait(reason=words, after=view.times.probe, rung=_rung(view), stalled=ErrorCode.EffectRefused)
    if is_at_least(effect, Effect.Reboot) and view.node is not None:
        words = f"{found[0].words}; making it right needs {effect.value}, which this release does not do by itself"
        return Wait(reason=words, after=view.times.probe, rung=_rung(view), stalled=ErrorCode.EffectRefused)
    report = view.report
    if report and report.disk_free_bytes < DISK_RESERVE_BYTES:
        free, total = report.disk_free_bytes // 2**20, report.disk_total_bytes // 2**20
        words = f"{found[0].words}, but only {free} MiB of {total} MiB are free on /var; free at least {DISK_RESERVE_BYTES // 2**20} MiB"
        return Wait(reason=words, after=view.times.probe / 2, rung=_rung(view), stalled=ErrorCode.HostDiskFull)
    return None


def _forbidden(view: MachineView, found: tuple[PackageDifference, ...]) -> str:
    """Why the pool's policy does not let the host be made right now; a host without a node has no pods to hurt."""
    if view.node is None or view.wish.pool is None:
        return ""
    most = view.wish.pool.spec.update.max_effect
    painful = next((each for each in found if not is_at_least(most, each.effect)), None)
    return refused_words(f"{painful.words}; {painful.package or 'its removal'}", painful.effect, most) if painful else ""


def _apply(view: MachineView, found: tuple[PackageDifference, ...]) -> Step | None:
    packages, remove, work = _differing(view.desired, found), _removed(found), _work(view, found)
    if pause := pause_after(view, signature_of(view, work), found[0].words):
        return _failed_leave(view) or pause
    drains = is_at_least(worst(each.effect for each in found), Effect.Drain)
    hurts = drains and view.node is not None
    if hurts and (step := drain_for(view, Workflow.update, operation=Operation.ApplyPackage)):
        return step
    bootstrap = needs_bootstrap(view.desired, view.report)
    if bootstrap and not has_live_token(view):
        return issue_token(view)
    return ApplyPackages(
        reason=f"{_verb(view, found)} {', '.join([p.name for p in packages] + [f'removal of {name}' for name in remove])}: {found[0].words}",
        after=None,
        rung=_rung(view),
        packages=packages,
        remove=remove,
        signature=signature_of(view, work),
        join="|".join(("apply", *(package.name for package in packages), *remove, str(bootstrap))),
        bootstrap=bootstrap,
        needs_grant=hurts,
        spares_nobody=drains and not hurts,
    )


def _failed_leave(view: MachineView) -> Step | None:
    """What a run was given leave for has failed: said before the pause, so that breakers count it; the next run asks anew."""
    names = tuple(grant.name for grant in view.grants if grant.operation is Operation.ApplyPackage and grant.granted_at)
    if not names or view.job is None or not view.job.failed:
        return None
    reason = f"reports the end of {', '.join(names)}: {view.job.message}"
    return SettleGrants(reason=reason, grants=names, outcome=Outcome.Failed, rung=_rung(view))


def _removed(found: tuple[PackageDifference, ...]) -> tuple[str, ...]:
    return tuple(each.component for each in found if not each.package)


def _work(view: MachineView, found: tuple[PackageDifference, ...]) -> tuple[str, ...]:
    """What a run over these differences does, to the letter."""
    return ("apply", *(_digest(package) for package in _differing(view.desired, found)), *_removed(found))


def _verb(view: MachineView, found: tuple[PackageDifference, ...]) -> str:
    return "puts back" if set(found) <= set(drifts(view)) else "applies"


def _differing(desired: tuple[DesiredPackage, ...], found: tuple[PackageDifference, ...]) -> tuple[DesiredPackage, ...]:
    names = {each.package for each in found}
    return tuple(sorted((package for package in desired if package.name in names), key=lambda package: package.order))


def pause_after(view: MachineView, signature: str, words: str) -> Step | None:
    """The pause after a run of exactly this work that did not make the host right; None when it is over or there was no such run."""
    job = view.job
    if job is None or job.is_running or job.signature != signature:
        return None
    left = retry_seconds(view, job.tries) - (view.now - job.since).total_seconds()
    if left <= 0:
        return None
    if job.phase is JobPhase.Withheld:
        return Wait(reason=job.message, after=left, rung=_rung(view))
    times = "once" if job.tries == 1 else f"{job.tries} times"
    reason = f"{job.message} (tried {times})" if job.failed else f"was applied {times} and still differs: {words}"
    return Wait(reason=reason, after=left, rung=_rung(view), stalled=ErrorCode.AnsibleFailed if job.failed or job.tries > 2 else None)


def retry_seconds(view: MachineView, tries: int) -> float:
    """Seconds between two runs of the same work: doubled with every try, bounded."""
    return min(view.times.retry_cap, view.times.retry_first * 2.0 ** min(tries - 1, 16))


def registration_rung(view: MachineView) -> Step | None:
    """A kubelet without a certificate gets a token that is bound to this machine; the token goes when it has done its work."""
    report = view.report
    if report is None or all(package.component != KUBELET for package in view.desired):
        return None
    if not report.kubelet_credentials:
        return _bootstrap(view)
    if view.business.token:
        return DeleteToken(reason=f"deletes the bootstrap token of {view.name}: the kubelet has its certificate", rung=Rung.Registering)
    if view.node is None:
        return Wait(reason=f"waits for the kubelet of {view.name} to register its node", after=3.0, rung=Rung.Registering)
    return None


def _bootstrap(view: MachineView) -> Step:
    token = view.business.token
    if token is None or not has_live_token(view):
        return issue_token(view)
    if view.job and not view.job.failed and view.job.bootstrap == token.digest:
        return Wait(reason=f"waits for the certificate request of {view.name}'s kubelet", after=3.0, rung=Rung.Registering)
    signature = signature_of(view, ("bootstrap", token.digest))
    pause = pause_after(view, signature, "the kubelet has no certificate")
    return pause or ApplyPackages(
        reason=f"brings a bootstrap token to {view.name}: its kubelet has no certificate",
        after=None,
        rung=Rung.Registering,
        packages=(),
        remove=(),
        signature=signature,
        join="bootstrap",
        bootstrap=True,
    )


def issue_token(view: MachineView) -> Step:
    """A new token for this machine."""
    return IssueToken(reason=f"makes a bootstrap token for {view.name}", rung=Rung.Registering)


def has_live_token(view: MachineView) -> bool:
    """Whether the machine's token still lives long enough to be used."""
    token = view.business.token
    return token is not None and token.expires - view.now > TOKEN_RESERVE


def needs_bootstrap(desired: tuple[DesiredPackage, ...], report: HostReport | None) -> bool:
    """Whether the kubelet is wanted and holds no certificate."""
    return report is not None and not report.kubelet_credentials and any(package.component == KUBELET for package in desired)


def signature_of(view: MachineView, work: tuple[str, ...]) -> str:
    """Stands for exactly this work on this host under this claim."""
    claim = view.owned.mine.metadata.uid if view.owned.mine else ""
    return hashlib.sha256("\0".join((view.name, claim, *work)).encode()).hexdigest()[:32]


def _digest(package: DesiredPackage) -> str:
    contents = "".join(file.sha256 for file in package.files)
    return hashlib.sha256(f"{package.name}{contents}{package.units}{package.sysctls}".encode()).hexdigest()


def _rung(view: MachineView) -> Rung:
    return Rung.Updating if view.node else Rung.Installing


def _sentence(message: str, hint: str) -> str:
    return f"{message}; {hint}" if hint else message
