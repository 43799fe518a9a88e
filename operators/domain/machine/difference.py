"""Where a host differs from what should be on it, in words, and what making it right does to its pods. Pure; called by the ladder and the status.

The first difference of a package stands for it: a package is applied whole. Components that kok's records on the host name and nobody
wants any more are differences, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from operators.api.packages import Effect
from operators.domain.machine.host import DesiredFile, DesiredPackage, HostReport, PackageReport

_PAIN = tuple(Effect)


def is_at_least(effect: Effect, other: Effect) -> bool:
    """Whether `effect` hurts as much as `other` or more."""
    return _PAIN.index(effect) >= _PAIN.index(other)


def worst(effects: Iterator[Effect]) -> Effect:
    """The most painful of several; None's effect if there are none."""
    return max(effects, key=_PAIN.index, default=Effect.NoEffect)


@dataclass(frozen=True, slots=True)
class PackageDifference:
    """One package that is not as wanted. `package` is empty when the component is to be removed."""

    component: str
    package: str
    words: str
    effect: Effect


def differences(desired: tuple[DesiredPackage, ...], report: HostReport) -> tuple[PackageDifference, ...]:
    """Every package that differs, in the order in which they are applied; removals last."""
    found = [package_difference(package, report.packages.get(package.component)) for package in sorted(desired, key=lambda p: p.order)]
    return (*(each for each in found if each), *_removals(desired, report))


def package_difference(desired: DesiredPackage, report: PackageReport | None) -> PackageDifference | None:
    """The first thing that differs, or None if the host is right."""
    if report is None or not is_present(report):
        return PackageDifference(desired.component, desired.name, f"{desired.component} is not installed", desired.effect.install)
    words = next(_differing(desired, report), "")
    return PackageDifference(desired.component, desired.name, words, _effect_of(desired, report)) if words else None


def _effect_of(desired: DesiredPackage, report: PackageReport) -> Effect:
    """An apply that was cut leaves no name behind; something runs nevertheless, and that is what may be hurt."""
    return desired.effect.configuration if report.name == desired.name else desired.effect.version


def is_present(report: PackageReport) -> bool:
    """Whether anything of the component is there to be hurt."""
    return bool(report.name or report.version) or any(unit.active for unit in report.units.values())


def _differing(desired: DesiredPackage, report: PackageReport) -> Iterator[str]:
    if report.name != desired.name:
        yield f"{report.name or 'nothing complete'} is installed, wanted {desired.name}"
    yield from _differing_units(desired, report)  # what does not run cannot say its version or its images
    if desired.observe and report.version != desired.version:
        yield f"{desired.component} says version {report.version or 'nothing'}, wanted {desired.version}"
    for artifact in desired.artifacts:
        if not report.artifacts.get(artifact.name, False):
            yield f"artifact {artifact.name} is missing or differs"
    for file in desired.files:
        yield from _differing_file(file, report)
    yield from _differing_kernel(desired, report)


def _differing_file(file: DesiredFile, report: PackageReport) -> Iterator[str]:
    found = report.files.get(file.path)
    if found is None or not found.sha256:
        yield f"file {file.path} is missing"
    elif file.once:
        return
    elif found.sha256 != file.sha256:
        yield f"file {file.path} was changed"
    elif found.mode and found.mode.lstrip("0") != file.mode.lstrip("0"):
        yield f"file {file.path} has mode {found.mode}, wanted {file.mode}"


def _differing_units(desired: DesiredPackage, report: PackageReport) -> Iterator[str]:
    wanted = {unit.name: unit for unit in desired.units}
    for name, unit in wanted.items():
        found = report.units.get(name)
        if found is None:
            yield f"unit {name} is missing"
            continue
        if found.active != unit.running:
            yield f"unit {name} is {'not ' if unit.running else ''}running"
        if found.enabled != unit.running:
            yield f"unit {name} is {'not ' if unit.running else ''}enabled"
        if unit.content and found.sha256 != DesiredFile(f"/etc/systemd/system/{name}", unit.content).sha256:
            yield f"unit file of {name} was changed"


def _differing_kernel(desired: DesiredPackage, report: PackageReport) -> Iterator[str]:
    for name, value in desired.sysctls.items():
        if report.sysctls.get(name) != value:
            yield f"sysctl {name} is {report.sysctls.get(name) or 'unknown'}, wanted {value}"
    for module in desired.kernel_modules:
        if not report.kernel_modules.get(module, False):
            yield f"kernel module {module} is not loaded for good"


def _removals(desired: tuple[DesiredPackage, ...], report: HostReport) -> Iterator[PackageDifference]:
    """Removing stops what runs, so it is treated as a restart."""
    wanted = {package.component for package in desired}
    for component in sorted(set(report.packages) - wanted):
        yield PackageDifference(component, "", f"{component} is installed and not wanted any more", Effect.Restart)
