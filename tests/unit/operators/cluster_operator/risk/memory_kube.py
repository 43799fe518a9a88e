"""A few verbs of an API server in memory, paused before and after every call, so that a test chooses any interleaving and any crash.

For the state machine only: what an API server really does is tested against a real one (tests/integration/risk).
"""

from __future__ import annotations

import json
from collections.abc import Generator
from typing import Any

from operators.ports.kube import AlreadyExists, Conflict, Kind, Listing, Manifest, NotFound, Preconditions, Ref


def copied(value: Any) -> Any:
    """What a client gets of it: JSON over the wire."""
    return json.loads(json.dumps(value))


class Pause:
    """Gives control back to whoever drives the coroutine."""

    def __await__(self) -> Generator[None, None, None]:
        yield


class MemoryKube:
    """get, list, create, patch_json (merge, with the version compared), delete."""

    def __init__(self) -> None:
        self.objects: dict[Ref, Manifest] = {}
        self._version = 0

    def _stored(self, ref: Ref, manifest: Manifest) -> Manifest:
        self._version += 1
        metadata = manifest["metadata"] | {"resourceVersion": str(self._version)}
        self.objects[ref] = {**manifest, "metadata": metadata | {"uid": metadata.get("uid") or f"uid-{self._version}"}}
        return copied(self.objects[ref])

    def put(self, manifest: Manifest) -> None:
        """At once, for the test itself."""
        self._stored(Ref.of(manifest), copied(manifest))

    def is_current(self, found: Manifest, resource_version: str) -> bool:
        """Whether a compare-and-swap goes through."""
        return bool(resource_version == found["metadata"]["resourceVersion"])

    async def get(self, ref: Ref, **_: Any) -> Manifest | None:
        await Pause()
        found = copied(self.objects.get(ref))
        await Pause()
        return found

    async def list(self, kind: Kind, *, namespace: str = "", selector: str = "", **_: Any) -> Listing:
        await Pause()
        label, _, value = selector.partition("=")
        found = [
            copied(item)
            for ref, item in sorted(self.objects.items())
            if ref.type == kind
            and namespace in ("", ref.namespace)
            and (not label or (item["metadata"].get("labels") or {}).get(label) == value)
        ]
        await Pause()
        return Listing(tuple(found), str(self._version))

    async def create(self, manifest: Manifest, **_: Any) -> Manifest:
        await Pause()
        ref = Ref.of(manifest)
        if ref in self.objects:
            raise AlreadyExists(str(ref))
        stored = self._stored(ref, copied(manifest))
        await Pause()
        return stored

    async def patch_json(self, ref: Ref, patch: Any, *, resource_version: str = "", **_: Any) -> Manifest:
        await Pause()
        found = self.objects.get(ref)
        if found is None:
            raise NotFound(str(ref))
        if not self.is_current(found, resource_version):
            raise Conflict(str(ref))
        stored = self._stored(ref, _merged(found, copied(patch)))
        await Pause()
        return stored

    async def delete(self, ref: Ref, *, preconditions: Preconditions, **_: Any) -> bool:
        await Pause()
        found = self.objects.get(ref)
        if found is None:
            return False
        metadata = found["metadata"]
        if (preconditions.uid, preconditions.resource_version) != (metadata["uid"], metadata["resourceVersion"]):
            raise Conflict(str(ref))
        del self.objects[ref]
        await Pause()
        return True


def _merged(old: Any, patch: Any) -> Any:
    if not isinstance(patch, dict) or not isinstance(old, dict):
        return patch
    return {**old, **{field: _merged(old.get(field), value) for field, value in patch.items()}}
