"""Looks at a target whose holder never reported. Reads only; decides nothing (domain/risk/sighting.py does). Called by both controllers of the risk centre."""

from __future__ import annotations

import asyncio
import base64

from operators.api.base import API_VERSION
from operators.api.risk import Target
from operators.domain.risk.sighting import Sighted, Sighting, sighted_machine
from operators.errors import ErrorCode, KokError
from operators.ports.kube import Kind, KubeConnector, KubePort

CLUSTER, MACHINE, NODE, SECRET = Kind(API_VERSION, "Cluster"), Kind(API_VERSION, "Machine"), Kind("v1", "Node"), Kind("v1", "Secret")
DEADLINE = 5.0


class Targets:
    """Machines, by the facts of their business cluster; `kube` is the meta cluster."""

    def __init__(self, kube: KubePort, connector: KubeConnector) -> None:
        self._kube, self._connector = kube, connector

    async def look(self, namespace: str, target: Target) -> Sighted:
        """What is seen now. Whatever cannot be seen is Unclear, never an error."""
        try:
            if await self._kube.get(CLUSTER.ref(target.cluster, namespace), deadline=DEADLINE) is None:
                return Sighted(Sighting.Gone, f"its Cluster {namespace}/{target.cluster} does not exist")
            if target.kind != MACHINE.kind:
                return Sighted(Sighting.Unclear, f"only its requester can tell of a {target.kind}")
            return await self._look_at_machine(namespace, target)
        except KokError as error:
            return Sighted(Sighting.Unclear, error.message)

    async def _look_at_machine(self, namespace: str, target: Target) -> Sighted:
        business = await self._business(namespace, target.cluster)
        machine, node = await asyncio.gather(
            business.get(MACHINE.ref(target.name), deadline=DEADLINE), business.get(NODE.ref(target.name), deadline=DEADLINE)
        )
        return sighted_machine(machine, node)

    async def _business(self, namespace: str, cluster: str) -> KubePort:
        """The business cluster's API server, by the kubeconfig that the Cluster-Operator wrote for itself."""
        name = f"{cluster}-operator-kubeconfig"
        secret = await self._kube.get(SECRET.ref(name, namespace), deadline=DEADLINE)
        encoded = ((secret or {}).get("data") or {}).get("kubeconfig")
        if not encoded:
            raise KokError(ErrorCode.SecretMissing, f"there is no way into {namespace}/{cluster}: Secret {name} is missing or empty")
        return self._connector.connect(f"{namespace}/{cluster}", base64.b64decode(encoded).decode())
