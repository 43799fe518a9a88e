"""The id that a new etcd gives itself, computed as etcd computes it, for the bootstrap record. Pure; called by the ladder.

etcd derives both ids from what it is started with (server/etcdserver/api/membership, `computeMemberID` and `genID`), so the record of a
first quorum needs no connection to it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from operators.api.cluster import Cluster
from operators.domain.plane.desired_bootstrap import EtcdBootstrap, bootstrap_record, first_token
from operators.domain.plane.etcd_shape import peer_url
from operators.domain.plane.inputs import Manifest, Names


def member_id(peer_url: str, token: str) -> int:
    """Id of a member of the initial cluster."""
    return int.from_bytes(hashlib.sha1((peer_url + token).encode(), usedforsecurity=False).digest()[:8], "big")


def cluster_id(peer_urls: Sequence[str], token: str) -> str:
    """Id of the cluster that starts with these members, as etcd prints it: hexadecimal, no leading zeros."""
    members = sorted(member_id(url, token) for url in peer_urls)
    packed = b"".join(member.to_bytes(8, "big") for member in members)
    return f"{int.from_bytes(hashlib.sha1(packed, usedforsecurity=False).digest()[:8], 'big'):x}"


def first_records(cluster: Cluster, began: Mapping[str, tuple[int, tuple[str, ...]]]) -> tuple[Manifest, ...]:
    """The bootstrap records of etcds that have just had their first quorum: how many members began, and which of them are still to come."""
    return tuple(bootstrap_record(cluster, etcd, _bootstrap_of(cluster, etcd, *how)) for etcd, how in began.items())


def _bootstrap_of(cluster: Cluster, etcd: str, initial: int, added: tuple[str, ...]) -> EtcdBootstrap:
    names, token = Names.of(cluster), first_token(cluster, etcd)
    urls = [peer_url(names, etcd, ordinal) for ordinal in range(initial)]
    members = tuple(f"{names.etcd_member(etcd, ordinal)}={url}" for ordinal, url in enumerate(urls))
    return EtcdBootstrap(cluster_id(urls, token), token, added, members, initial)
