"""A KubePort that writes only while this process surely leads: right also in the instant after it was stopped and continued.

The elector ends a process that lost its lease, but a process that wakes from a long stop may have a write on its lips before its guard runs.
Reads pass. Given to controllers by the entry points; never to the Lease itself.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from operators.engine.leadership import Leadership
from operators.errors import ErrorCode, KokError
from operators.ports.kube import (
    ANY_STATE,
    DEFAULT_DEADLINE,
    JsonPatch,
    Kind,
    KubeConnector,
    KubePort,
    Listing,
    Manifest,
    Preconditions,
    Propagation,
    Ref,
    Subresource,
    WatchEvent,
)


class FencedKube:
    """Passes everything on; a write without leadership is KokError LeaseLost, and nothing was sent."""

    def __init__(self, kube: KubePort, leadership: Leadership) -> None:
        self._kube, self._leadership = kube, leadership

    def _leading(self) -> KubePort:
        if not self._leadership.is_held:
            raise KokError(ErrorCode.LeaseLost, "this process does not lead any more: nothing was written", "another replica goes on")
        return self._kube

    async def get(self, ref: Ref, *, deadline: float = DEFAULT_DEADLINE) -> Manifest | None:
        """See KubePort."""
        return await self._kube.get(ref, deadline=deadline)

    async def list(self, kind: Kind, *, namespace: str = "", selector: str = "", deadline: float = DEFAULT_DEADLINE) -> Listing:
        """See KubePort."""
        return await self._kube.list(kind, namespace=namespace, selector=selector, deadline=deadline)

    async def create(self, manifest: Manifest, *, deadline: float = DEFAULT_DEADLINE) -> Manifest:
        """See KubePort."""
        return await self._leading().create(manifest, deadline=deadline)

    async def apply(self, manifest: Manifest, *, deadline: float = DEFAULT_DEADLINE) -> Manifest:
        """See KubePort."""
        return await self._leading().apply(manifest, deadline=deadline)

    async def patch_status(self, ref: Ref, status: Manifest, *, deadline: float = DEFAULT_DEADLINE) -> Manifest:
        """See KubePort."""
        return await self._leading().patch_status(ref, status, deadline=deadline)

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
        kube = self._leading()
        return await kube.patch_json(ref, patch, resource_version=resource_version, subresource=subresource, deadline=deadline)

    async def create_subresource(
        self, ref: Ref, subresource: Subresource, body: Manifest, *, deadline: float = DEFAULT_DEADLINE
    ) -> Manifest:
        """See KubePort."""
        return await self._leading().create_subresource(ref, subresource, body, deadline=deadline)

    async def delete(
        self,
        ref: Ref,
        *,
        preconditions: Preconditions = ANY_STATE,
        propagation: Propagation = Propagation.Background,
        deadline: float = DEFAULT_DEADLINE,
    ) -> bool:
        """See KubePort."""
        return await self._leading().delete(ref, preconditions=preconditions, propagation=propagation, deadline=deadline)

    def watch(self, kind: Kind, *, namespace: str = "", selector: str = "", resource_version: str = "") -> AsyncIterator[WatchEvent]:
        """See KubePort."""
        return self._kube.watch(kind, namespace=namespace, selector=selector, resource_version=resource_version)

    async def read_path(self, path: str, *, deadline: float = DEFAULT_DEADLINE) -> str:
        """See KubePort."""
        return await self._kube.read_path(path, deadline=deadline)

    async def close(self) -> None:
        """See KubePort."""
        await self._kube.close()


class FencedConnector:
    """KubeConnector whose ports are fenced."""

    def __init__(self, connector: KubeConnector, leadership: Leadership) -> None:
        self._connector, self._leadership = connector, leadership

    def connect(self, name: str, kubeconfig: str) -> KubePort:
        """See KubeConnector."""
        return FencedKube(self._connector.connect(name, kubeconfig), self._leadership)

    async def forget(self, name: str) -> None:
        """See KubeConnector."""
        await self._connector.forget(name)
