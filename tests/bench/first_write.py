"""Seconds until a client may write: polls a kubeconfig's API server every 50 ms over a new TLS connection each time."""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import yaml

POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Client:
    """A kubeconfig with a client certificate, opened once."""

    host: str
    port: int
    tls: ssl.SSLContext

    @classmethod
    def of(cls, kubeconfig: str) -> Client:
        """The first cluster and the first user of the text."""
        config = yaml.safe_load(kubeconfig)
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        tls = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
        with tempfile.TemporaryDirectory() as folder:
            pair = Path(folder) / "client.pem"
            pair.write_bytes(base64.b64decode(user["client-certificate-data"]) + base64.b64decode(user["client-key-data"]))
            tls.load_cert_chain(pair)
        server = urlsplit(cluster["server"])
        return cls(server.hostname or "", server.port or 443, tls)

    def write(self, name: str) -> bool:
        """Whether a ConfigMap of that name could be created (or is there)."""
        body = json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}})
        connection = http.client.HTTPSConnection(self.host, self.port, timeout=2, context=self.tls)
        try:
            connection.request("POST", "/api/v1/namespaces/default/configmaps", body, {"Content-Type": "application/json"})
            return connection.getresponse().status in (201, 409)
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


def until_first_write(client: Client, *, began: float, timeout: float = 180) -> float:
    """Seconds from `began` (monotonic) to the first accepted write. Raises TimeoutError."""
    while time.monotonic() - began < timeout:
        if client.write("first-write"):
            return time.monotonic() - began
        time.sleep(POLL_SECONDS)
    raise TimeoutError(f"no write after {timeout:.0f} s")
