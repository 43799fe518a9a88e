"""A meta cluster for one etcd in memory: what its pods, disks, StatefulSet and record do to each other, driven by the rules of membership.

For tests that interleave failures, changes of the wish and passes of the operator. Time does not exist: each call is one event.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from operators.adapters.sim_etcd import SimEtcd
from operators.domain.plane.desired_bootstrap import EtcdBootstrap
from operators.domain.plane.etcd_facts import MemberStatus
from operators.domain.plane.etcd_shape import ordinal_of_member, peer_url
from operators.domain.plane.etcd_view import EtcdView, MemberPod, MemberVolume
from operators.domain.plane.inputs import Names
from operators.domain.plane.member_steps import (
    AddLearner,
    DiscardMember,
    HandOverLeadership,
    MemberStep,
    Promote,
    RemoveMember,
    RestartPod,
    UpdateRecord,
)
from operators.domain.plane.members import next_repair, next_shrink
from operators.domain.plane.steps import RollMember

NAMES = Names("demo", "demo")


@dataclass
class Model:
    """`begin` it, then let things happen."""

    wanted: int = 3
    confirmed: bool = False
    etcd: SimEtcd = field(default_factory=SimEtcd)
    pods: dict[int, MemberPod] = field(default_factory=dict)
    volumes: dict[int, MemberVolume] = field(default_factory=dict)
    record: EtcdBootstrap = field(default_factory=lambda: EtcdBootstrap("51", "t"))
    started_empty: list[str] = field(default_factory=list)
    """Pods that began with an empty disk while they already had a vote: what must never be."""
    _made: int = 0

    def begin(self) -> Model:
        """As many members as wanted, all well."""
        self.etcd.begin({self.name(each): peer_url(NAMES, "etcd", each) for each in range(self.wanted)})
        for ordinal in range(self.wanted):
            self.volumes[ordinal] = MemberVolume(f"data-{self.name(ordinal)}", self._uid())
            self.pods[ordinal] = MemberPod(self.name(ordinal), self._uid(), ready=True, begun=True)
        members = tuple(f"{self.name(each)}={peer_url(NAMES, 'etcd', each)}" for each in range(self.wanted))
        self.record = replace(self.record, members=members, initial=self.wanted)
        return self

    def name(self, ordinal: int) -> str:
        return NAMES.etcd_member("etcd", ordinal)

    def _uid(self) -> str:
        self._made += 1
        return f"uid-{self._made}"

    @property
    def replicas(self) -> int:
        """The StatefulSet follows the record."""
        return max(ordinal_of_member(NAMES, "etcd", each.partition("=")[2]) for each in self.record.members) + 1

    def kubernetes(self) -> None:
        """Every controller and kubelet does what there is to do."""
        for ordinal in [each for each in self.pods if each >= self.replicas]:
            self.end_pod(ordinal)
        for ordinal in range(self.replicas):
            if self.volumes.get(ordinal, MemberVolume("", "", ending=True)).ending and ordinal not in self.pods:
                self.volumes[ordinal] = MemberVolume(f"data-{self.name(ordinal)}", self._uid())
            if ordinal not in self.pods:
                self.pods[ordinal] = MemberPod(self.name(ordinal), self._uid())
        for ordinal in self.pods:
            self._start(ordinal)

    def _start(self, ordinal: int) -> None:
        pod = self.pods[ordinal]
        if pod.gone_node or self.volumes[ordinal].gone_node or pod.name in self.etcd.running:
            return
        if pod.name in self.etcd.joined:
            ready = self.etcd.start(pod.name)
            self.pods[ordinal] = replace(pod, begun=True, ready=ready, empty=False)
        elif pod.name not in self.record.added:
            self.pods[ordinal] = replace(pod, empty=True, begun=False, ready=False)
        else:
            began = self.etcd.start(pod.name)
            member = self.etcd.alive(pod.name)
            if began and member and not member.is_learner:
                self.started_empty.append(pod.name)
            self.pods[ordinal] = replace(pod, begun=began, ready=False, empty=False)

    def end_pod(self, ordinal: int) -> None:
        """Its pod is deleted; the disk stays."""
        pod = self.pods.pop(ordinal, None)
        if pod:
            self.etcd.stop(pod.name)

    def crash(self, ordinal: int) -> None:
        """Its process ends; the kubelet starts it again."""
        self.etcd.stop(self.name(ordinal))

    def lose_disk(self, ordinal: int) -> None:
        """Claim and pod are deleted by somebody."""
        self.volumes.pop(ordinal, None)
        self.etcd.wipe(self.name(ordinal))
        self.end_pod(ordinal)

    def lose_node(self, ordinal: int) -> None:
        """Its node is confirmed to be gone, with the disk."""
        self.etcd.wipe(self.name(ordinal))
        words = "node w1, which does not exist any more"
        if ordinal in self.pods:
            self.pods[ordinal] = replace(self.pods[ordinal], gone_node=words, ready=False)
        if ordinal in self.volumes:
            self.volumes[ordinal] = replace(self.volumes[ordinal], gone_node=words)

    def view(self) -> EtcdView:
        """What a pass sees."""
        quorum = self.etcd.has_quorum
        alive = [member for pod in sorted(self.etcd.running) if (member := self.etcd.alive(pod))]
        statuses = {
            each.id: MemberStatus(each.id, self.etcd.leader, 100, 100 - self.etcd.lag.get(each.name, 0), each.is_learner, "3.6.8", 1)
            for each in alive
        }
        return EtcdView(
            etcd="etcd",
            names=NAMES,
            wanted=self.wanted,
            replicas=self.replicas,
            record=self.record,
            members=tuple(self.etcd.members.values()) if quorum else (),
            silent="" if quorum else "no quorum",
            statuses=statuses,
            pods=dict(self.pods),
            volumes=dict(self.volumes),
            single_confirmed=self.confirmed,
        )

    def step(self) -> MemberStep | RollMember | None:
        """What the operator would do now."""
        view = self.view()
        return next_repair(view) or next_shrink(view)

    def act(self, step: MemberStep | RollMember) -> None:
        """Do it, as etcd and Kubernetes would; what they refuse changes nothing."""
        match step:
            case UpdateRecord(added=added, members=members):
                self.record = replace(self.record, added=added, members=members)
            case AddLearner(peer_url=url):
                assert not any(each.is_learner or each.peer_url == url for each in self.etcd.members.values())
                self.etcd._new("", url, is_learner=True)
            case Promote(member_id=member):
                self.etcd.members[member] = replace(self.etcd.members[member], is_learner=False)
            case HandOverLeadership(member_id=member):
                self.etcd.preferred = member
            case RemoveMember(member_id=member):
                self._remove(member)
            case DiscardMember(claim=claim, pod=pod):
                if claim:
                    self.volumes.pop(int(claim[-1]))
                    self.etcd.joined.pop(f"demo-etcd-{claim[-1]}", None)
                if pod:
                    self.end_pod(int(pod[-1]))
            case RestartPod(pod=pod) | RollMember(pod=pod):
                self.end_pod(int(pod[-1]))

    def _remove(self, member: int) -> None:
        del self.etcd.members[member]
        for pod, joined in self.etcd.joined.items():
            if joined == member:
                self.etcd.running.discard(pod)

    def settle(self, passes: int = 200) -> bool:
        """Nothing goes wrong any more: is everything as wished after so many passes?"""
        for _ in range(passes):
            self.kubernetes()
            if step := self.step():
                self.act(step)
            elif self.is_right:
                return True
        return False

    @property
    def is_right(self) -> bool:
        """As many voters as wanted, all running, and nothing left of others."""
        lowest = set(range(self.wanted))
        running = {member.name for member in self.etcd.running_voters}
        return (
            running == {self.name(each) for each in lowest} == {each.name for each in self.etcd.members.values()}
            and set(self.volumes) == lowest
        )
