"""A client that never stops asking: new connections, a kept one, watches. What failed is kept in words; a retry that client-go makes too is no failure.

client-go tries again after 429 with Retry-After, and on a connection that was closed before it answered an idempotent request.
"""

from __future__ import annotations

import base64
import http.client
import itertools
import json
import ssl
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import yaml

PAUSE = 0.1
CLOSED = (
    http.client.RemoteDisconnected,
    http.client.CannotSendRequest,
    ConnectionResetError,
    BrokenPipeError,
    ssl.SSLEOFError,
    ssl.SSLZeroReturnError,
)
"""What a kept connection says when the server had closed it before the request arrived."""

Headers = dict[str, str]


MAPS = "/api/v1/namespaces/default/configmaps?labelSelector=traffic"


@dataclass
class Position:
    """Where one watch is."""

    version: str = ""
    names: set[str] = field(default_factory=set)
    lists: int = 0


class Outcome(NamedTuple):
    served: bool
    reusable: bool


@dataclass
class Traffic:
    """Use as a context manager; `failures` and `asked` are to be looked at afterwards."""

    kubeconfig: str
    watches: int = 20
    asked: int = 0
    written: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        config = yaml.safe_load(self.kubeconfig)
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        self._at = urlsplit(cluster["server"])
        self._context = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
        with tempfile.TemporaryDirectory() as folder:
            for name in ("certificate", "key"):
                Path(folder, name).write_bytes(base64.b64decode(user[f"client-{name}-data"]))
            self._context.load_cert_chain(Path(folder, "certificate"), Path(folder, "key"))
        self._stop, self._enough, self._lock = threading.Event(), threading.Event(), threading.Lock()
        self._seen = {number: Position() for number in range(self.watches)}
        self._threads = [
            threading.Thread(target=work, daemon=True) for work in (self._new_connections, self._kept_connection, self._writes)
        ]
        self._threads += [threading.Thread(target=self._watch, args=(number,), daemon=True) for number in range(self.watches)]

    def __str__(self) -> str:
        return f"{self.asked} requests, {len(self.written)} writes, {len(self.failures)} failed, {self.lists} watches began anew"

    def __enter__(self) -> Traffic:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        deadline = time.monotonic() + 10  # what was written last must reach the watches
        while self.behind and time.monotonic() < deadline:
            time.sleep(0.1)
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=30)

    @property
    def behind(self) -> list[int]:
        """Watches that missed a write."""
        return [number for number, position in self._seen.items() if not set(self.written) <= position.names]

    @property
    def lists(self) -> int:
        """How often a watch had to begin with a new list, beyond its first."""
        return sum(position.lists - 1 for position in self._seen.values())

    def _open(self, timeout: float = 10) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection(str(self._at.hostname), self._at.port, timeout=timeout, context=self._context)

    def _ask(self, connection: http.client.HTTPSConnection, method: str, path: str, body: Any = None) -> tuple[int, bytes, Headers]:
        headers = {"Content-Type": "application/json"}
        connection.request(method, path, json.dumps(body) if body else None, headers)
        answer = connection.getresponse()
        return answer.status, answer.read(), dict(answer.headers)

    def _attempt(self, what: str, connection: http.client.HTTPSConnection, method: str, path: str, body: Any = None) -> Outcome:
        """One request with the retries that client-go makes."""
        with self._lock:
            self.asked += 1
        for again in range(4):
            try:
                status, content, headers = self._ask(connection, method, path, body)
            except CLOSED as error:
                connection.close()
                if again:
                    self._fail(f"{what}: {type(error).__name__}")
                    return Outcome(served=False, reusable=False)
                continue
            except OSError as error:
                self._fail(f"{what}: {type(error).__name__} {error}")
                return Outcome(served=False, reusable=False)
            if status == 429 and "Retry-After" in headers:
                connection.close()
                time.sleep(float(headers["Retry-After"]))
                continue
            served = status in (200, 201, 409)
            if not served:
                self._fail(f"{what}: {status} {content[:200]!r}")
            return Outcome(served, reusable=headers.get("Connection") != "close")
        self._fail(f"{what}: refused again and again")
        return Outcome(served=False, reusable=False)

    def _fail(self, words: str) -> None:
        with self._lock:
            self.failures.append(f"{time.strftime('%H:%M:%S')} {words}")

    def _new_connections(self) -> None:
        while not self._stop.wait(PAUSE):
            connection = self._open()
            self._attempt("new connection", connection, "GET", "/api/v1/namespaces/default")
            connection.close()

    def _kept_connection(self) -> None:
        connection = self._open()
        while not self._stop.wait(PAUSE):
            if not self._attempt("kept connection", connection, "GET", "/api/v1/namespaces/kube-system").reusable:
                connection.close()
                connection = self._open()

    def _writes(self) -> None:
        """`written` has what was acknowledged; 409 is the answer to a repetition of what had arrived."""
        connection = self._open()
        for number in itertools.count():
            if self._enough.wait(PAUSE):
                return
            name = f"traffic-{number:05d}"
            body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": {"traffic": "yes"}}}
            outcome = self._attempt("write", connection, "POST", "/api/v1/namespaces/default/configmaps", body)
            if outcome.served:
                self.written.append(name)
            if not outcome.reusable:
                connection.close()
                connection = self._open()

    def _watch(self, number: int) -> None:
        """As a reflector does: list, then watch; again from the last version when the stream ends, a new list when that version is too old."""
        position = self._seen[number]
        while not self._stop.is_set():
            connection = self._open(timeout=3)
            try:
                if not position.version:
                    self._list(connection, position)
                self._follow(connection, position)
            except (TimeoutError, http.client.HTTPException, ConnectionError, ssl.SSLError, ValueError):
                continue  # nothing was written for a while, or a cut stream: the next one goes on where it ended
            finally:
                connection.close()

    def _list(self, connection: http.client.HTTPSConnection, position: Position) -> None:
        status, content, headers = self._ask(connection, "GET", MAPS)
        if status != 200:
            time.sleep(float(headers.get("Retry-After") or 1))
            return
        found = json.loads(content)
        position.names = {each["metadata"]["name"] for each in found["items"]}
        position.version = found["metadata"]["resourceVersion"]
        position.lists += 1

    def _follow(self, connection: http.client.HTTPSConnection, position: Position) -> None:
        if not position.version:
            return
        connection.request("GET", f"{MAPS}&watch=true&allowWatchBookmarks=true&resourceVersion={position.version}&timeoutSeconds=600")
        answer = connection.getresponse()
        if answer.status == 429:
            time.sleep(float(answer.headers.get("Retry-After") or 1))
            return
        if answer.status != 200:
            self._fail(f"watch: {answer.status}")
        while not self._stop.is_set() and (line := answer.readline()):
            event = json.loads(line)
            if event["type"] == "ERROR":
                position.version = ""
                if event["object"].get("code") != http.client.GONE:
                    self._fail(f"watch: {event['object'].get('message')}")
                return
            position.version = event["object"]["metadata"]["resourceVersion"]
            if event["type"] == "ADDED":
                position.names.add(event["object"]["metadata"]["name"])
