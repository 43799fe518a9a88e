"""Artifacts that lie on a host before the rollout that brings them may change it: what is staged, what is lacking, what has to go. Pure.

Beside the ladder, not on it: nothing here makes a machine less ready, nothing waits for it, and a host that cannot be staged gets its artifacts with
the run that applies them, as ever. What is there was seen by a probe; a run that ended is no proof. Called by the machine controller and the status.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from operators.api.packages import Artifact
from operators.api.pools import StagingWish
from operators.domain.machine.conditions import Observed
from operators.domain.machine.host import HostReport
from operators.domain.machine.packages import retry_seconds, signature_of
from operators.domain.machine.release import PackageStaged
from operators.domain.machine.steps import ApplyPackages, CleanHost, Step
from operators.domain.machine.times import parse_time
from operators.domain.machine.view import MachineView, PackageAhead

STAGED = "Staged"
"""The Machine's condition; only while somebody wants something staged."""


@dataclass(frozen=True, slots=True)
class Staging:
    """One run: put these into the host's store, and take out what is not in `keep`."""

    artifacts: tuple[Artifact, ...]
    keep: tuple[str, ...]
    signature: str
    """Stands for exactly this work on this host: tries of it are counted."""
    join: str
    """Equal on hosts that can share a run."""
    reason: str


def packages_ahead(wishes: Iterable[StagingWish], now: datetime) -> tuple[str, ...]:
    """MachinePackageVersions that are wanted on the hosts now: those of wishes that have not run out."""
    standing = [wish for wish in wishes if (parse_time(wish.until) or now) > now]
    return tuple(dict.fromkeys(name for wish in sorted(standing, key=lambda wish: wish.rollout) for name in wish.packages))


def lacking(package: PackageAhead, report: HostReport) -> tuple[Artifact, ...]:
    """Artifacts of a package that the host does not have; none of one that is installed."""
    installed = report.packages.get(package.component)
    if installed and installed.name == package.name:
        return ()
    return tuple(artifact for artifact in package.artifacts if artifact.sha256 not in report.stored)


def next_staging(view: MachineView, step: Step) -> Staging | None:
    """The run that is due on this host; None while there is none, or this is no moment for one. `step`: what the ladder does in this pass."""
    report = view.report
    if report is None or not view.ahead.is_known or not _is_ours(view, report) or not _is_free(view, step):
        return None
    missing = tuple({a.sha256: a for package in view.ahead.packages for a in lacking(package, report)}.values())
    surplus = tuple(sorted(report.staged - view.ahead.keep))
    if not missing and not surplus:
        return None
    work = ("stage", *sorted(artifact.sha256 for artifact in missing), "without", *surplus)
    signature = signature_of(view, work)
    if _pauses(view, signature):
        return None
    names = ", ".join(package.name for package in view.ahead.packages)
    reason = f"stages {len(missing)} artifacts of {names}" if missing else f"takes out {len(surplus)} artifacts that were staged for nobody"
    return Staging(missing, tuple(sorted(view.ahead.keep)), signature, "|".join(work), reason)


def is_settled(view: MachineView) -> bool:
    """Whether a look at the host found nothing left to stage or to take out."""
    report = view.report
    if report is None or not view.ahead.is_known or report.staged - view.ahead.keep:
        return False
    return not any(lacking(package, report) for package in view.ahead.packages)


def _is_ours(view: MachineView, report: HostReport) -> bool:
    claim, owner = view.owned.mine, report.owner
    if claim is None or owner is None or owner.claim_uid != claim.metadata.uid or view.owned.obstacle:
        return False
    return not (view.cluster.problem or view.cluster.paused or view.is_leaving)


def _is_free(view: MachineView, step: Step) -> bool:
    """Whether no play is on the host, or about to be, and the host was looked at since the last one that staged."""
    job, last = view.job, view.ahead.job
    if isinstance(step, ApplyPackages | CleanHost) or (job and job.is_running) or (last and last.is_running):
        return False
    return last is None or (view.probe is not None and view.probe.at >= last.since)


def _pauses(view: MachineView, signature: str) -> bool:
    last = view.ahead.job
    if last is None or last.signature != signature:
        return False
    return (view.now - last.since).total_seconds() < retry_seconds(view, last.tries)


def staged_of(view: MachineView) -> tuple[PackageStaged, ...]:
    """Each package that is wanted ahead: whether all of it is there, and if not, what keeps it from being so."""
    report, trouble = view.report, _trouble(view)
    there = [PackageStaged(name, is_there=False, trouble=_unknown(name)) for name in view.ahead.unknown]
    for package in view.ahead.packages:
        has_all = report is not None and not lacking(package, report)
        there.append(PackageStaged(package.name, has_all, "" if has_all else trouble))
    return tuple(there)


def _unknown(name: str) -> str:
    return f"MachinePackageVersion {name} is not in the meta cluster"


def _trouble(view: MachineView) -> str:
    """Why artifacts do not arrive, one sentence; empty while they are on their way."""
    if view.probe is not None and view.probe.error:
        return view.probe.error.message
    last = view.ahead.job
    return last.message if last and last.failed and not last.is_running else ""


def condition_of(view: MachineView) -> Observed | None:
    """What the Machine shows of it; nothing when nothing is wanted ahead."""
    found = staged_of(view)
    if not found:
        return None
    names = ", ".join(each.package for each in found)
    if all(each.is_there for each in found):
        return Observed(STAGED, True, STAGED, f"the artifacts of {names} are on the host; what is installed is unchanged by that")
    if trouble := next((each.trouble for each in found if each.trouble), ""):
        return Observed(STAGED, False, "NotStaged", f"{trouble}; it is tried again, and nothing waits for it")
    return Observed(STAGED, False, "Staging", f"the artifacts of {names} are on their way")
