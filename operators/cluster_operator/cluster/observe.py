"""Reads everything a pass over one Cluster looks at, once, with one `now`. Changes nothing; called by the controller.

From the cache: what may be seconds old. Live: root keys when something seems wrong with them, and everything while the Cluster is being
deleted. A part that cannot be read is `Unknown` with the reason.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from operators.api.base import LABEL_CLUSTER
from operators.api.cluster import Cluster
from operators.api.cluster_release import ClusterRelease
from operators.api.packages import ClusterPackageVersion
from operators.cluster_operator.cluster import kinds
from operators.cluster_operator.cluster.business import BusinessLook
from operators.cluster_operator.cluster.endpoint import endpoint_of, tunnel_of
from operators.cluster_operator.cluster.etcd_look import forget_members, look_at_members
from operators.cluster_operator.cluster.grants import held_grants
from operators.cluster_operator.cluster.node_ports import NodePortLook
from operators.cluster_operator.cluster.planning import Planner
from operators.cluster_operator.cluster.release_look import ReleaseLook
from operators.cluster_operator.cluster.remains import claims_of, pools_of, remains_of
from operators.cluster_operator.cluster.sealed import sealed_ref, unsealed
from operators.cluster_operator.cluster.ssh_secret import look_at_ssh_secret
from operators.cluster_operator.cluster.volumes import with_volume_trouble
from operators.cluster_operator.cluster.world import Remembered, World
from operators.domain.plane.certificates import digest_of
from operators.domain.plane.drift import ObjectId
from operators.domain.plane.etcd_shape import shapes_of
from operators.domain.plane.inputs import Names, PlaneEndpoint, PlaneInputs, etcds_of
from operators.domain.plane.view import BusinessApi, Plan, PlaneView, RootKeys, Unknown
from operators.domain.plane.workloads import component_of, workloads_of
from operators.errors import KokError
from operators.ports.kube import Key, Manifest, Ref

Part = TypeVar("Part")
SecretData = Mapping[str, str]
READ_SECONDS = 5.0
PACKAGE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Objects:
    """What exists of a Cluster: objects by id, its Secrets' data by name, its pods."""

    by_id: Mapping[ObjectId, Manifest]
    pods: tuple[Manifest, ...]
    live: bool = False

    def secrets(self, namespace: str) -> dict[str, SecretData]:
        """Data of the Secrets in that namespace."""
        return {
            each.name: manifest.get("data") or {}
            for each, manifest in self.by_id.items()
            if each.kind == "Secret" and each.namespace == namespace
        }


