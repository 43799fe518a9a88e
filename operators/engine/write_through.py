"""A KubePort that puts what its writes return into the cache at once, so that the next pass does not decide on what was before them.

Given to controllers by the entry points; reads go to the server as ever.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from operators.engine.cache import ObjectCache
from operators.ports.kube import (
    ANY_STATE,
    DEFAULT_DEADLINE,
    JsonPatch,
    Kind,
    KubePort,
    Listing,
    Manifest,
    Preconditions,
    Propagation,
    Ref,
    Subresource,
    WatchEvent,
)


class WriteThrough:
    """Passes everything on. A delete changes nothing in the cache: finalizers may hold the object, the watch tells when it is gone."""

    def __init__(self, kube: KubePort, cache: ObjectCache, *, server: str = "meta") -> None:
        self._kube, self._cache, self._server = kube, cache, server

    def _kept(self, manifest: Manifest) -> Manifest:
        if "metadata" in manifest and manifest["metadata"].get("name"):
            self._cache.put(manifest, server=self._server)
        return manifest

    async def get(self, ref: Ref, *, deadline: float = DEFAULT_DEADLINE) -> Manifest | None:
        """See KubePort."""
        return await self._kube.get(ref, deadline=deadline)

    async def list(self, kind: Kind, *, namespace: str = "", selector: str = "", deadline: float = DEFAULT_DEADLINE) -> Listing:
        """See KubePort."""
        return await self._kube.list(kind, namespace=namespace, selector=selector, deadline=deadline)

    async def create(self, manifest: Manifest, *, deadline: float = DEFAULT_DEADLINE) -> Manifest:
        """See KubePort."""
        return self._kept(await self._kube.create(manifest, deadline=deadline))

    async def apply(self, manifest: Manifest, *, deadline: float = DEFAULT_DEADLINE) -> Manifest:
        """See KubePort."""
        return self._kept(await self._kube.apply(manifest, deadline=deadline))

    async def patch_status(self, ref: Ref, status: Manifest, *, deadline: float = DEFAULT_DEADLINE) -> Manifest:
        """See KubePort."""
        return self._kept(await self._kube.patch_status(ref, status, deadline=deadline))

    async def patch_json(
        self,
        ref: Ref,
        patch: JsonPatch | Manifest,
        *,
        resource_version: str = "",
        subresource: Subresource | None = None,
        deadline: float = DEFAULT_DEADLINE,
    ) -> Manifest:
        """See KubePort."""
        written = self._kube.patch_json(ref, patch, resource_version=resource_version, subresource=subresource, deadline=deadline)
        return self._kept(await written)

    async def create_subresource(
        self, ref: Ref, subresource: Subresource, body: Manifest, *, deadline: float = DEFAULT_DEADLINE
    ) -> Manifest:
        """See KubePort."""
        return await self._kube.create_subresource(ref, subresource, body, deadline=deadline)

    async def delete(
        self,
        ref: Ref,
        *,
        preconditions: Preconditions = ANY_STATE,
        propagation: Propagation = Propagation.Background,
        deadline: float = DEFAULT_DEADLINE,
    ) -> bool:
        """See KubePort."""
        return await self._kube.delete(ref, preconditions=preconditions, propagation=propagation, deadline=deadline)

    def watch(self, kind: Kind, *, namespace: str = "", selector: str = "", resource_version: str = "") -> AsyncIterator[WatchEvent]:
        """See KubePort."""
        return self._kube.watch(kind, namespace=namespace, selector=selector, resource_version=resource_version)

    async def read_path(self, path: str, *, deadline: float = DEFAULT_DEADLINE) -> str:
        """See KubePort."""
        return await self._kube.read_path(path, deadline=deadline)

    async def close(self) -> None:
        """See KubePort."""
        await self._kube.close()
