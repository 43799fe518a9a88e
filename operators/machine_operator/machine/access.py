"""How a host is reached: address and keys from the pool or the claim, the private key from the one Secret that the Cluster names. Reads only."""

from __future__ import annotations

import asyncio
import base64
import binascii
from datetime import datetime, timedelta

from operators.api.cluster import Cluster
from operators.api.hosts import Host
from operators.errors import ErrorCode, KokError
from operators.machine_operator.kinds import SECRET
from operators.machine_operator.world import World
from operators.ports.ssh import SshTarget

KEY = "ssh-privatekey"
RECENT = timedelta(seconds=5)


async def ssh_target(world: World, cluster: Cluster, host: Host) -> SshTarget:
    """The target of a host. Raises KokError SecretMissing or SecretInvalid, naming Secret and key."""
    return _target(host, await _private_key(world, cluster))


class RecentKeys:
    """For looks: the private key as it was a few seconds ago, read once for all hosts of a pool that ask meanwhile. Who acts reads it live."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._reads: dict[str, tuple[datetime, asyncio.Task[str]]] = {}

    async def target(self, cluster: Cluster, host: Host) -> SshTarget:
        """As `ssh_target`. A read that fails fails for all who wait for it, at once; whoever comes next reads anew."""
        return _target(host, await asyncio.shield(self._read(cluster)))

    def _read(self, cluster: Cluster) -> asyncio.Task[str]:
        name, now = cluster.spec.machine_access.ssh_key_secret_name if cluster.spec.machine_access else "", self._world.now()
        began, task = self._reads.get(name, (now, None))
        if task is None or abs(now - began) >= RECENT or _has_failed(task):
            task = asyncio.create_task(_private_key(self._world, cluster))
            task.add_done_callback(_has_failed)  # nobody may be left who waits for it
            self._reads = {name: (now, task)}
        return task


def _has_failed(task: asyncio.Task[str]) -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)


def _target(host: Host, private_key: str) -> SshTarget:
    return SshTarget(host.name, host.address, host.port, host.user, host.host_keys, private_key)


async def _private_key(world: World, cluster: Cluster) -> str:
    access = cluster.spec.machine_access
    if access is None:
        message = f"Cluster {cluster.metadata.name} names no machineAccess.sshKeySecretName"
        raise KokError(ErrorCode.SecretMissing, message, "create a Secret of type kubernetes.io/ssh-auth and name it there")
    name, namespace = access.ssh_key_secret_name, world.identity.namespace
    found = await world.servers.meta.get(SECRET.ref(name, namespace))
    if found is None:
        hint = f"kubectl -n {namespace} create secret generic {name} --type=kubernetes.io/ssh-auth --from-file={KEY}=FILE"
        raise KokError(ErrorCode.SecretMissing, f"Secret {namespace}/{name} with the SSH key is not there", hint)
    try:
        return base64.b64decode((found.get("data") or {})[KEY], validate=True).decode()
    except (KeyError, binascii.Error, UnicodeDecodeError) as error:
        raise KokError(
            ErrorCode.SecretInvalid, f"Secret {namespace}/{name} has no usable {KEY}", "it holds a private key in PEM"
        ) from error