class Observer:
    """Makes PlaneViews."""

    def __init__(self, world: World, planner: Planner, business: BusinessLook, node_ports: NodePortLook) -> None:
        self._world, self._planner, self._business, self._node_ports = world, planner, business, node_ports
        self._release = ReleaseLook(world, planner, business)
        self._packages: Remembered[ClusterPackageVersion] = Remembered(64, PACKAGE_SECONDS)

    async def observe(self, key: Key) -> PlaneView | None:
        """The view; None if the Cluster is gone."""
        manifest = self._world.cache.get(kinds.CLUSTER.ref(key.name, key.namespace))
        if manifest is None:
            await self._business.forget(key)
            await forget_members(self._world, Names(key.name, key.namespace))
            return None
        cluster = Cluster.parse(manifest)
        view, pods = self._from_cache(key, cluster, manifest)
        release, package = await self._authorised(cluster)
        claims = [each for found, each in view.objects.items() if found.kind == kinds.VOLUME_CLAIM.kind]
        workloads = await with_volume_trouble(self._world, view.workloads, claims)
        taken = await self._node_ports.taken(cluster)
        view = replace(view, release=release, package=package, workloads=workloads, taken_port=taken)
        view = await self._release.facts(key, view)
        if isinstance(package, ClusterPackageVersion) and not view.older:
            view = await self._planned(key, view, package, pods)
        return await self._deleting(view) if cluster.deleting else view

    def _from_cache(self, key: Key, cluster: Cluster, manifest: Manifest) -> tuple[PlaneView, tuple[Manifest, ...]]:
        """What is there without asking anybody, and its pods."""
        objects = self._cached(key)
        namespace = self._world.cache.get(kinds.NAMESPACE.ref(key.namespace)) or {"metadata": {}}
        workloads = [each for each in objects.by_id.values() if each["kind"] in ("StatefulSet", "Deployment")]
        view = PlaneView(
            now=self._world.now(),
            cluster=cluster,
            shown=manifest.get("status") or {},
            fleet=self._world.cache.count(kinds.CLUSTER),
            namespace_phase="Terminating" if namespace["metadata"].get("deletionTimestamp") else "Active",
            namespace_label=(namespace["metadata"].get("labels") or {}).get(LABEL_CLUSTER, ""),
            older=self._older(key, manifest),
            objects=objects.by_id,
            workloads=workloads_of(sorted(workloads, key=_order(cluster)), objects.pods),
            unrecorded=_unrecorded(cluster, objects.by_id),
            grants=held_grants(self._world, cluster),
            pools=tuple(pools_of(self._world.cache.list(kinds.POOL, namespace=key.namespace), key.name)),
        )
        return view, objects.pods

    def _cached(self, key: Key) -> Objects:
        labels = {LABEL_CLUSTER: key.name}
        outside = {**labels, kinds.LABEL_NAMESPACE: key.namespace}
        found = [each for kind in kinds.CHILDREN for each in self._world.cache.list(kind, namespace=key.namespace, labels=labels)]
        found += [each for kind in kinds.OUTSIDE_CHILDREN for each in self._world.cache.list(kind, labels=outside)]
        pods = tuple(self._world.cache.list(kinds.POD, namespace=key.namespace, labels={LABEL_CLUSTER: key.name}))
        return Objects({ObjectId.of(each): each for each in found}, pods)

    def _older(self, key: Key, manifest: Manifest) -> str:
        """The Cluster of this namespace that was there first, if that is another one."""
        others = self._world.cache.list(kinds.CLUSTER, namespace=key.namespace)
        first = min((*others, manifest), key=lambda each: (each["metadata"].get("creationTimestamp", ""), each["metadata"]["name"]))
        name = str(first["metadata"]["name"])
        return "" if name == key.name else name

    async def _authorised(self, cluster: Cluster) -> tuple[ClusterRelease | Unknown | None, ClusterPackageVersion | Unknown | None]:
        """What is authorised, and that package; before the first authorisation the wished one."""
        found = self._world.cache.get(kinds.RELEASE.ref(cluster.metadata.name, cluster.metadata.namespace or ""))
        try:
            release = ClusterRelease.parse(found) if found else None
            wanted = release.spec.plane_package if release else cluster.spec.package_version
            return release, await self._package(wanted)
        except KokError as error:
            return Unknown(error.message), Unknown(error.message)

    async def _package(self, name: str) -> ClusterPackageVersion | None:
        """From the cache, or live: a package that no Cluster uses yet wakes nobody, so the cache does not hold it. Its spec never changes."""
        ref = kinds.PACKAGE.ref(name)
        manifest = self._world.cache.get(ref)
        version = manifest["metadata"]["resourceVersion"] if manifest else ""
        if known := self._packages.get((name, version)):
            return known
        manifest = manifest or await self._world.meta.get(ref, deadline=READ_SECONDS)
        return self._packages.put((name, version), ClusterPackageVersion.parse(manifest)) if manifest else None

    async def _planned(self, key: Key, view: PlaneView, package: ClusterPackageVersion, pods: Sequence[Manifest]) -> PlaneView:
        """Endpoint, keys, plan, and the look inside: each needs the one before."""
        names = Names.of(view.cluster)
        service = view.objects.get(ObjectId("v1", "Service", key.namespace, names["apiserver"]))
        endpoint, waits = await endpoint_of(view.cluster, service)
        resolved = endpoint if isinstance(endpoint, PlaneEndpoint) else None
        agents = view.objects.get(ObjectId("v1", "Service", key.namespace, names["konnectivity-agents"]))
        tunnel, tunnel_waits = tunnel_of(view.cluster, resolved, agents)
        inputs = PlaneInputs(view.cluster, package, resolved, tunnel=tunnel)
        view = replace(view, endpoint=endpoint, endpoint_waits=waits, tunnel_waits=tunnel_waits)
        view = await self._with_keys(key, view, inputs)
        inputs = replace(inputs, secret_digests=_sound_digests(view, key.namespace), etcd_shapes=shapes_of(view.cluster, view.objects))
        plan, digest = await self._release.plan(inputs, view)
        view = await self._release.prepared(inputs, replace(view, plan=plan), pods)
        if not isinstance(plan, Plan):
            return view
        business, (ssh_secret, ssh_code), found = await asyncio.gather(
            self._look(key, view, plan, digest),
            look_at_ssh_secret(self._world, view.cluster),
            look_at_members(self._world, view, pods),
        )
        return replace(view, business=business, ssh_secret=ssh_secret, ssh_code=ssh_code, etcds=found.etcds, stranded=found.stranded)

    async def _with_keys(self, key: Key, view: PlaneView, inputs: PlaneInputs) -> PlaneView:
        """Root keys as the cache has them; if something seems wrong, all of it again from the API server, since a CA may depend on it."""
        sealed = self._world.cache.get(sealed_ref(self._world.own_namespace, view.cluster))
        roots = await self._roots(inputs, view, sealed, live=False)
        if roots.faults or roots.sealed is None or roots.sealed_faults or roots.differing:
            view, sealed_now = await self._with_live_roots(key, view)
            roots = await self._roots(inputs, view, sealed_now, live=True)
        view = replace(view, roots=roots)
        if roots.faults:
            return view
        secrets = Objects(view.objects, ()).secrets(key.namespace)
        return replace(view, leaves=await self._planner.leaf_faults(inputs, secrets, view.now))

    async def _with_live_roots(self, key: Key, view: PlaneView) -> tuple[PlaneView, Manifest | Unknown | None]:
        selector = f"{LABEL_CLUSTER}={key.name}"
        wanted = (kinds.SECRET, kinds.CONFIG_MAP, kinds.VOLUME_CLAIM, kinds.STATEFUL_SET)
        copy = self._world.meta.get(sealed_ref(self._world.own_namespace, view.cluster), deadline=READ_SECONDS)
        sealed, lists = await asyncio.gather(
            _known(copy, "the sealed copy of the root keys"),
            asyncio.gather(*(self._world.meta.list(kind, namespace=key.namespace, selector=selector) for kind in wanted)),
        )
        kept = {each: manifest for each, manifest in view.objects.items() if each.kind not in {kind.kind for kind in wanted}}
        live = {ObjectId.of(manifest): manifest for listing in lists for manifest in listing.items}
        objects = {**kept, **live}
        return replace(view, objects=objects, unrecorded=_unrecorded(view.cluster, objects)), sealed

    async def _roots(self, inputs: PlaneInputs, view: PlaneView, sealed: Manifest | Unknown | None, *, live: bool) -> RootKeys:
        cluster = view.cluster
        secrets = Objects(view.objects, ()).secrets(cluster.metadata.namespace or "")
        specs, faults = await self._planner.root_faults(inputs, secrets)
        if not isinstance(sealed, dict):
            return RootKeys(specs, faults, sealed, live=live)
        copies = {spec.secret: unsealed(sealed, cluster, spec.secret) for spec in specs}
        _, sealed_faults = await self._planner.root_faults(inputs, copies)
        sound = [spec.secret for spec in specs if spec.secret not in faults and spec.secret not in sealed_faults]
        differing = tuple(name for name in sound if not (copies[name] or {}).items() <= secrets[name].items())
        return RootKeys(specs, faults, sealed, sealed_faults, differing, live=live)

    async def _look(self, key: Key, view: PlaneView, plan: Plan, digest: str) -> BusinessApi | Unknown:
        apiserver = view.workloads.get("apiserver")
        if apiserver is None or not apiserver.ready:
            return Unknown(apiserver.shortfall if apiserver else "the API server does not exist yet")
        return await self._business.look(key, view.names, plan, digest)

    async def _deleting(self, view: PlaneView) -> PlaneView:
        """Everything live: what is not seen now would be left behind for ever. A refused second Cluster owns nothing here."""
        if view.older:
            return view
        remains, pools, claims = await asyncio.gather(
            remains_of(self._world, view.cluster), self._live_pools(view.cluster), claims_of(self._world, view.cluster)
        )
        return replace(view, remains=remains, pools=pools, claims=claims)

    async def _live_pools(self, cluster: Cluster) -> tuple[Any, ...]:
        listing = await self._world.meta.list(kinds.POOL, namespace=cluster.metadata.namespace or "")
        return tuple(pools_of(listing.items, cluster.metadata.name))


