"""The bootstrap record of an etcd: a durable note that this etcd has existed, so that an empty member never starts a new one. Pure.

Written by cluster_operator once, after the first quorum: ConfigMap `<cluster>-etcd-bootstrap` (`<cluster>-etcd-events-bootstrap`).
Members mount it (optional) and obey it: `operators.services.etcd_start`.
"""

from __future__ import annotations

from dataclasses import dataclass

from operators.api.cluster import Cluster
from operators.domain.plane.inputs import Manifest


@dataclass(frozen=True, slots=True)
class EtcdBootstrap:
    """What is remembered of an etcd's birth."""

    cluster_id: str
    """As etcd reports it (hexadecimal)."""
    token: str
    """Its initial-cluster-token (`first_token` unless it was restored)."""
    added: tuple[str, ...] = ()
    """Members (pod names) that the operator has added to the running etcd and that may therefore start empty."""


def first_token(cluster: Cluster, etcd: str) -> str:
    """initial-cluster-token of the first start: different for every Cluster object."""
    return f"{etcd}-{cluster.metadata.uid}"


def bootstrap_record(cluster: Cluster, etcd: str, bootstrap: EtcdBootstrap) -> Manifest:
    """The ConfigMap for `etcd` or `etcd-events`."""
    raise NotImplementedError


def read_bootstrap(record: Manifest) -> EtcdBootstrap:
    """The inverse. Raises KokError InvalidObject when a field is missing."""
    raise NotImplementedError
