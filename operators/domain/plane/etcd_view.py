"""One etcd as a pass sees it: what etcd says, what its pods and volumes say, and what is recorded of it. Data; made by observe, read by `members`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from operators.domain.plane.desired_bootstrap import EtcdBootstrap
from operators.domain.plane.etcd_facts import Member, MemberStatus
from operators.domain.plane.etcd_shape import ordinal_of_member, peer_url
from operators.domain.plane.inputs import Names


@dataclass(frozen=True, slots=True)
class MemberPod:
    """The pod of one ordinal."""

    name: str
    uid: str
    ready: bool = False
    ending: bool = False
    empty: bool = False
    """Its start step looked at the disk, found nothing, and refused."""
    begun: bool = False
    """Its start step let etcd start."""
    outdated: bool = False
    gone_node: str = ""
    """In words, when its node is confirmed to be gone."""


@dataclass(frozen=True, slots=True)
class MemberVolume:
    """The volume claim of one ordinal."""

    name: str
    uid: str
    ending: bool = False
    gone_node: str = ""
    """In words, when its data can be had on one node only and that node is confirmed to be gone."""


@dataclass(frozen=True, slots=True)
class EtcdView:
    """One etcd whose members were asked."""

    etcd: str
    """etcd or etcd-events."""
    names: Names
    wanted: int
    """Members that the spec wishes."""
    replicas: int
    """Pods that the StatefulSet has or makes."""
    record: EtcdBootstrap
    cluster_id: str = ""
    members: tuple[Member, ...] = ()
    silent: str = ""
    """Why the member list is not known; empty when it is."""
    statuses: Mapping[int, MemberStatus] = field(default_factory=dict)
    """By member id: those that answered."""
    pods: Mapping[int, MemberPod] = field(default_factory=dict)
    """By ordinal, as are volumes."""
    volumes: Mapping[int, MemberVolume] = field(default_factory=dict)
    single_confirmed: bool = False
    """Whether the spec says that one member is meant."""

    def ordinal(self, member: Member) -> int:
        """Which of ours it is; -1 for a member that kok did not add."""
        return ordinal_of_member(self.names, self.etcd, member.peer_url)

    def pod_name(self, ordinal: int) -> str:
        """Name of the pod of that ordinal."""
        return self.names.etcd_member(self.etcd, ordinal)

    def peer_url(self, ordinal: int) -> str:
        """Peer URL of that ordinal."""
        return peer_url(self.names, self.etcd, ordinal)

    @property
    def by_ordinal(self) -> Mapping[int, Member]:
        """Our members."""
        return {self.ordinal(member): member for member in self.members if self.ordinal(member) >= 0}

    @property
    def voters(self) -> tuple[Member, ...]:
        """Those whose votes make the quorum."""
        return tuple(member for member in self.members if not member.is_learner)

    @property
    def learner(self) -> Member | None:
        """The one that is joining; etcd allows one at a time."""
        return next((member for member in self.members if member.is_learner), None)

    @property
    def leader(self) -> int:
        """Id of the leader that most of those who answered follow; 0 if there is none."""
        named = [status.leader for status in self.statuses.values() if status.leader]
        return max(named, key=lambda leader: (named.count(leader), leader), default=0)
