"""HostClaim objects: their name is the host's identity, so that creating one is the lock. Pure; used by the machine's act."""

from __future__ import annotations

import hashlib
from datetime import datetime

from operators.api.base import API_VERSION, LABEL_CLUSTER, LABEL_MANAGED_BY, LABEL_POOL, MANAGED_BY
from operators.api.hosts import Host
from operators.api.pools import MachinePool
from operators.ports.kube import Manifest


def claim_name(address: str, port: int) -> str:
    """SHA-256 of address and port: two pools that list the same host want the same object."""
    return hashlib.sha256(f"{address}:{port}".encode()).hexdigest()


def claim_manifest(pool: MachinePool, host: Host, packages: tuple[str, ...], *, now: datetime) -> Manifest:
    """The claim of a pool on a host."""
    labels = {LABEL_MANAGED_BY: MANAGED_BY, LABEL_CLUSTER: pool.spec.cluster_name, LABEL_POOL: pool.metadata.name}
    return {
        "apiVersion": API_VERSION,
        "kind": "HostClaim",
        "metadata": {"name": claim_name(host.address, host.port), "labels": labels},
        "spec": {
            "address": host.address,
            "port": host.port,
            "namespace": pool.metadata.namespace,
            "cluster": pool.spec.cluster_name,
            "pool": pool.metadata.name,
            "host": host.name,
            "poolUid": pool.metadata.uid,
            "claimedAt": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "packages": list(packages),
            "connection": host.model_dump(mode="json", by_alias=True, exclude_none=True),
        },
    }
