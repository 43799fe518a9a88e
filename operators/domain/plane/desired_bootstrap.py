"""The bootstrap record of an etcd: a durable note that this etcd has existed, so that an empty member never starts a new one. Pure.

Written by cluster_operator once, after the first quorum: ConfigMap `<cluster>-etcd-bootstrap` (`<cluster>-etcd-events-bootstrap`).
Members mount it (optional) and obey it: `operators.services.etcd_start`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from operators.api.base import LABEL_CLUSTER, LABEL_COMPONENT, LABEL_MANAGED_BY, MANAGED_BY
from operators.api.cluster import Cluster
from operators.domain.plane.inputs import Manifest, Names
from operators.errors import ErrorCode, KokError


@dataclass(frozen=True, slots=True)
class EtcdBootstrap:
    """What is remembered of an etcd's birth."""

    cluster_id: str
    """As etcd reports it (hexadecimal)."""
    token: str
    """Its initial-cluster-token (`first_token` unless it was restored)."""
    added: tuple[str, ...] = ()
    """Members (pod names) that belong to it and have never started, and that may therefore start empty."""
    members: tuple[str, ...] = ()
    """`name=peer URL` of every member as the running etcd lists them."""
    initial: int = 0
    """How many members it began with."""


def first_token(cluster: Cluster, etcd: str) -> str:
    """initial-cluster-token of the first start: different for every Cluster object."""
    return f"{etcd}-{cluster.metadata.uid}"


def bootstrap_record(cluster: Cluster, etcd: str, bootstrap: EtcdBootstrap) -> Manifest:
    """The ConfigMap for `etcd` or `etcd-events`."""
    names = Names.of(cluster)
    labels = {LABEL_MANAGED_BY: MANAGED_BY, LABEL_CLUSTER: names.cluster, LABEL_COMPONENT: etcd}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": names[f"{etcd}-bootstrap"], "namespace": names.namespace, "labels": labels},
        "data": {
            "clusterID": bootstrap.cluster_id,
            "token": bootstrap.token,
            "added": json.dumps(list(bootstrap.added)),
            "members": json.dumps(list(bootstrap.members)),
            "initial": str(bootstrap.initial),
        },
    }


def read_bootstrap(record: Manifest) -> EtcdBootstrap:
    """The inverse. Raises KokError InvalidObject when a field is missing."""
    data = record.get("data") or {}
    try:
        added, members = (tuple(json.loads(data[part])) for part in ("added", "members"))
        return EtcdBootstrap(data["clusterID"], data["token"], added, members, int(data.get("initial") or 0))
    except (KeyError, ValueError, TypeError) as error:
        name = (record.get("metadata") or {}).get("name", "?")
        raise KokError(
            ErrorCode.InvalidObject,
            f"ConfigMap {name} is not a bootstrap record: {error}",
            "restore it from a backup of the meta cluster; without it members do not start",
        ) from error
