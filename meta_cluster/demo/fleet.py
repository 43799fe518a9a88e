"""The demo's manifests: what a user would commit to Git. Pure; applied by `stories`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Manifest = dict[str, Any]

NAMESPACE = "demo"
CLUSTER = "demo"
POOL = "workers"
HOSTS = ("demo-1", "demo-2")
WEB_IMAGE = "registry.kok.dev/web:1"
SSH_SECRET = "demo-ssh"  # noqa: S105 - the name of a Secret


@dataclass(frozen=True, slots=True)
class LabHost:
    """One host of the lab, as `kok lab host list -o json` tells it."""

    name: str
    address: str
    host_keys: tuple[str, ...]


def namespace() -> Manifest:
    """The namespace of the business cluster. Its label is there so that an API server notes whose fields these are: of an object that was applied
    without any it notes nothing, and writes it once more at the next apply after somebody else's.
    """
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": {"env": "demo"}}}


def ssh_secret(private_key: str) -> Manifest:
    """The key with which the Machine-Operator reaches the hosts."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/ssh-auth",
        "metadata": {"name": SSH_SECRET, "namespace": NAMESPACE},
        "stringData": {"ssh-privatekey": private_key},
    }


def cluster(package_version: str, *, host: str, port: int) -> Manifest:
    """One Cluster object: everything else of the business cluster follows from it."""
    return {
        "apiVersion": "kok.dev/v1alpha1",
        "kind": "Cluster",
        "metadata": {"name": CLUSTER, "namespace": NAMESPACE, "labels": {"env": "demo"}},
        "spec": {
            "packageVersion": package_version,
            "etcd": {"members": 1, "storageGiB": 1},
            "endpoint": {"type": "NodePort", "host": host, "port": port},
            "machineAccess": {"sshKeySecretName": SSH_SECRET},
            "deletionProtection": True,
        },
    }


def pool(hosts: Sequence[LabHost]) -> Manifest:
    """The hosts that become nodes."""
    return {
        "apiVersion": "kok.dev/v1alpha1",
        "kind": "MachinePool",
        "metadata": {"name": POOL, "namespace": NAMESPACE},
        "spec": {
            "clusterName": CLUSTER,
            "hosts": [
                {"name": host.name, "address": host.address, "hostKeys": list(host.host_keys), "zone": f"z{index}"}
                for index, host in enumerate(hosts, start=1)
            ],
            "packages": {"follow": "Cluster"},
        },
    }


def web() -> list[Manifest]:
    """A web pod on one node, a client pod on the other, and the Service between them."""
    return [_web_pod(), _client_pod(), _service()]


def _web_pod() -> Manifest:
    return _pod("web", HOSTS[0], ["httpd", "-f", "-v", "-p", "8080", "-h", "/www"], {"app": "web"})


def _client_pod() -> Manifest:
    return _pod("client", HOSTS[1], ["sleep", "1000000"], {"app": "client"})


def _pod(name: str, node: str, command: list[str], labels: dict[str, str]) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "labels": labels},
        "spec": {
            "nodeSelector": {"kubernetes.io/hostname": node},
            "terminationGracePeriodSeconds": 1,
            "containers": [{"name": name, "image": WEB_IMAGE, "command": command, "imagePullPolicy": "IfNotPresent"}],
        },
    }


def _service() -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]},
    }
