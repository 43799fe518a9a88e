"""What was changed on a host by hand and put back: the record that a Machine shows of it. Pure; called by the machine's status. Displays only.

Drift is a difference of a package that kok's record on the host says was applied completely: what came later came by somebody's hand.
"""

from __future__ import annotations

from operators.api.machines import REPAIRS_KEPT, Repair
from operators.domain.machine.difference import PackageDifference
from operators.domain.machine.steps import ApplyPackages, Step
from operators.domain.machine.view import MachineView


def drifts(view: MachineView) -> tuple[PackageDifference, ...]:
    """Differences that somebody made by hand."""
    report = view.report
    if report is None:
        return ()
    named = {component: found.name for component, found in report.packages.items()}
    return tuple(each for each in view.differences if each.package and named.get(each.component) == each.package)


def repairs_of(before: tuple[Repair, ...], view: MachineView, step: Step) -> tuple[Repair, ...]:
    """The record after this pass: closed where the host is right again, begun where this step sets out to put something back."""
    stamp = view.now.strftime("%Y-%m-%dT%H:%M:%SZ")
    differing = {each.component for each in view.differences}
    is_seen = view.report is not None and view.job_is_current
    kept = tuple(_closed(each, stamp) if is_seen and each.component not in differing else each for each in before)
    if not isinstance(step, ApplyPackages):
        return kept
    open_now = {each.component for each in kept if each.put_back_at is None}
    applied = {package.component for package in step.packages}
    begun = (each for each in drifts(view) if each.component in applied - open_now)
    return (*kept, *(Repair(component=each.component, found=each.words[:1024], found_at=stamp) for each in begun))[-REPAIRS_KEPT:]


def _closed(repair: Repair, stamp: str) -> Repair:
    return repair if repair.put_back_at else repair.model_copy(update={"put_back_at": stamp})
