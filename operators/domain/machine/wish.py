"""What a pool wishes, and whether it can be wished: which packages its hosts get, and what is wrong with it before anything is touched.

Pure; called by the pool ladder. The same sentence is the pool's condition until it is corrected; then it heals by itself.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain

from operators.api.cluster import Network
from operators.api.packages import MachinePackageVersion
from operators.api.pools import MachinePool
from operators.domain.plane.ranges import overlap
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


def pool_problem(pool: MachinePool, others: Sequence[MachinePool], network: Network | None = None) -> KokError | None:
    """The first thing wrong with a pool's hosts: one address or name twice (here, or in an older pool), no host key, an address inside `network`."""
    return next(chain(_problems(pool, others), _inside_ranges(pool, network)), None)


def _inside_ranges(pool: MachinePool, network: Network | None) -> Iterator[KokError]:
    """A host whose address is one that its cluster gives to pods or Services: the other nodes would look for it inside."""
    for index, host in enumerate(pool.spec.hosts if network else ()):
        assert network is not None
        field, address = overlap(network, [host.address]) if _is_ip(host.address) else ("", "")
        if field:
            held = network.pod_cidr if field == "podCIDR" else network.service_cidr
            words = f"spec.hosts[{index}].address: {address} of host {host.name} lies in spec.network.{field} {held} of Cluster {pool.spec.cluster_name}"
            hint = "nodes would look for it among their pods and Services; give the host another address, or the hosts a cluster with other ranges"
            yield KokError(ErrorCode.NetworkOverlap, words, hint)


def _is_ip(address: str) -> bool:
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return False
    return True


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
