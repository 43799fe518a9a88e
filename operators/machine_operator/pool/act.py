"""Does one step of a pool: finalizer, release, Machine objects. Decides nothing; nothing here reaches a host."""

from __future__ import annotations

import contextlib

from operators.api.base import API_VERSION, LABEL_CLUSTER, LABEL_MANAGED_BY, LABEL_POOL, MANAGED_BY
from operators.api.pools import HostRelease, MachinePool
from operators.domain.machine import steps
from operators.domain.machine.pool_view import MACHINES_FINALIZER, PoolView
from operators.domain.machine.steps import Step
from operators.machine_operator import kinds
from operators.machine_operator.world import World
from operators.ports.kube import AlreadyExists, Manifest, NotFound, Ref


class PoolActor:
    """Does steps; there is nothing to say beyond their reasons."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def act(self, view: PoolView, step: Step) -> str:
        """One match. Raises KokError."""
        pool = view.pool
        match step:
            case steps.AddFinalizer():
                await self._set_finalizers(pool, (*pool.metadata.finalizers, MACHINES_FINALIZER))
            case steps.RemoveFinalizer():
                await self._world.servers.meta.delete(_release_ref(pool))
                with contextlib.suppress(NotFound):  # gone since it was seen, by the pass before this one
                    await self._set_finalizers(pool, tuple(name for name in pool.metadata.finalizers if name != MACHINES_FINALIZER))
            case steps.WriteRelease(hosts=hosts):
                before = {entry.name: entry.packages for entry in view.released}
                self._world.board.withdraw(entry.name for entry in hosts if entry.packages != before.get(entry.name))
                await self._write_release(pool, hosts)
            case steps.ApplyMachines(machines=machines):
                for entry in machines:
                    await self._show(machine_manifest(pool, entry))
        return ""

    async def _set_finalizers(self, pool: MachinePool, finalizers: tuple[str, ...]) -> None:
        ref = kinds.MACHINE_POOL.ref(pool.metadata.name, pool.metadata.namespace or "")
        patch = {"metadata": {"finalizers": list(finalizers)}}
        version = pool.metadata.resource_version
        changed = await self._world.servers.meta.patch_json(ref, patch, resource_version=version)
        if finalizers:
            self._world.cache.put(changed)

    async def _write_release(self, pool: MachinePool, hosts: tuple[HostRelease, ...]) -> None:
        """A journal is changed by compare-and-swap: what the next release was derived from is what it replaces."""
        manifest = release_manifest(pool, hosts)
        ref = _release_ref(pool)
        known = self._world.cache.get(ref)
        if known is None:
            self._world.cache.put(await self._world.servers.meta.create(manifest))
            return
        patch = {"metadata": {"ownerReferences": manifest["metadata"]["ownerReferences"]}, "spec": manifest["spec"]}
        version = known["metadata"]["resourceVersion"]
        self._world.cache.put(await self._world.servers.meta.patch_json(ref, patch, resource_version=version))

    async def _show(self, manifest: Manifest) -> None:
        """A merge patch replaces lists whole: what somebody else put into `packages` goes, which no server-side apply of ours would do."""
        ref, business = Ref.of(manifest), self._world.servers.business
        if self._world.cache.get(ref, server=kinds.BUSINESS) is None:
            with contextlib.suppress(AlreadyExists):
                self._world.cache.put(await business.create(manifest), server=kinds.BUSINESS)
            return
        patch = {"metadata": {"labels": manifest["metadata"]["labels"]}, "spec": manifest["spec"]}
        self._world.cache.put(await business.patch_json(ref, patch), server=kinds.BUSINESS)


def _release_ref(pool: MachinePool) -> Ref:
    return kinds.POOL_RELEASE.ref(pool.metadata.name, pool.metadata.namespace or "")


def release_manifest(pool: MachinePool, hosts: tuple[HostRelease, ...]) -> Manifest:
    """The MachinePoolRelease of a pool; it goes with the pool object that it was made for."""
    owner = {"apiVersion": API_VERSION, "kind": "MachinePool", "name": pool.metadata.name, "uid": pool.metadata.uid}
    return {
        "apiVersion": API_VERSION,
        "kind": "MachinePoolRelease",
        "metadata": {
            "name": pool.metadata.name,
            "namespace": pool.metadata.namespace,
            "labels": {LABEL_MANAGED_BY: MANAGED_BY, LABEL_CLUSTER: pool.spec.cluster_name},
            "ownerReferences": [owner],
        },
        "spec": {"hosts": [host.model_dump(mode="json", by_alias=True, exclude_none=True) for host in hosts]},
    }


def machine_manifest(pool: MachinePool, entry: HostRelease) -> Manifest:
    """What kok says in a Machine; gates and desiredState stay the business admin's."""
    labels = {LABEL_MANAGED_BY: MANAGED_BY, LABEL_CLUSTER: pool.spec.cluster_name, LABEL_POOL: pool.metadata.name}
    return {
        "apiVersion": API_VERSION,
        "kind": "Machine",
        "metadata": {"name": entry.name, "labels": labels},
        "spec": {"pool": pool.metadata.name, "packages": list(entry.packages)},
    }
