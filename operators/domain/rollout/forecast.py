"""What a change would do to one cluster: the way of its plane, what rolls, what happens to its machines, and the leave that this takes. Pure.

By the same functions that decide later: `paths` for the plane, `effects` for machines. Called for mode Plan and by `kok diff`; decides nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from operators.api.packages import ClusterPackageVersion, MachinePackageVersion
from operators.api.pending import Effect
from operators.api.pools import MachinePool
from operators.api.risk import Operation
from operators.domain.machine.effects import EffectRules, PackageChange, changes_between, is_at_least, refusal_of, worst
from operators.domain.machine.wish import wished_packages
from operators.domain.plane.paths import Kubelet, Package, Refused, plan_path, version_of, words_of
from operators.domain.rollout.plan import FrozenPlan
from operators.errors import KokError

KUBELET = "kubelet"
OPERATION_OF = {
    Effect.Drain: Operation.ApplyPackage,
    Effect.Reboot: Operation.Reboot,
    Effect.Reinstall: Operation.ReinstallOS,
}
"""What a machine asks leave for, by the worst effect of its changes."""
MEANINGS = {
    Effect.NoEffect: "touches no pod",
    Effect.Reload: "reload, pods live",
    Effect.Restart: "restart services, pods live",
    Effect.Drain: "drain first",
    Effect.Reboot: "reboot",
    Effect.Reinstall: "install anew",
}


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The package versions there are, by name."""

    planes: Mapping[str, ClusterPackageVersion]
    machines: Mapping[str, MachinePackageVersion]


NO_CATALOGUE = Catalogue({}, {})


@dataclass(frozen=True, slots=True)
class Forecast:
    """What one cluster would see."""

    words: str
    """One sentence."""
    refused: str = ""
    """Why the plane would not go there; empty when it would."""
    needs: Mapping[Operation, int] = field(default_factory=dict)
    """How many grants of each kind it takes at least."""
    machines: int = 0
    """Hosts on which something changes."""


@dataclass(frozen=True, slots=True)
class PoolForecast:
    """What one pool would see."""

    pool: str
    hosts: int
    changes: tuple[PackageChange, ...]
    waits: str = ""
    """Why its hosts would wait; empty when they would not."""

    @property
    def effect(self) -> Effect:
        """The worst of all."""
        return worst(change.effect for change in self.changes)


@dataclass(frozen=True, slots=True)
class Outlook:
    """A frozen plan, and what each of its members would see."""

    plan: FrozenPlan
    forecasts: Mapping[str, Forecast]

    @property
    def needs(self) -> Mapping[Operation, int]:
        """All grants together."""
        total: Counter[Operation] = Counter()
        for each in self.forecasts.values():
            total.update(each.needs)
        return total


def outlook(plan: FrozenPlan, pools: Mapping[str, Sequence[MachinePool]], catalogue: Catalogue) -> Outlook:
    """The forecast of every member. `pools`: cluster (namespace/name) -> its pools."""
    made = {each.key: forecast(each.origin, plan.to, pools.get(each.key, ()), catalogue) for each in plan.members}
    return Outlook(plan, made)


def with_refusals(seen: Outlook, refused: Mapping[str, str]) -> Outlook:
    """The same, with the members that would be refused for whatever reason."""
    forecasts = {key: replace(each, refused=refused.get(key, each.refused)) for key, each in seen.forecasts.items()}
    return Outlook(seen.plan, forecasts)


def forecast(start: str, goal: str, pools: Sequence[MachinePool], catalogue: Catalogue) -> Forecast:
    """From one ClusterPackageVersion to another, by name, with the pools of the cluster."""
    before, after = catalogue.planes.get(start), catalogue.planes.get(goal)
    if before is None or after is None:
        name = start if before is None else goal
        words = f"ClusterPackageVersion {name} does not exist"
        return Forecast(words, refused=words)
    known = [Package.of(each) for each in catalogue.planes.values()]
    path = plan_path(Package.of(before), Package.of(after), known, kubelets_of(pools, before, catalogue))
    if isinstance(path, Refused):
        return Forecast(path.reason, refused=path.reason)
    found = pool_forecasts(before, after, pools, catalogue)
    needs = Counter({Operation.UpgradePlane: len(path.packages)})
    for each in found:
        if each.changes and is_at_least(each.effect, Effect.Drain):
            needs[OPERATION_OF[each.effect]] += each.hosts
    touched = sum(each.hosts for each in found if each.changes)
    parts = [f"{_way(before, after, path.packages)}: {_rolls(before, after)}", *map(pool_words, found)]
    return Forecast("; ".join(part for part in parts if part), "", {each: count for each, count in needs.items() if count}, touched)


