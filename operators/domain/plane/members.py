"""What the members of one etcd need next: at most one change, and none that could cost the quorum. Pure; called by the ladder.

`next_repair` finishes what was begun and adds members that are missing; `next_shrink` takes out those that are too many. Both decide anew from
etcd's own member list every time, so a process that ended between any two steps changes nothing in what follows.
How a member comes: its residue goes, it is added as a learner, the record allows it to start empty, the StatefulSet makes its pod, it catches
up, it votes. How one goes: leadership is handed over, it is taken out of the list, the StatefulSet ends its pod, its volume is deleted.
"""

from __future__ import annotations

from operators.domain.plane.etcd_facts import Member
from operators.domain.plane.etcd_view import EtcdView, MemberPod
from operators.domain.plane.member_steps import (
    AddLearner,
    DiscardMember,
    HandOverLeadership,
    MemberStep,
    Promote,
    Removal,
    RemoveMember,
    RestartPod,
    UpdateRecord,
)
from operators.domain.plane.quorum import is_in_sync, is_well, majority, may_drop, may_join, may_lose, may_vote, unwell
from operators.domain.plane.steps import RollMember


def next_repair(etcd: EtcdView) -> MemberStep | RollMember | None:
    """The next act that mends, finishes or refreshes; None if there is nothing to do now."""
    if etcd.silent:
        return _free_without_quorum(etcd) or _roll_what_is_down(etcd)
    if foreign(etcd):
        return None
    return (
        _follow_list(etcd)
        or _restart_where_record_was_old(etcd)
        or _drop_lost(etcd)
        or _free_from_gone_node(etcd)
        or _discard_residue(etcd)
        or _readd(etcd)
        or _promote(etcd)
        or _roll(etcd)
        or _grow(etcd)
    )


def next_shrink(etcd: EtcdView) -> MemberStep | None:
    """The next act towards fewer members; only from a whole etcd."""
    if etcd.silent or foreign(etcd) or unwell(etcd):
        return None
    if etcd.learner is not None and etcd.ordinal(etcd.learner) >= etcd.wanted:
        words = f"{etcd.pod_name(etcd.ordinal(etcd.learner))} is not wanted any more: {etcd.wanted} members are"
        return _removal(etcd, etcd.learner, Removal.Shrink, words)
    return _shrink(etcd) if etcd.learner is None and len(etcd.voters) > etcd.wanted else None


def waits_for(etcd: EtcdView) -> str:
    """Why the members are not as wished yet, when there is nothing to do about it; empty if they are."""
    if stranger := foreign(etcd):
        return (
            f"{etcd.etcd} has a member {stranger.id:x} at {stranger.peer_url} that kok did not add: members are left alone until it is "
            f"removed (etcdctl member remove {stranger.id:x})"
        )
    changing = len(etcd.voters) != etcd.wanted or etcd.learner is not None
    if etcd.silent:
        return f"{etcd.etcd}: its members cannot be asked: {etcd.silent}" if len(etcd.record.members) != etcd.wanted else ""
    if not changing:
        left = sorted(each for each in {*etcd.pods, *etcd.volumes} if each >= etcd.replicas and each not in etcd.by_ordinal)
        return f"{etcd.pod_name(left[0])} is no member of {etcd.etcd} any more, and is ending" if left else ""
    if etcd.learner is not None:
        return f"{etcd.pod_name(etcd.ordinal(etcd.learner))} is joining {etcd.etcd}, {_learning(etcd, etcd.learner)}"
    if etcd.wanted == 1 and not etcd.single_confirmed:
        return f"{etcd.etcd} keeps {len(etcd.voters)} members: one member survives no failure; set spec.etcd.confirmSingleMember if it is meant"
    if missing := unwell(etcd):
        return f"{etcd.etcd} goes from {len(etcd.voters)} to {etcd.wanted} members when {_name(etcd, missing[0])} is well"
    return f"{etcd.etcd} goes from {len(etcd.voters)} to {etcd.wanted} members"


