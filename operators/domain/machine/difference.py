"""Where a host differs from what should be on it, in words, and what making it right does to its pods. Pure; called by the ladder and the status.

The first difference of a package stands for it: a package is applied whole. Components that kok's records on the host name and nobody
wants any more are differences, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from operators.api.pending import Effect
from operators.domain.machine.effects import EffectRules, effect_on_host, is_present
from operators.domain.machine.host import DesiredFile, DesiredPackage, HostReport, PackageReport

ORDINARY = EffectRules()


@dataclass(frozen=True, slots=True)
class PackageDifference:
    """One package that is not as wanted. `package` is empty when the component is to be removed."""

    component: str
    package: str
    words: str
    effect: Effect


def differences(desired: tuple[DesiredPackage, ...], report: HostReport, rules: EffectRules = ORDINARY) -> tuple[PackageDifference, ...]:
    """Every package that differs, in the order in which they are applied; then removals, what was installed last first."""
    ordered = sorted(desired, key=lambda package: package.order)
    found = [package_difference(package, report.packages.get(package.component), rules) for package in ordered]
    return (*(each for each in found if each), *_removals(desired, report, rules))


def package_difference(desired: DesiredPackage, report: PackageReport | None, rules: EffectRules = ORDINARY) -> PackageDifference | None:
    """The first thing that differs, or None if the host is right."""
    if report is None or not is_present(report):
        return PackageDifference(desired.component, desired.name, f"{desired.component} is not installed", desired.effect.install)
    words = next(_differing(desired, report), "")
    return PackageDifference(desired.component, desired.name, words, effect_on_host(desired, report, rules)) if words else None


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
        found = report.sysctls.get(name) or "unknown"
        if found != value:
            yield _differing_sysctl(f"/etc/sysctl.d/90-kok-{desired.component}.conf", name, value, found)
    for module in desired.kernel_modules:
        if not report.kernel_modules.get(module, False):
            yield f"kernel module {module} is not loaded for good"


def _differing_sysctl(file: str, name: str, value: str, found: str) -> str:
    """`found`: the live value, and in brackets what the next boot would bring where the file says something else."""
    live, _, persisted = found.removesuffix(")").partition(" (persisted: ")
    if live != value:
        return f"sysctl {name} is {found}, wanted {value}"
    if persisted == "edited by hand":
        return f"file {file} was edited by hand (sysctl {name} itself is {value}, as wanted)"
    return f"file {file} says {persisted} for sysctl {name}, wanted {value} (it is {value} until the next boot)"


def _removals(desired: tuple[DesiredPackage, ...], report: HostReport, rules: EffectRules) -> Iterator[PackageDifference]:
    wanted = {package.component for package in desired}
    left = [found for component, found in report.packages.items() if component not in wanted]
    for found in sorted(left, key=lambda found: (-found.order, found.component)):
        words = f"{found.component} is installed and not wanted any more"
        yield PackageDifference(found.component, "", words, rules.of_removal(found.name))
