"""Everything that `describe` and `why` look at, read at once. `Picture`s are plain data; only the `look_*` functions read."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from meta_cluster.cli.access import CLUSTER, Meta, no_cluster, open_business
from operators.api.base import API_VERSION, LABEL_CLUSTER
from operators.errors import KokError
from operators.ports.kube import Kind, KubePort, Manifest, NotFound

MACHINE, POOL, RELEASE = (Kind(API_VERSION, name) for name in ("Machine", "MachinePool", "ClusterRelease"))
POD, EVENT, NODE = (Kind("v1", name) for name in ("Pod", "Event", "Node"))
BUSINESS_SECONDS = 5.0
Answer = TypeVar("Answer")
Manifests = tuple[Manifest, ...]


@dataclass(frozen=True, slots=True)
class Business:
    """What the business cluster shows. `problem` says why it could not be looked into; the rest is empty then."""

    machines: Manifests = ()
    nodes: Manifests = ()
    events: Manifests = ()
    problem: str = ""


@dataclass(frozen=True, slots=True)
class ClusterPicture:
    """One Cluster with all that explains it."""

    cluster: Manifest
    release: Manifest | None = None
    pods: Manifests = ()
    events: Manifests = ()
    pools: Manifests = ()
    business: Business = Business()

    @property
    def name(self) -> str:
        """Of the Cluster."""
        return str(self.cluster["metadata"]["name"])

    @property
    def namespace(self) -> str:
        """Of the Cluster."""
        return str(self.cluster["metadata"]["namespace"])

    @property
    def place(self) -> str:
        """namespace/name."""
        return f"{self.namespace}/{self.name}"


async def look_at_cluster(meta: Meta, name: str, namespace: str) -> ClusterPicture:
    """The picture of a Cluster. Raises KokError NotFound if there is none."""
    cluster = await meta.kube.get(CLUSTER.ref(name, namespace))
    if cluster is None:
        raise await no_cluster(meta, namespace, name)
    async with asyncio.TaskGroup() as group:
        release = group.create_task(meta.kube.get(RELEASE.ref(name, namespace)))
        pods = group.create_task(_items(meta.kube, POD, namespace, f"{LABEL_CLUSTER}={name}"))
        events = group.create_task(_items(meta.kube, EVENT, namespace))
        pools = group.create_task(_items(meta.kube, POOL, namespace))
        business = group.create_task(_look_into(meta, name, namespace))
    own = tuple(pool for pool in pools.result() if pool["spec"]["clusterName"] == name)
    return ClusterPicture(cluster, release.result(), pods.result(), events.result(), own, business.result())


async def _items(kube: KubePort, kind: Kind, namespace: str, selector: str = "") -> Manifests:
    return (await kube.list(kind, namespace=namespace, selector=selector)).items


async def _look_into(meta: Meta, name: str, namespace: str) -> Business:
    async def ask(kube: KubePort) -> Business:
        async with asyncio.TaskGroup() as group:
            nodes = group.create_task(_items(kube, NODE, ""))
            events = group.create_task(_items(kube, EVENT, ""))
            machines = group.create_task(_machines(kube))
        return Business(machines.result(), nodes.result(), events.result())

    answer = await ask_business(meta, namespace, name, ask)
    return Business(problem=answer) if isinstance(answer, str) else answer


async def ask_business(meta: Meta, namespace: str, name: str, ask: Callable[[KubePort], Awaitable[Answer]]) -> Answer | str:
    """What a business cluster answers; a sentence where there is no way in, or no answer in time."""
    try:
        async with open_business(meta, namespace, name) as kube, asyncio.timeout(BUSINESS_SECONDS):
            return await ask(kube)
    except KokError as error:
        return error.message
    except TimeoutError:
        return f"the API server of {namespace}/{name} does not answer within {BUSINESS_SECONDS:.0f} s"
    except BaseExceptionGroup as group_error:
        first = group_error.exceptions[0]
        if not isinstance(first, KokError):
            raise
        return first.message


async def _machines(kube: KubePort) -> Manifests:
    try:
        return (await kube.list(MACHINE)).items
    except NotFound:
        return ()