def foreign(etcd: EtcdView) -> Member | None:
    """A member that is none of ours."""
    return next((member for member in etcd.members if etcd.ordinal(member) < 0), None)


def _follow_list(etcd: EtcdView) -> UpdateRecord | None:
    """The record says what etcd's list says; who has started may not start empty again."""
    members = tuple(f"{etcd.pod_name(ordinal)}={etcd.by_ordinal[ordinal].peer_url}" for ordinal in sorted(etcd.by_ordinal))
    added = tuple(etcd.pod_name(ordinal) for ordinal, member in sorted(etcd.by_ordinal.items()) if not _has_started(etcd, member))
    if (members, added) == (etcd.record.members, etcd.record.added):
        return None
    may = f"; {', '.join(added)} may start empty" if added else ""
    return UpdateRecord(etcd.etcd, added, members, f"the record of {etcd.etcd} follows its {len(members)} members{may}")


def _has_started(etcd: EtcdView, member: Member) -> bool:
    """etcd knows the name of one that has; voters of the first start have names from the beginning, so they must have answered once."""
    if not member.name or member.is_learner:
        return bool(member.name)
    return _name(etcd, member) not in etcd.record.added or member.id in etcd.statuses


def _restart_where_record_was_old(etcd: EtcdView) -> RestartPod | None:
    """A pod that refused although it may start empty has seen the record before that was allowed; a new pod sees the new one."""
    for ordinal, member in sorted(etcd.by_ordinal.items()):
        pod = etcd.pods.get(ordinal)
        if pod and pod.empty and not pod.ending and not _has_started(etcd, member):
            return RestartPod(pod.name, pod.uid, f"{pod.name} is made again: it may join {etcd.etcd} with its empty disk now")
    return None


def _drop_lost(etcd: EtcdView) -> RemoveMember | None:
    """A member whose data is gone for ever is taken out while the others can decide so."""
    for ordinal, member in sorted(etcd.by_ordinal.items()):
        words = _is_lost(etcd, ordinal, member)
        if words and may_drop(etcd, member):
            return _removal(etcd, member, Removal.Replace, f"{_name(etcd, member)} is replaced: {words}")
    return None


def _free_from_gone_node(etcd: EtcdView) -> RestartPod | None:
    """A member whose disk can be had elsewhere goes on there; its old pod will be ended by nobody else."""
    for ordinal, member in sorted(etcd.by_ordinal.items()):
        pod, volume = etcd.pods.get(ordinal), etcd.volumes.get(ordinal)
        if pod and pod.gone_node and not (volume and volume.gone_node) and member.id not in etcd.statuses and may_drop(etcd, member):
            return _freed(pod)
    return None


def _free_without_quorum(etcd: EtcdView) -> RestartPod | None:
    """The same when nobody can be asked: whoever is on a node that is gone has no vote there, and may be the one that is missing."""
    for ordinal, pod in sorted(etcd.pods.items()):
        volume = etcd.volumes.get(ordinal)
        if pod.gone_node and not (volume and volume.gone_node):
            return _freed(pod)
    return None


def _freed(pod: MemberPod) -> RestartPod:
    words = f"{pod.name} goes on elsewhere with its volume: it was on {pod.gone_node}"
    return RestartPod(pod.name, pod.uid, words, force=True, needs_leave=True)


def lost_for_good(etcd: EtcdView) -> str:
    """Why the quorum will not come back by itself: the data of too many members is on nodes that are gone. Empty if it may."""
    lost = [volume for ordinal, volume in sorted(etcd.volumes.items()) if volume.gone_node and ordinal < etcd.replicas]
    members = len(etcd.record.members)
    if not etcd.silent or members - len(lost) >= majority(members):
        return ""
    return (
        f"{etcd.etcd} has lost its quorum: volume {lost[0].name} was on {lost[0].gone_node}"
        + (f", and {len(lost) - 1} more were lost alike" if len(lost) > 1 else "")
        + "; bring the node back, or restore the last snapshot of etcd"
    )


