"""What only mode Plan needs to know: every package version, and the pools of every Cluster. Reads only; called by observe."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import TypeVar

from operators.api.base import API_VERSION, Resource
from operators.api.packages import ClusterPackageVersion, MachinePackageVersion
from operators.api.pools import MachinePool
from operators.cluster_operator.cluster import kinds as cluster_kinds
from operators.cluster_operator.cluster.world import World
from operators.domain.rollout.forecast import Catalogue
from operators.errors import KokError
from operators.ports.kube import Kind, Manifest

MACHINE_PACKAGE = Kind(API_VERSION, "MachinePackageVersion")
Model = TypeVar("Model", bound=Resource)


async def catalogue_of(world: World) -> Catalogue:
    """Every package version, read live. Raises KokError when they cannot be read."""
    planes = await world.meta.list(cluster_kinds.PACKAGE)
    machines = await world.meta.list(MACHINE_PACKAGE)
    return catalogue_from(planes.items, machines.items)


def catalogue_from(planes: Iterable[Manifest], machines: Iterable[Manifest]) -> Catalogue:
    """By name; what we cannot read is not there for us."""
    return Catalogue(_read(ClusterPackageVersion, planes), _read(MachinePackageVersion, machines))


def pools_by_cluster(world: World) -> Mapping[str, tuple[MachinePool, ...]]:
    """Cluster (namespace/name) -> its pools, from the cache."""
    found: dict[str, list[MachinePool]] = defaultdict(list)
    for pool in _read(MachinePool, world.cache.list(cluster_kinds.POOL), by_place=True).values():
        found[f"{pool.metadata.namespace}/{pool.spec.cluster_name}"].append(pool)
    return {key: tuple(pools) for key, pools in found.items()}


def _read(model: type[Model], manifests: Iterable[Manifest], *, by_place: bool = False) -> dict[str, Model]:
    found: dict[str, Model] = {}
    for manifest in manifests:
        metadata = manifest["metadata"]
        try:
            found[f"{metadata.get('namespace')}/{metadata['name']}" if by_place else metadata["name"]] = model.parse(manifest)
        except KokError:
            continue
    return found
