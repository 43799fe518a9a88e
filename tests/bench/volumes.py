"""Volumes that are there before anybody asks for them, as on hosts whose disks were divided beforehand: StorageClass `prepared`.

The lab's default class makes a volume with a helper pod, in about four seconds; a plane that names `prepared` shows its own speed instead.
A used volume is emptied and offered again by the next bench; nothing else recycles it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from meta_cluster.lab import layout
from meta_cluster.lab.docker import docker

CLASS = "prepared"
COUNT = 24
FOLDER = "/var/kok-volumes"
CAPACITY = "20Gi"


def storage_class() -> dict[str, Any]:
    """No provisioner: a claim waits for its pod and takes a volume on that pod's node."""
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": CLASS},
        "provisioner": "kubernetes.io/no-provisioner",
        "volumeBindingMode": "WaitForFirstConsumer",
        "reclaimPolicy": "Retain",
    }


def volume(name: str, node: str) -> dict[str, Any]:
    """A local volume, bound to the node that has the folder."""
    here = {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}]}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name, "labels": {layout.LABEL: layout.LABEL_VALUE}},
        "spec": {
            "capacity": {"storage": CAPACITY},
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": CLASS,
            "persistentVolumeReclaimPolicy": "Retain",
            "local": {"path": f"{FOLDER}/{name}"},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [here]}},
        },
    }


def names_of(node: str) -> list[str]:
    """The volumes of one node."""
    return [f"{node}-{number:02}" for number in range(COUNT)]


def used(listed: dict[str, Any]) -> list[str]:
    """Volumes of a PersistentVolumeList that somebody had and gave back."""
    return [item["metadata"]["name"] for item in listed["items"] if item["status"].get("phase") == "Released"]


def ensure_volumes(nodes: Sequence[str]) -> None:
    """Make the missing volumes of each node and empty those that were given back. Raises KokError LabFailed."""
    listed = json.loads(_kubectl("get", "persistentvolumes", "-l", layout.LABELLED, "-o", "json"))
    there = {item["metadata"]["name"] for item in listed["items"]}
    given_back = used(listed)
    if given_back:
        _kubectl("delete", "persistentvolumes", *given_back)
    missing = [(name, node) for node in nodes for name in names_of(node) if name not in there or name in given_back]
    if not missing:
        return
    for node in nodes:
        folders = " ".join(f"{FOLDER}/{name}" for name, owner in missing if owner == node)
        if folders:
            docker("exec", node, "sh", "-c", f"rm -rf {folders} && mkdir -p -m 0777 {folders}")
    objects = [storage_class(), *(volume(name, node) for name, node in missing)]
    _kubectl("apply", "-f", "-", text=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))


def _kubectl(*arguments: str, text: str | None = None) -> str:
    command = ("exec", "-i", "-e", "KUBECONFIG=/etc/kubernetes/admin.conf", layout.META_NODE, "kubectl", *arguments)
    return docker(*command, stdin=text)
