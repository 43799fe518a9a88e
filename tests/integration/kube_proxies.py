"""KubePorts around a KubePort, for tests: one that writes down every accepted write, one that kills after the n-th of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

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

Answer = TypeVar("Answer")


class Killed(BaseException):
    """The process is dead: no `except Exception` sees it, nothing it does afterwards reaches the server."""


@dataclass(frozen=True, slots=True)
class Write:
    """One write that the server accepted."""

    verb: str
    ref: Ref

    def __str__(self) -> str:
        return f"{self.verb} {self.ref}"


class RecordingKube:
    """Passes everything on; `writes` lists what was accepted, in order. A refused write (Conflict, ...) is not listed."""

    def __init__(self, kube: KubePort) -> None:
        self.kube = kube
        self.writes: list[Write] = []

    async def _written(self, verb: str, ref: Ref, call: Callable[[], Awaitable[Answer]]) -> Answer:
        self._before(verb, ref)
        answer = await call()
        self._accepted(Write(verb, ref))
        return answer

    def _before(self, verb: str, ref: Ref) -> None:
        """Called before each call, reads too (verb `read`)."""

    def _accepted(self, write: Write) -> None:
        self.writes.append(write)

    def written(self, *, without: tuple[str, ...] = ("Event", "Lease")) -> list[Write]:
        """The writes, without the kinds that are exempt by name."""
        return [write for write in self.writes if write.ref.kind not in without]

    async def get(self, ref: Ref, *, deadline: float = DEFAULT_DEADLINE) -> Manifest | None:
        self._before("read", ref)
        return await self.kube.get(ref, deadline=deadline)

    async def list(self, kind: Kind, *, namespace: str = "", selector: str = "", deadline: float = DEFAULT_DEADLINE) -> Listing:
        self._before("read", kind.ref("", namespace))
        return await self.kube.list(kind, namespace=namespace, selector=selector, deadline=deadline)

    async def create(self, manifest: Manifest, *, deadline: float = DEFAULT_DEADLINE) -> Manifest:
        metadata = manifest.get("metadata") or {}
        ref = Ref(manifest["apiVersion"], manifest["kind"], metadata.get("namespace") or "", metadata.get("name") or "")
        return await self._written("create", ref, lambda: self.kube.create(manifest, deadline=deadline))

    async def apply(self, manifest: Manifest, *, deadline: float = DEFAULT_DEADLINE) -> Manifest:
        return await self._written("apply", Ref.of(manifest), lambda: self.kube.apply(manifest, deadline=deadline))

    async def patch_status(self, ref: Ref, status: Manifest, *, deadline: float = DEFAULT_DEADLINE) -> Manifest:
        return await self._written("patch_status", ref, lambda: self.kube.patch_status(ref, status, deadline=deadline))

    async def patch_json(
        self,
        ref: Ref,
        patch: JsonPatch | Manifest,
        *,
        resource_version: str = "",
        subresource: Subresource | None = None,
        deadline: float = DEFAULT_DEADLINE,
    ) -> Manifest:
        def call() -> Awaitable[Manifest]:
            return self.kube.patch_json(ref, patch, resource_version=resource_version, subresource=subresource, deadline=deadline)

        return await self._written("patch_json", ref, call)

    async def create_subresource(
        self, ref: Ref, subresource: Subresource, body: Manifest, *, deadline: float = DEFAULT_DEADLINE
    ) -> Manifest:
        verb = f"create_{subresource}"
        return await self._written(verb, ref, lambda: self.kube.create_subresource(ref, subresource, body, deadline=deadline))

    async def delete(
        self,
        ref: Ref,
        *,
        preconditions: Preconditions = ANY_STATE,
        propagation: Propagation = Propagation.Background,
        deadline: float = DEFAULT_DEADLINE,
    ) -> bool:
        self._before("delete", ref)
        was_there = await self.kube.delete(ref, preconditions=preconditions, propagation=propagation, deadline=deadline)
        if was_there:
            self._accepted(Write("delete", ref))
        return was_there

    def watch(self, kind: Kind, *, namespace: str = "", selector: str = "", resource_version: str = "") -> AsyncIterator[WatchEvent]:
        return self.kube.watch(kind, namespace=namespace, selector=selector, resource_version=resource_version)

    async def read_path(self, path: str, *, deadline: float = DEFAULT_DEADLINE) -> str:
        return await self.kube.read_path(path, deadline=deadline)

    async def close(self) -> None:
        await self.kube.close()


class CrashingKube(RecordingKube):
    """Dies right after its n-th accepted write (`after` = n, 1 = the first): the write happened, its answer never arrives.

    Events and Leases do not count, as they are nobody's progress. Once dead, every call raises Killed.
    """

    def __init__(self, kube: KubePort, *, after: int) -> None:
        super().__init__(kube)
        self.after = after
        self.dead = False

    def _before(self, verb: str, ref: Ref) -> None:
        if self.dead:
            raise Killed(f"dead since write {self.after}, now asked to {verb} {ref}")

    def _accepted(self, write: Write) -> None:
        super()._accepted(write)
        if len(self.written()) >= self.after:
            self.dead = True
            raise Killed(f"killed after write {self.after}: {write}")
