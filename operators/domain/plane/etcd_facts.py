"""What etcd says of its members, as data. Made by the etcd adapters, read by the rules of membership. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Member:
    """One entry of etcd's member list."""

    id: int
    name: str
    """Empty until the member has started for the first time; members of the first start are named from the beginning."""
    peer_url: str
    """The first one; kok gives each member exactly one, which names its pod."""
    is_learner: bool = False


@dataclass(frozen=True, slots=True)
class MemberStatus:
    """What one member says of itself."""

    id: int
    leader: int
    """Id of the leader it follows; 0 = none."""
    raft_index: int
    applied_index: int
    is_learner: bool
    version: str
    database_bytes: int