async def _known(read: Awaitable[Part], what: str) -> Part | Unknown:
    try:
        return await read
    except KokError as error:
        return Unknown(f"{what} cannot be read: {error.message}")


def _unrecorded(cluster: Cluster, objects: Mapping[ObjectId, Manifest]) -> tuple[str, ...]:
    names, namespace = Names.of(cluster), cluster.metadata.namespace or ""
    return tuple(etcd for etcd in etcds_of(cluster) if ObjectId("v1", "ConfigMap", namespace, names[f"{etcd}-bootstrap"]) not in objects)


def _sound_digests(view: PlaneView, namespace: str) -> dict[str, str]:
    """Digests of the Secrets that are as they should be; pods are rendered only from these."""
    if view.roots is None:
        return {}
    unsound = {*view.roots.faults, *(leaf.spec.secret for leaf in view.leaves)}
    return {name: digest_of(data) for name, data in Objects(view.objects, ()).secrets(namespace).items() if data and name not in unsound}


def _order(cluster: Cluster) -> Any:
    """Workloads in the order in which they are brought up."""
    order = ["etcd", "etcd-events", "apiserver", "controller-manager", "scheduler", "konnectivity", "machine-operator"]

    def place(manifest: Manifest) -> tuple[int, str]:
        component = component_of(manifest)
        return (order.index(component) if component in order else len(order), component)

    return place


def ref_of(cluster: Cluster) -> Ref:
    """The Cluster itself."""
    return kinds.CLUSTER.ref(cluster.metadata.name, cluster.metadata.namespace or "")
