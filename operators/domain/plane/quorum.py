"""The arithmetic of quorums: who is well, and what may be taken away or let in without losing the majority. Pure; called by `members`.

Rules: etcd, "Runtime reconfiguration" and "Design of learner"; one change at a time, each decided with the quorum that is there before it,
and never one after which the members that are well are no majority.
"""

from __future__ import annotations

from collections.abc import Iterable

from operators.domain.plane.etcd_facts import Member
from operators.domain.plane.etcd_view import EtcdView

ALLOWED_LAG = 1000
"""Entries a member may be behind the leader and still count as being well: writes go on between two looks."""


def majority(voters: int) -> int:
    """The least number that decides."""
    return voters // 2 + 1


def is_well(etcd: EtcdView, member: Member) -> bool:
    """Whether it answers, follows the leader that the others follow, keeps up with it, and its pod is staying."""
    status = etcd.statuses.get(member.id)
    if status is None or not status.leader or status.leader != etcd.leader or status.is_learner != member.is_learner:
        return False
    pod = etcd.pods.get(etcd.ordinal(member))
    if pod is None or pod.ending or pod.gone_node:
        return False
    return _lag(etcd, member) <= ALLOWED_LAG


def _lag(etcd: EtcdView, member: Member) -> int:
    leader = etcd.statuses.get(etcd.leader)
    if leader is None:
        return ALLOWED_LAG + 1
    return leader.raft_index - etcd.statuses[member.id].applied_index


def is_in_sync(etcd: EtcdView, learner: Member) -> bool:
    """Whether etcd would let it vote: it has nine tenths of the log, and answers."""
    leader, status = etcd.statuses.get(etcd.leader), etcd.statuses.get(learner.id)
    return leader is not None and status is not None and status.applied_index * 10 >= leader.raft_index * 9


def unwell(etcd: EtcdView, *, but: Iterable[int] = ()) -> tuple[Member, ...]:
    """Voters that are not well, leaving out those ids."""
    ignored = set(but)
    return tuple(member for member in etcd.voters if member.id not in ignored and not is_well(etcd, member))


def may_lose(etcd: EtcdView, member: Member) -> bool:
    """Whether a member that works may be taken away, for a while or for ever: only if every other voter is well, and one is left."""
    others = [each for each in etcd.voters if each.id != member.id]
    return bool(others) and bool(etcd.leader) and not unwell(etcd, but=(member.id,))


def may_drop(etcd: EtcdView, member: Member) -> bool:
    """Whether a member that is lost anyway may be taken out of the list: those that are well must be a majority of the rest."""
    if member.is_learner:
        return bool(etcd.leader)
    others = [each for each in etcd.voters if each.id != member.id]
    well = [each for each in others if is_well(etcd, each)]
    return bool(etcd.leader) and len(well) >= majority(len(others)) and bool(others)


def may_join(etcd: EtcdView) -> bool:
    """Whether a learner may be added: there is none, and a majority of the voters is well."""
    well = [each for each in etcd.voters if is_well(etcd, each)]
    return etcd.learner is None and bool(etcd.leader) and len(well) >= majority(len(etcd.voters))


def may_vote(etcd: EtcdView, learner: Member) -> bool:
    """Whether a learner may be promoted: in sync, its pod staying, and a majority of the larger set is well then."""
    well = [each for each in etcd.voters if is_well(etcd, each)]
    return is_in_sync(etcd, learner) and is_well(etcd, learner) and len(well) + 1 >= majority(len(etcd.voters) + 1)