def _is_lost(etcd: EtcdView, ordinal: int, member: Member) -> str:
    """Why its data will never come back; empty if it may. A member that answers is not lost, whatever else is said of it."""
    if member.id in etcd.statuses:
        return ""
    pod, volume = etcd.pods.get(ordinal), etcd.volumes.get(ordinal)
    if volume and volume.gone_node:
        return f"its volume {volume.name} was on {volume.gone_node}"
    if pod and pod.empty and not pod.ending and _has_started(etcd, member):
        return "its disk is empty"
    return ""


def _discard_residue(etcd: EtcdView) -> DiscardMember | None:
    """Pods and volumes of ordinals that are no members: what they hold must not be met by a member that comes later."""
    for ordinal in sorted({*etcd.pods, *etcd.volumes} - set(etcd.by_ordinal), reverse=True):
        pod, volume = etcd.pods.get(ordinal), etcd.volumes.get(ordinal)
        if ordinal >= etcd.replicas:
            if pod is None and volume and not volume.ending:
                words = f"the volume of {etcd.pod_name(ordinal)} is deleted: it is no member of {etcd.etcd} any more"
                return DiscardMember(etcd.etcd, ordinal, volume.name, volume.uid, "", "", words)
        elif _holds_residue(etcd, ordinal) and not (pod and pod.ending and not pod.gone_node):
            return _discard(etcd, ordinal)
    return None


def _holds_residue(etcd: EtcdView, ordinal: int) -> bool:
    """Whether its disk has, or only a lost node has, what a former member left."""
    pod, volume = etcd.pods.get(ordinal), etcd.volumes.get(ordinal)
    return bool((pod and (pod.begun or pod.gone_node)) or (volume and volume.gone_node))


def _discard(etcd: EtcdView, ordinal: int) -> DiscardMember:
    pod, volume = etcd.pods.get(ordinal), etcd.volumes.get(ordinal)
    gone = (pod.gone_node if pod else "") or (volume.gone_node if volume else "")
    words = f"{etcd.pod_name(ordinal)} is made anew with an empty disk: it is no member of {etcd.etcd} any more"
    return DiscardMember(
        etcd.etcd,
        ordinal,
        volume.name if volume and not volume.ending else "",
        volume.uid if volume and not volume.ending else "",
        pod.name if pod else "",
        pod.uid if pod else "",
        f"{words}, and {gone}" if gone else words,
        force=bool(pod and pod.gone_node),
    )


def _readd(etcd: EtcdView) -> AddLearner | None:
    """An ordinal that has a pod and is no member comes back once its pod says that its disk is empty."""
    for ordinal in range(min(etcd.replicas, etcd.wanted)):
        pod = etcd.pods.get(ordinal)
        if ordinal not in etcd.by_ordinal and pod and pod.empty and not pod.ending and may_join(etcd):
            return AddLearner(etcd.etcd, etcd.peer_url(ordinal), f"{pod.name} is added to {etcd.etcd} again, as a learner")
    return None


def _promote(etcd: EtcdView) -> Promote | None:
    """Only after the record has forgotten that it may start empty: from now on its disk counts."""
    learner = etcd.learner
    if learner is None or _name(etcd, learner) in etcd.record.added or not may_vote(etcd, learner):
        return None
    return Promote(etcd.etcd, learner.id, f"{_name(etcd, learner)} has caught up: it votes from now on")


def _roll(etcd: EtcdView) -> HandOverLeadership | RollMember | None:
    """Outdated pods: those that are down, then followers, the leader last and only after it has handed over."""
    pods = [(ordinal, pod) for ordinal, pod in etcd.pods.items() if pod.outdated and not pod.ending and ordinal in etcd.by_ordinal]
    for ordinal, pod in sorted(pods, key=lambda each: _turn(etcd, each)):
        member = etcd.by_ordinal[ordinal]
        if not _may_roll(etcd, member, pod):
            return None
        if member.id == etcd.leader and len(etcd.voters) > 1:
            return _hand_over(etcd, member, f"{pod.name} comes back with the last spec")
        return RollMember(pod.name, f"{pod.name} comes back with the last spec; the other members stay")
    return None


