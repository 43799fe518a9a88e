"""What a pool wishes, and whether it can be wished: which packages its hosts get, and what is wrong with it before anything is touched.

Pure; called by the pool ladder. The same sentence is the pool's condition until it is corrected; then it heals by itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from operators.api.packages import MachinePackageVersion
from operators.api.pools import MachinePool
from operators.errors import ErrorCode, KokError

Catalogue = Mapping[str, MachinePackageVersion]
"""MachinePackageVersions by name."""


def wished_packages(pool: MachinePool, cluster_packages: Sequence[str], catalogue: Catalogue) -> tuple[str, ...]:
    """Names in the order of installation; an extra package replaces a followed one of the same component.

    Raises KokError PackageMissing or PackageConflict, naming field and package.
    """
    packages = pool.spec.packages
    field = "packages.explicit" if packages.explicit is not None else "machinePackages of the cluster's version"
    base = _by_component(packages.explicit if packages.explicit is not None else cluster_packages, catalogue, field=field)
    extra = _by_component(packages.extra, catalogue, field="packages.extra")
    if packages.explicit is not None and (twice := sorted(set(base) & set(extra))):
        raise _conflict(twice[0], base[twice[0]], extra[twice[0]], "packages")
    chosen = base | extra
    return tuple(sorted(chosen.values(), key=lambda name: (catalogue[name].spec.order, name)))


def _by_component(names: Sequence[str], catalogue: Catalogue, *, field: str) -> dict[str, str]:
    chosen: dict[str, str] = {}
    for name in names:
        if name not in catalogue:
            raise KokError(
                ErrorCode.PackageMissing,
                f"{field}: MachinePackageVersion {name} is not in the meta cluster",
                "apply it, or correct the name; `kubectl get machinepackageversions` lists what is there",
            )
        component = catalogue[name].spec.component
        if component in chosen:
            raise _conflict(component, chosen[component], name, field)
        chosen[component] = name
    return chosen


def _conflict(component: str, first: str, second: str, field: str) -> KokError:
    words = f"{field}: {first} and {second} are both {component}; a host has at most one package of a component"
    return KokError(ErrorCode.PackageConflict, words, "remove one of them")


def pool_problem(pool: MachinePool, others: Sequence[MachinePool]) -> KokError | None:
    """The first thing wrong with a pool's hosts: one address or name twice (here, or in an older pool), or no host key."""
    return next(_problems(pool, others), None)


def _problems(pool: MachinePool, others: Sequence[MachinePool]) -> Iterator[KokError]:
    older = [other for other in others if _age(other) < _age(pool) and not other.deleting]
    seen = {(host.address, host.port): f"{host.name} of pool {other.metadata.name}" for other in older for host in other.spec.hosts}
    names = {host.name: other.metadata.name for other in older for host in other.spec.hosts}
    for host in pool.spec.hosts:
        place = (host.address, host.port)
        if place in seen:
            words = f"hosts {seen[place]} and {host.name} have the same address {host.address}:{host.port}"
            yield KokError(ErrorCode.HostDuplicate, words, "give each host its own address, or remove one of them")
        if host.name in names:
            words = f"host {host.name} is also in pool {names[host.name]}; a name is one Machine and one Node of the cluster"
            yield KokError(ErrorCode.HostDuplicate, words, "rename it here, or remove it there first")
        if not host.host_keys:
            hint = f"`kok host scan {host.address}` prints what to put into hostKeys; compare it with the host's console"
            yield KokError(ErrorCode.HostKeyMissing, f"host {host.name} has no hostKeys: nothing connects to an unknown host", hint)
        seen.setdefault(place, host.name)


def _age(pool: MachinePool) -> tuple[str, str]:
    return (pool.metadata.creation_timestamp or "", pool.metadata.name)
