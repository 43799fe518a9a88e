"""Ports to business clusters: one client per cluster, a bounded number of open sessions, the least recently used closed first.

TLS contexts are what costs memory, not clients: a client that was closed opens again when it is used.
Given to Cluster-Operator's controllers by its entry point.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict

from operators.adapters.kube import KubeClient
from operators.adapters.kube_credentials import kubeconfig_credentials
from operators.adapters.kube_transport import OnCall
from operators.ports.kube import KubePort

CONNECTIONS = 2
"""To one business cluster at once: it is polled, and what a poll asks may wait in line."""


class BusinessClusters:
    """KubeConnector over `KubeClient`."""

    def __init__(self, *, field_manager: str, open_sessions: int = 64, on_call: OnCall | None = None) -> None:
        self._field_manager, self._open_sessions, self._on_call = field_manager, open_sessions, on_call
        self._clients: OrderedDict[str, tuple[str, KubeClient]] = OrderedDict()
        self._closing: set[asyncio.Task[None]] = set()

    def connect(self, name: str, kubeconfig: str) -> KubePort:
        """See KubeConnector."""
        digest = hashlib.sha256(kubeconfig.encode()).hexdigest()
        known, client = self._clients.get(name, ("", None))
        if client is None or known != digest:
            if client:
                self._close_soon(client)
            credentials = kubeconfig_credentials(kubeconfig, origin=f"the kubeconfig of {name}")
            client = KubeClient(credentials, field_manager=self._field_manager, on_call=self._on_call, connections=CONNECTIONS)
            self._clients[name] = (digest, client)
        self._clients.move_to_end(name)
        self._bound()
        return client

    def _bound(self) -> None:
        opened = [client for _, client in self._clients.values() if client.is_open]
        for client in opened[: max(0, len(opened) - self._open_sessions)]:
            self._close_soon(client)

    def _close_soon(self, client: KubeClient) -> None:
        task = asyncio.get_running_loop().create_task(client.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def forget(self, name: str) -> None:
        """See KubeConnector."""
        _, client = self._clients.pop(name, ("", None))
        if client:
            await client.close()

    async def close(self) -> None:
        """End all sessions."""
        for name in list(self._clients):
            await self.forget(name)
