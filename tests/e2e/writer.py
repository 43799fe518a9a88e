"""A client that writes all the time through a business cluster's endpoint, and knows afterwards whether anything that was acknowledged is missing."""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

PATH = "/api/v1/namespaces/default/configmaps"


@dataclass
class Writer:
    """Creates one ConfigMap after the other, a new connection after every failure, as an ordinary client would."""

    kubeconfig: Path
    acknowledged: list[str] = field(default_factory=list)
    longest_gap: float = 0.0
    failed: int = 0
    _ends: threading.Event = field(default_factory=threading.Event)
    _last: float = 0.0

    def __post_init__(self) -> None:
        config = yaml.safe_load(self.kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        self._address = urlsplit(cluster["server"]).netloc
        self._tls = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
        with tempfile.NamedTemporaryFile(suffix=".pem") as file:
            pair = (base64.b64decode(user[f"client-{part}-data"]) for part in ("certificate", "key"))
            file.write(b"\n".join(pair))
            file.flush()
            self._tls.load_cert_chain(file.name)
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Writer:
        self._last = time.monotonic()
        self._thread.start()
        self.until_more(3)
        self.longest_gap = 0.0
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self._thread.join(timeout=30)

    def until_more(self, count: int = 10, patience: float = 180.0) -> None:
        """Writes go on: so many more are acknowledged."""
        wanted, end = len(self.acknowledged) + count, time.monotonic() + patience
        while len(self.acknowledged) < wanted:
            assert time.monotonic() < end, f"no write was acknowledged for {patience:.0f} s"
            time.sleep(0.05)

    def _run(self) -> None:
        number, connection = 0, self._connection()
        while not self._ends.is_set():
            number += 1
            name = f"write-{time.time_ns()}-{number}"
            try:
                status = self._create(connection, name)
            except (OSError, http.client.HTTPException):
                connection.close()
                connection, status = self._connection(), 0
            if status == http.HTTPStatus.CREATED:
                now = time.monotonic()
                self.longest_gap, self._last = max(self.longest_gap, now - self._last), now
                self.acknowledged.append(name)
            else:
                self.failed += 1
            time.sleep(0.03)

    def _connection(self) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection(self._address, context=self._tls, timeout=3)

    def _create(self, connection: http.client.HTTPSConnection, name: str) -> int:
        body = json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": {"writer": "e2e"}}})
        connection.request("POST", PATH, body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        response.read()
        return response.status

    def lost(self) -> list[str]:
        """Acknowledged, and not there by a quorum read."""
        there: set[str] = set()
        following = ""
        while True:
            page = self._page(following)
            there |= {item["metadata"]["name"] for item in page["items"]}
            following = page["metadata"].get("continue", "")
            if not following:
                return [name for name in self.acknowledged if name not in there]

    def _page(self, following: str) -> dict[str, Any]:
        connection = http.client.HTTPSConnection(self._address, context=self._tls, timeout=30)
        connection.request("GET", f"{PATH}?labelSelector=writer%3De2e&limit=500&continue={following}")
        page: dict[str, Any] = json.loads(connection.getresponse().read())
        connection.close()
        return page
