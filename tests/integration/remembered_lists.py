"""A KubePort for tests that reads a list anew only if etcd says that something of that kind has changed since it was read last.

Tests make passes by the hundred, each on a sweep of every kind, and between two of them hardly anything changes: lists were most of their
work. What is answered is always what the server would answer now: the same read of etcd that says so is as linearizable as a list.
Used by the fixtures of the Cluster controller's and of the rollouts' tests.
"""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
from collections.abc import Sequence

from operators.adapters.kube_kinds import KNOWN
from operators.api.base import API_VERSION
from operators.ports.kube import DEFAULT_DEADLINE, Kind, KubePort, Listing
from tests.integration.kube_proxies import RecordingKube

State = tuple[int, int]
"""How many objects of a kind there are, and the revision of the youngest: whatever is written or deleted makes it another."""
ODD_PLACES = {"Service": "services/specs", "Endpoints": "services/endpoints", "Node": "minions", "Event": ""}
OF_OTHER_GROUPS = {"apiextensions.k8s.io/v1", "apiregistration.k8s.io/v1"}


def place_of(kind: Kind) -> str:
    """Where kube-apiserver keeps objects of that kind in etcd; empty if that is not known here, and then lists are always read."""
    if kind.api_version == API_VERSION:
        return f"/registry/{kind.group}/{kind.kind.lower()}s/"
    if kind not in KNOWN or kind.api_version in OF_OTHER_GROUPS:
        return ""
    place = ODD_PLACES.get(kind.kind, KNOWN[kind].plural)
    return f"/registry/{place}/" if place else ""


class EtcdLook:
    """What etcd says of kinds, asked by its JSON gateway; and the lists that were read of the whole cluster. One per API server."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._connection: http.client.HTTPConnection | None = None
        self.lists: dict[tuple[Kind, str, str], tuple[State, Listing]] = {}

    def states(self, kinds: Sequence[Kind], revision: str = "") -> dict[Kind, State]:
        """All of them at one revision: that one, or now. Takes a few milliseconds, and blocks."""
        at = {"revision": revision} if revision else {}
        wanted = [{"requestRange": _youngest(place_of(kind)) | at} for kind in kinds]
        answer = self._post("/v3/kv/txn", {"success": wanted})
        return {kind: _state(each["response_range"]) for kind, each in zip(kinds, answer["responses"], strict=True)}

    def _post(self, path: str, body: object) -> dict[str, list[dict[str, dict[str, object]]]]:
        for last in (False, True):
            connection = self._connection or http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
            try:
                connection.request("POST", path, json.dumps(body))
                answer = connection.getresponse()
                text = answer.read()
            except (OSError, http.client.HTTPException):
                connection.close()
                self._connection = None
                if last:
                    raise
                continue
            self._connection = connection
            assert answer.status == 200, text
            found: dict[str, list[dict[str, dict[str, object]]]] = json.loads(text)
            return found
        raise AssertionError("unreachable")


def _youngest(place: str) -> dict[str, object]:
    """A range over everything at that place, of which only the count and the key that was written last is told."""
    end = place[:-1] + chr(ord(place[-1]) + 1)
    return {"key": _base64(place), "rangeEnd": _base64(end), "keysOnly": True, "limit": 1, "sortOrder": "DESCEND", "sortTarget": "MOD"}


def _state(found: dict[str, object]) -> State:
    keys = found.get("kvs")
    return int(str(found.get("count", 0))), int(keys[0]["mod_revision"]) if isinstance(keys, list) else 0


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


class RememberingKube(RecordingKube):
    """Everything goes to the server, but a list of which nothing has changed."""

    def __init__(self, kube: KubePort, look: EtcdLook) -> None:
        super().__init__(kube)
        self._look = look
        self._own: dict[tuple[Kind, str, str], tuple[State, Listing]] = {}
        """Lists of one namespace: they go with the test."""
        self._wanted: set[Kind] = set()
        self._asking: asyncio.Task[dict[Kind, State]] | None = None

    async def list(self, kind: Kind, *, namespace: str = "", selector: str = "", deadline: float = DEFAULT_DEADLINE) -> Listing:
        if not place_of(kind):
            return await super().list(kind, namespace=namespace, selector=selector, deadline=deadline)
        state, key = await self._state(kind), (kind, namespace, selector)
        lists = self._own if namespace else self._look.lists
        known = lists.get(key)
        if known and known[0] == state:
            return known[1]
        listing = await super().list(kind, namespace=namespace, selector=selector, deadline=deadline)
        # It may be of a later state than the one seen before it, and that one can come again: what was made is deleted.
        lists[key] = self._look.states([kind], listing.resource_version)[kind], listing
        return listing

    async def _state(self, kind: Kind) -> State:
        """As of now. Whoever asks at the same time is told by the same look."""
        self._wanted.add(kind)
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask())
        return (await asyncio.shield(self._asking))[kind]

    async def _ask(self) -> dict[Kind, State]:
        await asyncio.sleep(0)  # until all who ask together have asked
        wanted, self._wanted, self._asking = sorted(self._wanted), set(), None
        return self._look.states(wanted)
