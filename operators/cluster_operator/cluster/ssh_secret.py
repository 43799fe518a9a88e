"""Looks at the Secret that spec.machineAccess names: it is the user's own, so it carries no label and is read live. Called by observe; writes nothing."""

from __future__ import annotations

from operators.api.cluster import Cluster
from operators.cluster_operator.cluster.world import World
from operators.errors import ErrorCode, KokError
from operators.ports.kube import Kind
from operators.services.ssh_key import ssh_key_fault

SECRET, KEY = Kind("v1", "Secret"), "ssh-privatekey"
READ_SECONDS = 5.0


async def look_at_ssh_secret(world: World, cluster: Cluster) -> tuple[str, ErrorCode]:
    """What is wrong with it and its code; no words if it can be used, or if nobody asked for one."""
    if cluster.spec.machine_access is None:
        return "", ErrorCode.SecretMissing
    name, namespace = cluster.spec.machine_access.ssh_key_secret_name, cluster.metadata.namespace or ""
    where = f"spec.machineAccess.sshKeySecretName: Secret {namespace}/{name}"
    create = f"kubectl -n {namespace} create secret generic {name} --type=kubernetes.io/ssh-auth --from-file={KEY}=FILE"
    try:
        secret = await world.meta.get(SECRET.ref(name, namespace), deadline=READ_SECONDS)
    except KokError as error:
        return f"Secret {namespace}/{name} cannot be read: {error.message}", ErrorCode.SecretMissing
    if secret is None:
        return f"{where} does not exist; {create}", ErrorCode.SecretMissing
    text = (secret.get("data") or {}).get(KEY)
    if not text:
        return f"{where} has nothing under {KEY}; delete it, then {create}", ErrorCode.SecretInvalid
    if fault := ssh_key_fault(str(text)):
        return f"{where}: {KEY} cannot be used: {fault}; delete it, then {create}", ErrorCode.SecretInvalid
    return "", ErrorCode.SecretMissing