def _turn(etcd: EtcdView, each: tuple[int, MemberPod]) -> tuple[bool, bool, int]:
    ordinal, pod = each
    return (pod.ready, etcd.by_ordinal[ordinal].id == etcd.leader, -ordinal)


def _may_roll(etcd: EtcdView, member: Member, pod: MemberPod) -> bool:
    if member.is_learner:
        return True
    if len(etcd.voters) == 1:
        return etcd.learner is None
    if len(etcd.voters) == 2 and member.id in etcd.statuses:
        return False  # both are the quorum: on to three, or to one, first
    return may_lose(etcd, member) and (not pod.ready or etcd.learner is None)


def _roll_what_is_down(etcd: EtcdView) -> RollMember | None:
    """Without a quorum: an outdated pod whose etcd does not even answer loses nothing, and the last spec may be what mends it."""
    pods = {etcd.pod_name(ordinal): pod for ordinal, pod in etcd.pods.items()}
    answering = {etcd.names.etcd_member(etcd.etcd, ordinal) for ordinal, member in etcd.by_ordinal.items() if member.id in etcd.statuses}
    for name, pod in sorted(pods.items()):
        if pod.outdated and not pod.ready and not pod.ending and name not in answering and not etcd.statuses:
            return RollMember(name, f"{name} comes back with the last spec; it does not answer now")
    return None


def _shrink(etcd: EtcdView) -> MemberStep | None:
    """The highest ordinal goes; never the last but one without a clear word for it."""
    if etcd.wanted == 1 and not etcd.single_confirmed:
        return None
    ordinal = max(etcd.by_ordinal)
    member = etcd.by_ordinal[ordinal]
    if not may_lose(etcd, member):
        return None
    words = f"{_name(etcd, member)} leaves {etcd.etcd}: {len(etcd.voters)} members, {etcd.wanted} wanted"
    if member.id == etcd.leader:
        return _hand_over(etcd, member, words)
    return _removal(etcd, member, Removal.Shrink, words)


def _grow(etcd: EtcdView) -> AddLearner | None:
    """The lowest ordinal that is missing, once nothing of a former member of that name is left."""
    missing = [each for each in range(etcd.wanted) if each not in etcd.by_ordinal]
    ordinal = missing[0] if missing else 0
    if not missing or ordinal in etcd.pods or ordinal in etcd.volumes or unwell(etcd) or not may_join(etcd):
        return None
    words = f"{etcd.pod_name(ordinal)} joins {etcd.etcd} as a learner: {len(etcd.voters)} members, {etcd.wanted} wanted"
    return AddLearner(etcd.etcd, etcd.peer_url(ordinal), words)


def _hand_over(etcd: EtcdView, leader: Member, words: str) -> HandOverLeadership | None:
    """To a voter that is well; one that is of the last spec and stays longest first."""

    def stays(member: Member) -> tuple[bool, int]:
        pod = etcd.pods[etcd.ordinal(member)]
        return (pod.outdated, etcd.ordinal(member))

    well = [each for each in etcd.voters if each.id != leader.id and is_well(etcd, each)]
    if not well:
        return None
    heir = min(well, key=stays)
    return HandOverLeadership(etcd.etcd, heir.id, f"{words}: it hands leadership to {_name(etcd, heir)} first")


def _removal(etcd: EtcdView, member: Member, why: Removal, words: str) -> RemoveMember:
    return RemoveMember(etcd.etcd, member.id, _name(etcd, member), why, words)


def _learning(etcd: EtcdView, learner: Member) -> str:
    if learner.id not in etcd.statuses:
        return "and has not answered yet"
    return "and is in sync" if is_in_sync(etcd, learner) else "and is catching up"


def _name(etcd: EtcdView, member: Member) -> str:
    return etcd.pod_name(etcd.ordinal(member))
