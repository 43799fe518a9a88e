"""The etcd part of the ladder: which etcd's turn it is, and when a first quorum is remembered. The rules of membership are `members`. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from operators.api.risk import Operation, Outcome
from operators.domain.plane.etcd_shape import shape_of
from operators.domain.plane.member_steps import RestartPod
from operators.domain.plane.members import lost_for_good, next_repair, next_shrink, waits_for
from operators.domain.plane.quorum import majority, unwell
from operators.domain.plane.steps import RollMember, SettleGrants, Step, Wait
from operators.domain.plane.view import PlaneView
from operators.domain.plane.workloads import ordinal_of


def member_step(view: PlaneView, name: str) -> Step | None:
    """What this etcd's members need now. One that was not asked, since it has and shall have one member, is only rolled."""
    etcd = view.etcds.get(name)
    if etcd is None:
        return _roll(view, name)
    if step := next_repair(etcd) or (next_shrink(etcd) if len(etcd.voters) == 2 else None):
        return step  # two voters cannot be rolled, and what stands on them waits for that
    words = lost_for_good(etcd)
    return Wait("Etcd", words) if words else None


def member_amiss(view: PlaneView) -> str:
    """In words, the first member of this plane's etcds that is not as it should be, also where its pod looks well; empty if none is.

    An etcd whose members cannot be asked is judged by its pods: else nothing that heals could be changed while the way to it is what is broken.
    Neither a member that kok did not add nor a learner that is not wanted counts: nothing would mend them before the API server's turn.
    """
    for etcd in view.etcds.values():
        if etcd.silent:
            continue
        ours = [each for each in etcd.voters if etcd.ordinal(each) >= 0]
        if lost := [each for each in unwell(etcd) if each in ours]:
            well, name = len(ours) - len(lost), etcd.pod_name(etcd.ordinal(lost[0]))
            return f"{name} is not well, {well} of {len(ours)} members of {etcd.etcd} are"
        learner = etcd.learner
        if learner is not None and 0 <= etcd.ordinal(learner) < etcd.wanted:
            return f"{etcd.pod_name(etcd.ordinal(learner))} is joining {etcd.etcd} and does not vote yet"
    return ""


def _roll(view: PlaneView, name: str) -> Step | None:
    """End one outdated pod, never while another member is missing."""
    workload = view.workloads.get(name)
    if workload is None or not workload.outdated or not workload.settled:
        return None
    pod, missing = workload.outdated[0], workload.wanted - workload.ready
    if missing == 0 or (missing == 1 and workload.unready == (pod,)):
        return RollMember(pod, f"{pod} comes back with the last spec; the other members stay")
    return None


def etcd_size(view: PlaneView) -> Step | None:
    """When all else is well: take out members that are too many, and say what a change of their number waits for."""
    for etcd in view.etcds.values():
        if step := next_shrink(etcd):
            return step
    words = next(filter(None, map(waits_for, view.etcds.values())), "")
    if view.unrecorded:
        workload = view.workloads.get(view.unrecorded[0])
        words = (workload.shortfall if workload else "") or f"{view.unrecorded[0]} has not had its first quorum yet"
    return Wait("Etcd", words) if words else None


def stranded(view: PlaneView) -> Step | None:
    """Pods without data on a node that is confirmed to be gone: nobody there will ever end them, so they are made elsewhere at once."""
    if not view.stranded:
        return None
    pod = view.stranded[0]
    return RestartPod(pod.name, pod.uid, f"{pod.name} is made elsewhere: it was on {pod.gone_node}", force=True)


def removed_members(view: PlaneView) -> Step | None:
    """Report the end of removals whose member is in no list and has no pod any more: its slot is for the next one."""
    over = tuple(
        grant.name
        for grant in view.grants
        if grant.operation is Operation.RemoveEtcdMember and grant.acted and not grant.is_there and _is_no_member(view, grant.target)
    )
    return SettleGrants(over, Outcome.Succeeded, "reports the end of RemoveEtcdMember: the member is gone") if over else None


def _is_no_member(view: PlaneView, pod: str) -> bool:
    owner = next((etcd for etcd in view.etcds.values() if etcd.pod_name(ordinal_of(pod)) == pod), None)
    return owner is not None and not owner.silent and ordinal_of(pod) not in owner.by_ordinal


def first_quorum(view: PlaneView) -> Mapping[str, tuple[int, tuple[str, ...]]]:
    """etcds without a record -> how many members began, and which of them have not come up yet. Empty until each has its quorum.

    A member that is late may still begin with its empty disk; the record says so, until it has.
    """
    found: dict[str, tuple[int, tuple[str, ...]]] = {}
    for name in view.unrecorded:
        workload, initial = view.workloads.get(name), shape_of(view.cluster, name, view.objects).initial
        if workload is None or not workload.settled or workload.wanted != initial or workload.ready < majority(initial):
            return {}
        late = () if workload.ready >= initial else tuple(sorted(workload.unready))
        if workload.ready < initial and workload.ready + len(late) != initial:
            return {}
        found[name] = (initial, late)
    return found
