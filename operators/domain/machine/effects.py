"""What a change does to the pods of a host, known before it is made. Pure; called by differences, the pool's batches and what is shown as pending.

By two roads that agree: from what is on the host (`effect_on_host`), and from the package versions alone (`effect_between`), so that a pool
knows before any host is authorised. Where it cannot be known, the worse is said.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from operators.api.packages import Artifact, MachinePackageVersion
from operators.api.pending import Effect
from operators.api.pools import KubeletMinor
from operators.domain.machine.host import DesiredPackage, PackageReport

KUBELET = "kubelet"
_PAIN = tuple(Effect)


def is_at_least(effect: Effect, other: Effect) -> bool:
    """Whether `effect` hurts as much as `other` or more."""
    return _PAIN.index(effect) >= _PAIN.index(other)


def worst(effects: Iterable[Effect]) -> Effect:
    """The most painful of several; None's effect if there are none."""
    return max(effects, key=_PAIN.index, default=Effect.NoEffect)


@dataclass(frozen=True, slots=True)
class EffectRules:
    """What a pool and the catalogue say of effects, beyond the package that comes."""

    kubelet_minor: KubeletMinor = KubeletMinor.Drain
    removals: Mapping[str, Effect] = field(default_factory=dict)
    """MachinePackageVersion that is on the host and not wanted -> what removing it does; one that nobody knows any more drains."""

    def of_removal(self, package: str) -> Effect:
        """What taking this package off does."""
        return self.removals.get(package, Effect.Drain)


def is_present(report: PackageReport) -> bool:
    """Whether anything of the component is there to be hurt."""
    return bool(report.name or report.version) or any(unit.active for unit in report.units.values())


def effect_on_host(desired: DesiredPackage, report: PackageReport, rules: EffectRules) -> Effect:
    """What making this package true does. An apply that was cut leaves no name behind; something runs nevertheless, and may be hurt."""
    if not is_present(report):
        return desired.effect.install
    whole = bool(report.name) and all(report.artifacts.get(artifact.name, False) for artifact in desired.artifacts)
    if whole and report.version == desired.version:
        return desired.effect.configuration
    return _with_minor(desired.component, (report.version, desired.version), desired.effect.version, rules)


def effect_between(before: MachinePackageVersion | None, after: MachinePackageVersion | None, rules: EffectRules) -> Effect:
    """What going from one package of a component to another does; `before` None: it is not there, `after` None: it is removed."""
    if after is None:
        return before.spec.effect.removal if before else Effect.NoEffect
    effect = after.spec.effect
    if before is None:
        return effect.install
    if before.metadata.name == after.metadata.name:
        return Effect.NoEffect
    old, new = before.spec, after.spec
    if old.version == new.version and _contents(old.artifacts) == _contents(new.artifacts):
        return effect.configuration
    return _with_minor(new.component, (old.version, new.version), effect.version, rules)


def _contents(artifacts: Iterable[Artifact]) -> set[tuple[str, str]]:
    return {(artifact.name, artifact.sha256) for artifact in artifacts}


def _with_minor(component: str, versions: tuple[str, str], effect: Effect, rules: EffectRules) -> Effect:
    """A kubelet of another minor restarts the containers of its pods in ways nobody promises: drain first, unless the pool says otherwise.

    https://kubernetes.io/releases/version-skew-policy/#kubelet: "you must drain pods from a node before performing a minor version kubelet upgrade".
    """
    old, new = (_minor(version) for version in versions)
    if component != KUBELET or rules.kubelet_minor is KubeletMinor.InPlace or not old or old == new:
        return effect
    return worst((effect, Effect.Drain))


def _minor(version: str) -> tuple[str, ...]:
    return tuple(version.lstrip("v").split(".")[:2]) if version else ()


@dataclass(frozen=True, slots=True)
class PackageChange:
    """One component going from one MachinePackageVersion to another; an empty name: it is not there."""

    component: str
    before: str
    after: str
    effect: Effect

    def __str__(self) -> str:
        return f"{self.before or 'nothing'} -> {self.after or 'nothing'}"


def changes_between(
    before: Iterable[str], after: Iterable[str], catalogue: Mapping[str, MachinePackageVersion], rules: EffectRules
) -> tuple[PackageChange, ...]:
    """What differs between two lists of package names: installations and changes in their order, then removals in reverse order.

    A package of `before` that is not in the catalogue any more may be any component: what comes is then taken for another version of it.
    """
    names = tuple(before)
    old, new = _by_component(names, catalogue), _by_component(after, catalogue)
    is_all_known = all(name in catalogue for name in names)
    found = []
    for component, package in sorted(new.items(), key=lambda item: item[1].spec.order):
        had = old.get(component)
        effect = effect_between(had, package, rules)
        if had is None and not is_all_known:
            effect = worst((effect, package.spec.effect.version))
        if had is None or had.metadata.name != package.metadata.name:
            found.append(PackageChange(component, had.metadata.name if had else "", package.metadata.name, effect))
    gone = sorted((old[component] for component in old.keys() - new.keys()), key=lambda each: -each.spec.order)
    return (*found, *(PackageChange(each.spec.component, each.metadata.name, "", effect_between(each, None, rules)) for each in gone))


def _by_component(names: Iterable[str], catalogue: Mapping[str, MachinePackageVersion]) -> dict[str, MachinePackageVersion]:
    return {catalogue[name].spec.component: catalogue[name] for name in names if name in catalogue}


def refusal_of(changes: Iterable[PackageChange], most: Effect) -> str:
    """Why the pool's policy does not allow these changes; empty if it does."""
    for change in changes:
        if not is_at_least(most, change.effect):
            return refused_words(str(change), change.effect, most)
    return ""


def refused_words(what: str, effect: Effect, most: Effect) -> str:
    """The one sentence of a forbidden effect."""
    return f"{what} needs {effect.value}, update.maxEffect allows {most.value}; raise it, or wish something else"
