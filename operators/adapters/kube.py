"""KubePort for a real API server: verbs to paths and bodies. One field manager, one identity, plain dicts in and out.

Decides nothing and retries nothing but what the server itself asks to be retried (`kube_transport`). Built by the entry points and
by `kube_connector` for business clusters.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import aiohttp
import orjson

from operators.adapters.kube_credentials import Credentials
from operators.adapters.kube_kinds import Kinds
from operators.adapters.kube_transport import CONNECTIONS, OnCall, Request, Transport, error_of, no_answer
from operators.ports.kube import (
    ANY_STATE,
    DEFAULT_DEADLINE,
    JsonPatch,
    Kind,
    Listing,
    Manifest,
    NotFound,
    Preconditions,
    Propagation,
    Ref,
    Subresource,
    WatchEvent,
    WatchEventType,
    WatchExpired,
)

PAGE = 500
WATCH_SECONDS = 300
APPLY = "application/apply-patch+yaml"  # JSON is YAML; the server wants this name
JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"


class KubeClient:
    """KubePort over HTTP. Its connections open on first use and close when idle."""

    def __init__(
        self,
        credentials: Credentials,
        *,
        field_manager: str,
        on_call: OnCall | None = None,
        dry_run: bool = False,
        connections: int = CONNECTIONS,
    ) -> None:
        """With `dry_run` the server answers every write as if it were done, admission included, and stores nothing."""
        self.server = credentials.server
        self._dry_run = {"dryRun": "All"} if dry_run else {}
        self._write = {"fieldManager": field_manager, **self._dry_run}
        self._transport = Transport(credentials, user_agent=field_manager, on_call=on_call, connections=connections)
        self._kinds = Kinds(self._fetch_discovery)

    async def _fetch_discovery(self, path: str) -> bytes:
        return await self._transport.exchange(Request("get", "GET", path, repeatable=True), DEFAULT_DEADLINE)

    def now(self) -> datetime:
        """The time of the API server, by what it last answered; ours until it first did."""
        return self._transport.clock.now()

    @property
    def is_open(self) -> bool:
        """Whether it holds connections now."""
        return self._transport.is_open

    async def get(self, ref: Ref, *, deadline: float = DEFAULT_DEADLINE) -> Manifest | None:
        """See KubePort."""
        path = await self._kinds.object_path(ref)
        try:
            return _object(await self._transport.exchange(Request("get", "GET", path, repeatable=True), deadline))
        except NotFound:
            return None

    async def list(self, kind: Kind, *, namespace: str = "", selector: str = "", deadline: float = DEFAULT_DEADLINE) -> Listing:
        """See KubePort. Items come without managedFields, which are half of their size."""
        path = await self._kinds.collection_path(kind, namespace)
        try:
            return await self._list_pages(path, kind, selector, deadline)
        except WatchExpired:  # the pages' snapshot was compacted while we read: start over, once
            return await self._list_pages(path, kind, selector, deadline)

    async def _list_pages(self, path: str, kind: Kind, selector: str, deadline: float) -> Listing:
        items: list[Manifest] = []
        query = {"limit": str(PAGE), **({"labelSelector": selector} if selector else {})}
        while True:
            page = _object(await self._transport.exchange(Request("list", "GET", path, query, repeatable=True), deadline))
            items += (_item(item, kind) for item in page.get("items") or ())
            metadata = page["metadata"]
            if not metadata.get("continue"):
                return Listing(tuple(items), str(metadata.get("resourceVersion") or ""))
            query["continue"] = metadata["continue"]

    async def create(self, manifest: Manifest, *, deadline: float = DEFAULT_DEADLINE) -> Manifest:
        """See KubePort."""
        kind = Kind(manifest["apiVersion"], manifest["kind"])
        path = await self._kinds.collection_path(kind, (manifest.get("metadata") or {}).get("namespace") or "")
        request = Request("create", "POST", path, self._write, manifest)
        return _object(await self._transport.exchange(request, deadline))

    async def apply(self, manifest: Manifest, *, deadline: float = DEFAULT_DEADLINE) -> Manifest:
        """See KubePort."""
        path = await self._kinds.object_path(Ref.of(manifest))
        return await self._apply("apply", path, manifest, deadline)

    async def patch_status(self, ref: Ref, status: Manifest, *, deadline: float = DEFAULT_DEADLINE) -> Manifest:
        """See KubePort."""
        path = await self._kinds.object_path(ref, Subresource.Status)
        metadata = {"name": ref.name, **({"namespace": ref.namespace} if ref.namespace else {})}
        intent = {"apiVersion": ref.api_version, "kind": ref.kind, "metadata": metadata, "status": status}
        return await self._apply("patch_status", path, intent, deadline)

    async def _apply(self, verb: str, path: str, intent: Manifest, deadline: float) -> Manifest:
        query = {**self._write, "force": "true"}
        request = Request(verb, "PATCH", path, query, intent, APPLY, repeatable=True)
        return _object(await self._transport.exchange(request, deadline))

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
        path = await self._kinds.object_path(ref, subresource)
        body = with_version(patch, resource_version) if resource_version else patch
        content_type = MERGE_PATCH if isinstance(patch, dict) else JSON_PATCH
        request = Request("patch", "PATCH", path, self._write, body, content_type)
        return _object(await self._transport.exchange(request, deadline))

    async def create_subresource(
        self, ref: Ref, subresource: Subresource, body: Manifest, *, deadline: float = DEFAULT_DEADLINE
    ) -> Manifest:
        """See KubePort."""
        path = await self._kinds.object_path(ref, subresource)
        request = Request(f"create_{subresource}", "POST", path, self._write, body)
        return _object(await self._transport.exchange(request, deadline))

    async def delete(
        self,
        ref: Ref,
        *,
        preconditions: Preconditions = ANY_STATE,
        propagation: Propagation = Propagation.Background,
        deadline: float = DEFAULT_DEADLINE,
    ) -> bool:
        """See KubePort."""
        path = await self._kinds.object_path(ref)
        conditions = {"uid": preconditions.uid, "resourceVersion": preconditions.resource_version}
        body = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": str(propagation),
            "preconditions": {field: value for field, value in conditions.items() if value},
            **({} if preconditions.grace_seconds is None else {"gracePeriodSeconds": preconditions.grace_seconds}),
            **({"dryRun": ["All"]} if self._dry_run else {}),  # with a body the server does not look at the query
        }
        try:
            await self._transport.exchange(Request("delete", "DELETE", path, None, body), deadline)
        except NotFound:
            return False
        return True

    async def watch(self, kind: Kind, *, namespace: str = "", selector: str = "", resource_version: str = "") -> AsyncIterator[WatchEvent]:
        """See KubePort."""
        path = await self._kinds.collection_path(kind, namespace)
        query = {"watch": "true", "allowWatchBookmarks": "true", "timeoutSeconds": str(WATCH_SECONDS)}
        query |= {"labelSelector": selector} if selector else {}
        query |= {"resourceVersion": resource_version} if resource_version else {}
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5.0, sock_read=WATCH_SECONDS + 15.0)
        try:
            async with self._transport.open(Request("watch", "GET", path, query), timeout) as response:
                if response.status != 200:
                    raise error_of(response.status, await response.read(), response.headers.get("Retry-After", ""))
                async for line in _lines(response.content):
                    yield _event(line)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise no_answer(self.server, error) from error

    async def read_path(self, path: str, *, deadline: float = DEFAULT_DEADLINE) -> str:
        """See KubePort."""
        return (await self._transport.exchange(Request("read", "GET", path, repeatable=True), deadline)).decode()

    async def close(self) -> None:
        """See KubePort."""
        await self._transport.close()


def with_version(patch: JsonPatch | Manifest, resource_version: str) -> Any:
    """The patch as a compare-and-swap. A JSON patch *replaces* the version: a failed `test` would be told as Invalid, not as Conflict."""
    if isinstance(patch, dict):
        metadata = {**(patch.get("metadata") or {}), "resourceVersion": resource_version}
        return {**patch, "metadata": metadata}
    return [{"op": "replace", "path": "/metadata/resourceVersion", "value": resource_version}, *patch]


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Whole lines; a line may be longer than any buffer."""
    rest = b""
    async for chunk in content.iter_any():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line:
                yield line


def _event(line: bytes) -> WatchEvent:
    event = orjson.loads(line)
    if event["type"] == "ERROR":
        raise error_of(int(event["object"].get("code") or 500), json.dumps(event["object"]).encode())
    return WatchEvent(WatchEventType(event["type"]), event["object"])


def _object(body: bytes) -> Manifest:
    manifest: Manifest = orjson.loads(body)
    return manifest


def _item(item: Manifest, kind: Kind) -> Manifest:
    item["metadata"].pop("managedFields", None)
    return {"apiVersion": kind.api_version, "kind": kind.kind, **item}
