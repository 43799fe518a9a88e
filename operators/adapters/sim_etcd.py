"""EtcdPort in memory: members that run or do not, with the rules of a real etcd for who may change the membership. Twin of `etcd`.

For tests of who asks. It knows nothing of raft: the leader is the first voter that runs, and a change happens at once or is refused.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace

from operators.api.risk import Operation
from operators.domain.plane.etcd_facts import Member, MemberStatus
from operators.errors import ErrorCode, KokError
from operators.ports.etcd import EtcdAccess, EtcdPort, MemberList
from operators.ports.grants import Grant, GrantsPort


@dataclass
class SimEtcd:
    """One etcd. A test starts, stops and wipes members by the names of their pods; the membership changes through ports only."""

    members: dict[int, Member] = field(default_factory=dict)
    running: set[str] = field(default_factory=set)
    """Pods whose etcd runs."""
    joined: dict[str, int] = field(default_factory=dict)
    """Pod -> member that its disk belongs to; absent = the disk is empty."""
    index: int = 10
    lag: dict[str, int] = field(default_factory=dict)
    """Pod -> entries that it is behind."""
    preferred: int = 0
    """Leader by a transfer, while it runs."""
    _made: int = 0x100

    def begin(self, pods: dict[str, str]) -> None:
        """The first start: pod -> peer URL, all voters, all running."""
        for pod, url in pods.items():
            member = self._new(pod, url, is_learner=False)
            self.running.add(pod)
            self.joined[pod] = member.id

    def _new(self, name: str, url: str, *, is_learner: bool) -> Member:
        self._made += 1
        member = self.members[self._made] = Member(self._made, name, url, is_learner)
        return member

    def start(self, pod: str) -> bool:
        """As its pod does: with its data, or empty as the newest member of that name; False if neither is a member."""
        member_id = self.joined.get(pod) or next((m.id for m in self.members.values() if pod_of(m.peer_url) == pod and not m.name), 0)
        if member_id not in self.members:
            return False
        self.joined[pod] = member_id
        self.members[member_id] = replace(self.members[member_id], name=pod)
        self.running.add(pod)
        return True

    def stop(self, pod: str) -> None:
        """Its process ends."""
        self.running.discard(pod)

    def wipe(self, pod: str) -> None:
        """Its disk is lost; the process with it."""
        self.stop(pod)
        self.joined.pop(pod, None)

    def alive(self, pod: str) -> Member | None:
        """The member that runs there, if any."""
        return self.members.get(self.joined.get(pod, 0)) if pod in self.running else None

    @property
    def voters(self) -> list[Member]:
        """Those who vote, running or not."""
        return [member for member in self.members.values() if not member.is_learner]

    @property
    def running_voters(self) -> list[Member]:
        """Those who vote now."""
        alive = [self.alive(pod) for pod in sorted(self.running)]
        return [member for member in alive if member and not member.is_learner]

    @property
    def has_quorum(self) -> bool:
        """Whether anything can be decided."""
        return len(self.running_voters) > len(self.voters) // 2

    @property
    def leader(self) -> int:
        """Id of the leader; 0 without a quorum."""
        if not self.has_quorum:
            return 0
        ids = [member.id for member in self.running_voters]
        return self.preferred if self.preferred in ids else ids[0]


def pod_of(peer_url: str) -> str:
    """Name of the pod: the first label of the host."""
    return peer_url.partition("://")[2].partition(":")[0].partition(".")[0]


class SimEtcdPort:
    """EtcdPort over one SimEtcd."""

    def __init__(self, etcd: SimEtcd, access: EtcdAccess, grants: GrantsPort) -> None:
        self._etcd, self._access, self._grants = etcd, access, grants

    def _reached(self) -> list[str]:
        pods = [each.pod for each in self._access.members if self._etcd.alive(each.pod)]
        if not pods:
            raise KokError(ErrorCode.Unreachable, f"no member of {self._access.name} answers")
        return pods

    def _quorum(self) -> None:
        self._reached()
        if not self._etcd.has_quorum:
            raise KokError(ErrorCode.Timeout, f"etcd {self._access.name} has no quorum")

    async def member_list(self) -> MemberList:
        """See EtcdPort."""
        self._quorum()
        return MemberList("51", tuple(sorted(self._etcd.members.values(), key=lambda member: member.id)))

    async def status(self, pod: str) -> MemberStatus:
        """See EtcdPort."""
        member = self._etcd.alive(pod)
        if member is None or pod not in self._reached():
            raise KokError(ErrorCode.Unreachable, f"etcd member {pod} cannot be reached: the connection was refused")
        applied = self._etcd.index - self._etcd.lag.get(pod, 0)
        return MemberStatus(member.id, self._etcd.leader, self._etcd.index, applied, member.is_learner, "3.6.8", 20480)

    async def add_learner(self, peer_url: str) -> Member:
        """See EtcdPort."""
        self._quorum()
        if any(member.peer_url == peer_url for member in self._etcd.members.values()):
            raise _refused("Peer URLs already exists")
        if any(member.is_learner for member in self._etcd.members.values()):
            raise _refused("too many learner members in cluster")
        return self._etcd._new("", peer_url, is_learner=True)

    async def promote(self, member_id: int) -> None:
        """See EtcdPort."""
        self._quorum()
        member = self._etcd.members.get(member_id)
        if member is None:
            raise _refused("member not found")
        if not member.is_learner:
            return
        if not member.name or member.name not in self._etcd.running or self._etcd.lag.get(member.name, 0) > self._etcd.index // 10:
            raise _refused("can only promote a learner member which is in sync with leader")
        self._etcd.members[member_id] = replace(member, is_learner=False)

    async def move_leader(self, member_id: int) -> None:
        """See EtcdPort."""
        self._quorum()
        if member_id not in [member.id for member in self._etcd.running_voters]:
            raise _refused("leadership transfer failed")
        self._etcd.preferred = member_id

    async def remove_member(self, member_id: int, *, pod: str, grant: Grant) -> None:
        """See EtcdPort. A member that is down may go; one that runs only while the others keep the quorum without it."""
        await self._grants.verify(grant, operation=Operation.RemoveEtcdMember, target=pod)
        self._quorum()
        member = self._etcd.members.get(member_id)
        if member is None:
            return
        left = [each for each in self._etcd.voters if each.id != member_id]
        alive = [each for each in self._etcd.running_voters if each.id != member_id]
        if not member.is_learner and len(alive) <= len(left) // 2:
            raise _refused("re-configuration failed due to not enough started members")
        del self._etcd.members[member_id]
        for name, joined in self._etcd.joined.items():
            if joined == member_id:
                self._etcd.running.discard(name)

    async def snapshot(self, pod: str) -> AsyncIterator[bytes]:
        """See EtcdPort."""
        await self.status(pod)
        yield f"snapshot of {pod} at {self._etcd.index}".encode()


class SimEtcds:
    """EtcdConnector over the SimEtcds of a test, by `namespace/name`."""

    def __init__(self, grants: GrantsPort) -> None:
        self._grants = grants
        self.etcds: dict[str, SimEtcd] = {}

    def connect(self, access: EtcdAccess) -> EtcdPort:
        """See EtcdConnector."""
        return SimEtcdPort(self.etcds.setdefault(access.name, SimEtcd()), access, self._grants)

    async def forget(self, name: str) -> None:
        """See EtcdConnector."""


def _refused(words: str) -> KokError:
    return KokError(ErrorCode.EtcdRefused, f"etcd refuses: etcdserver: {words}", "it is tried again by itself")