def kubelets_of(pools: Iterable[MachinePool], before: ClusterPackageVersion, catalogue: Catalogue) -> tuple[Kubelet, ...]:
    """The kubelets that the pools' packages bring; what a host really runs is looked at when it matters."""
    found = []
    for pool in pools:
        explicit = pool.spec.packages.explicit
        names = (*(before.spec.machine_packages if explicit is None else explicit), *pool.spec.packages.extra)
        packages = [catalogue.machines[name] for name in names if name in catalogue.machines]
        found += [
            Kubelet(f"of pool {pool.metadata.name}", version_of(each.spec.version)) for each in packages if each.spec.component == KUBELET
        ]
    return tuple(found)


def pool_forecasts(
    before: ClusterPackageVersion, after: ClusterPackageVersion, pools: Iterable[MachinePool], catalogue: Catalogue
) -> list[PoolForecast]:
    """What the pools that follow their cluster would see; explicit ones keep what they have."""
    found = []
    for pool in pools:
        if pool.spec.packages.explicit is None:
            found.append(pool_forecast(pool, pool, (before, after), catalogue))
    return found


def pool_forecast(
    pool: MachinePool, wished: MachinePool, planes: tuple[ClusterPackageVersion, ClusterPackageVersion], catalogue: Catalogue
) -> PoolForecast:
    """From a pool to the pool as wished, while its cluster goes from one version to the other."""
    update = wished.spec.update
    try:
        old = wished_packages(pool, planes[0].spec.machine_packages, catalogue.machines)
        new = wished_packages(wished, planes[1].spec.machine_packages, catalogue.machines)
    except KokError as error:
        return PoolForecast(wished.metadata.name, len(wished.spec.hosts), (), error.message)
    changes = changes_between(old, new, catalogue.machines, EffectRules(update.kubelet_minor))
    waits = refusal_of(changes, update.max_effect) or ("update.paused is true" if update.paused and changes else "")
    return PoolForecast(wished.metadata.name, len(wished.spec.hosts), changes, waits)


def pool_words(each: PoolForecast) -> str:
    """One pool in a sentence; empty when nothing changes."""
    if not each.changes:
        return f"pool {each.pool} waits: {each.waits}" if each.waits else ""
    names = ", ".join(change.component for change in each.changes)
    words = f"pool {each.pool}, {each.hosts} machine{'' if each.hosts == 1 else 's'}: {names} ({MEANINGS[each.effect]})"
    return f"{words}, but it waits: {each.waits}" if each.waits else words


def _way(before: ClusterPackageVersion, after: ClusterPackageVersion, path: Sequence[str]) -> str:
    old, new = (words_of(version_of(each.spec.kubernetes_version)) for each in (before, after))
    back = " back" if version_of(after.spec.kubernetes_version) < version_of(before.spec.kubernetes_version) else ""
    hops = f"one hop{back}" if len(path) == 1 else f"{len(path)} hops{back} by way of {', '.join(path[:-1])}"
    return f"{old} -> {new}, {hops}"


def _rolls(before: ClusterPackageVersion, after: ClusterPackageVersion) -> str:
    """Which parts of the plane get other pods."""
    if before.spec.plane_revision != after.spec.plane_revision:
        return "rolls every component (other templates)"
    old, new = before.spec.components.model_dump(by_alias=True), after.spec.components.model_dump(by_alias=True)
    rolled = [name for name in new if new[name] != old.get(name)]
    had = before.spec.addons.model_dump(by_alias=True)
    addons = [name for name, value in after.spec.addons.model_dump(by_alias=True).items() if value != had.get(name)]
    parts = [f"rolls {', '.join(rolled)}" if rolled else "rolls no component", f"add-ons {', '.join(addons)}" if addons else ""]
    return "; ".join(part for part in parts if part)
