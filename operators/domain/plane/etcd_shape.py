"""How many pods an etcd has and how many members it began with, from what exists: never simply what the spec wishes. Pure; called by observe.

Members that begin an etcd together must agree on how many they are, and a pod must exist for exactly those that etcd knows. So the number is
fixed by the first StatefulSet, then by the bootstrap record, which follows etcd's own member list.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from operators.api.cluster import Cluster
from operators.domain.plane.desired_bootstrap import EtcdBootstrap, read_bootstrap
from operators.domain.plane.drift import ObjectId
from operators.domain.plane.inputs import EtcdShape, Manifest, Names, etcds_of
from operators.errors import KokError

PEER_PORT = 2380


def record_of(cluster: Cluster, etcd: str, objects: Mapping[ObjectId, Manifest]) -> EtcdBootstrap | None:
    """The bootstrap record; None if there is none or it cannot be read (members then refuse to start, and say so)."""
    names = Names.of(cluster)
    found = objects.get(ObjectId("v1", "ConfigMap", names.namespace, names[f"{etcd}-bootstrap"]))
    try:
        return read_bootstrap(found) if found else None
    except KokError:
        return None


def shape_of(cluster: Cluster, etcd: str, objects: Mapping[ObjectId, Manifest]) -> EtcdShape:
    """The shape to render."""
    names = Names.of(cluster)
    live = objects.get(ObjectId("apps/v1", "StatefulSet", names.namespace, names[etcd]))
    begun = _begun_with(live) if live else 0
    record = record_of(cluster, etcd, objects)
    wished = cluster.spec.etcd.members
    initial = (record.initial if record else 0) or begun or wished
    if record is None:
        return EtcdShape(initial, initial)
    recorded = max((ordinal_of_member(names, etcd, member.partition("=")[2]) for member in record.members), default=-1) + 1
    replicas = recorded or (int(live["spec"].get("replicas") or 0) if live else 0)
    return EtcdShape(initial, replicas or initial)


def shapes_of(cluster: Cluster, objects: Mapping[ObjectId, Manifest]) -> dict[str, EtcdShape]:
    """Of every etcd of the plane."""
    return {etcd: shape_of(cluster, etcd, objects) for etcd in etcds_of(cluster)}


def _begun_with(stateful_set: Mapping[str, Any]) -> int:
    """What its pods are told; those of older templates list exactly the first members."""
    pod = (stateful_set["spec"].get("template") or {}).get("spec") or {}
    containers = pod.get("initContainers") or ()
    told = {each["name"]: each.get("value", "") for container in containers for each in container.get("env") or ()}
    try:
        return int(told.get("KOK_ETCD_INITIAL") or len(json.loads(told.get("KOK_ETCD_MEMBERS") or "{}")))
    except ValueError:
        return 0


def peer_url(names: Names, etcd: str, ordinal: int) -> str:
    """The one address of a member, by which etcd knows it."""
    return f"https://{names.etcd_member_host(etcd, ordinal)}:{PEER_PORT}"


def ordinal_of_member(names: Names, etcd: str, url: str) -> int:
    """The inverse; -1 for an address that is none of ours."""
    pod = url.removeprefix("https://").partition(".")[0]
    number = pod.removeprefix(f"{names[etcd]}-")
    ordinal = int(number) if number.isdigit() and len(number) < 4 else -1
    return ordinal if ordinal >= 0 and url == peer_url(names, etcd, ordinal) else -1
