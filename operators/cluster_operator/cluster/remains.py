"""What still belongs to a Cluster that is being deleted, read live: its objects, the pools and claims that need its plane. Called by observe."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence

from pydantic import ValidationError

from operators.api.base import LABEL_CLUSTER
from operators.api.cluster import Cluster
from operators.api.pending import PendingChanges
from operators.cluster_operator.cluster import kinds
from operators.cluster_operator.cluster.world import World
from operators.domain.plane.view import Pool
from operators.ports.kube import Kind, Manifest, NotFound

Items = Sequence[Manifest]


async def remains_of(world: World, cluster: Cluster) -> tuple[Manifest, ...]:
    """Every object of the Cluster that exists now; any that cannot be listed is an error, since it might be left behind."""
    name, namespace = cluster.metadata.name, cluster.metadata.namespace or ""
    own = f"{LABEL_CLUSTER}={name}"
    outside = f"{own},{kinds.LABEL_NAMESPACE}={namespace}"
    lists = await asyncio.gather(
        *(_items(world, kind, namespace, own) for kind in (*kinds.CHILDREN, kinds.POD)),
        *(_items(world, kind, namespace, "") for kind in kinds.UNLABELLED),
        *(_items(world, kind, "", outside) for kind in kinds.OUTSIDE_CHILDREN),
        _items(world, kinds.SECRET, world.own_namespace, outside),
    )
    return tuple(each for items in lists for each in items)


async def _items(world: World, kind: Kind, namespace: str, selector: str) -> Items:
    try:
        return (await world.meta.list(kind, namespace=namespace, selector=selector)).items
    except NotFound:  # its CRD is not installed, so there is none
        return ()


def pools_of(manifests: Iterable[Manifest], cluster: str) -> Iterator[Pool]:
    """The MachinePools of that cluster."""
    for manifest in manifests:
        status, spec = manifest.get("status") or {}, manifest.get("spec") or {}
        if spec.get("clusterName") == cluster:
            yield Pool(
                name=manifest["metadata"]["name"],
                cluster=cluster,
                deleting="deletionTimestamp" in manifest["metadata"],
                machines=int(status.get("machines") or 0),
                ready=int(status.get("ready") or 0),
                message=str(status.get("message") or ""),
                pending=_pending(status),
            )


def _pending(status: Manifest) -> tuple[PendingChanges, ...]:
    """As the pool shows them; what cannot be read is not shown again."""
    try:
        return tuple(PendingChanges.model_validate(each) for each in status.get("pending") or ())
    except ValidationError:
        return ()


async def claims_of(world: World, cluster: Cluster) -> tuple[str, ...]:
    """Hosts that are claimed for this Cluster."""
    found = []
    for manifest in await _items(world, kinds.CLAIM, "", ""):
        spec = manifest.get("spec") or {}
        if (spec.get("namespace"), spec.get("cluster")) == (cluster.metadata.namespace, cluster.metadata.name):
            found.append(f"{spec.get('host')} (HostClaim {manifest['metadata']['name']})")
    return tuple(found)
