"""What a Cluster is to a rollout: a candidate before the plan, a member with facts after it, a control while it stays unchanged. Pure.

Called by cluster_operator.rollout with what it read.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime

from operators.api.base import ConditionStatus
from operators.api.cluster import Cluster
from operators.api.cluster_release import AuthorisedBy, ClusterRelease
from operators.api.rollout import FleetRollout
from operators.domain.risk.identity import at
from operators.domain.rollout.plan import Candidate, FrozenPlan, PlannedMember, PlannedStage, place, selects
from operators.domain.rollout.story import Story
from operators.domain.rollout.view import Hold, MemberFacts, Self

CONTROLS = 5
"""Unchanged clusters that are probed beside a stage: enough to see a trouble that is everybody's."""


def candidate_of(cluster: Cluster, release: ClusterRelease | None) -> Candidate:
    """A Cluster as a plan sees it."""
    metadata = cluster.metadata
    version = release.spec.current.package_version if release else ""
    trouble = trouble_of(cluster, release)[0] if release else ""
    return Candidate(f"{metadata.namespace}/{metadata.name}", version, metadata.labels, trouble)


def trouble_of(cluster: Cluster, release: ClusterRelease) -> tuple[str, datetime | None]:
    """Why a Cluster is not healthy at what is authorised, empty when it is; and since when it is so.

    Its own conditions are asked, but only if they speak of this generation and of this authorisation.
    """
    status = cluster.status
    ready = next((each for each in status.conditions if each.type == "Ready"), None) if status else None
    if cluster.deleting:
        return "it is being deleted", None
    if cluster.spec.paused:
        return "it is paused", None
    if status is None or ready is None or status.observed_generation < cluster.metadata.generation:
        return "its operator has not looked at it yet", None
    since = at(ready.last_transition_time)
    if status.package_version != release.spec.current.package_version or release.spec.hop is not None:
        return status.message or "is changing", since
    if release.spec.plane_package != release.spec.current.package_version:
        return status.message or "is changing", since
    return ("", since) if ready.status is ConditionStatus.TRUE else (ready.message or ready.reason, since)


def facts_of(own: Self, cluster: Cluster, release: ClusterRelease | None, running: Collection[str], now: datetime) -> MemberFacts:
    """One member now. `own`: this rollout; `running`: the others that have not ended."""
    if release is None:
        return MemberFacts(Hold.Free, "", now, False, "nothing is authorised for it yet")
    current = release.spec.current
    trouble, since = trouble_of(cluster, release)
    hold = _hold(own, release, running)
    unhealthy, ready = (since, None) if trouble else (None, since)
    rival = current.name if hold is Hold.Rival else ""
    arrived = release.spec.hop is None and release.spec.plane_package == current.package_version
    return MemberFacts(hold, current.package_version, at(current.at), not trouble, trouble, unhealthy, ready, rival, arrived=arrived)


def _hold(own: Self, release: ClusterRelease, running: Collection[str]) -> Hold:
    current = release.spec.current
    if current.by is AuthorisedBy.Spec:
        return Hold.Free
    if own.wrote(current.name, current.rollout_uid):
        return Hold.Forward if current.by is AuthorisedBy.Rollout else Hold.Back
    return Hold.Rival if current.name in running else Hold.Free


def controls(
    uid: str, candidates: Iterable[Candidate], stages: Sequence[PlannedStage], stage: PlannedStage, members: Mapping[str, MemberFacts]
) -> tuple[str, ...]:
    """Healthy Clusters that stay unchanged while this stage goes on: members of later stages first, then Clusters that are no members."""
    known = {member.key for each in stages for member in each.members}
    later = [member.key for each in stages[stages.index(stage) + 1 :] for member in each.members]
    untouched = [key for key in later if key in members and members[key].hold is Hold.Free and members[key].healthy]
    others = [each.key for each in candidates if each.key not in known and each.version and not each.trouble]
    return tuple([key for group in (untouched, others) for key in sorted(group, key=lambda key: place(f"control/{uid}", key))][:CONTROLS])


def pool_controls(
    uid: str, clusters: Iterable[Candidate], stages: Sequence[PlannedStage], stage: PlannedStage, homes: Mapping[str, str]
) -> tuple[str, ...]:
    """Of a change of machines: healthy Clusters none of whose pools is changed in this stage or was before."""
    touched = {homes[member.key] for each in stages[: stages.index(stage) + 1] for member in each.members if member.key in homes}
    found = [each.key for each in clusters if each.key not in touched and each.version and not each.trouble]
    return tuple(sorted(found, key=lambda key: place(f"control/{uid}", key))[:CONTROLS])


def still_unchanged(frozen: Iterable[str], candidates: Iterable[Candidate], members: Mapping[str, MemberFacts]) -> tuple[str, ...]:
    """Of the controls that a baseline was taken of, those that are still there and were not changed by this rollout. Sick ones stay: they tell."""
    there = {each.key for each in candidates}
    return tuple(key for key in frozen if key in there and (key not in members or members[key].hold is Hold.Free))


def late_joiners(rollout: FleetRollout, candidates: Iterable[Candidate], plan: FrozenPlan, story: Story) -> tuple[PlannedMember, ...]:
    """Selected healthy Clusters that the plan does not know, in its order."""
    known = {member.key for member in (*plan.members, *story.joined)} | set(plan.skipped)
    new = [
        each
        for each in candidates
        if each.key not in known and selects(rollout.spec.selector, each) and each.version not in ("", plan.to) and not each.trouble
    ]
    uid, domain = rollout.metadata.uid, rollout.spec.per_domain
    return tuple(
        PlannedMember(each.key, each.version, each.labels.get(domain.label, "") if domain else "")
        for each in sorted(new, key=lambda each: place(uid, each.key))
    )


def reached_members(members: Mapping[str, MemberFacts], homes: Mapping[str, str] | None) -> tuple[str, ...]:
    """Members that this rollout has given its version, those that go back already among them: `namespace/cluster`, of pools `namespace/cluster/pool`."""
    keys = [key for key, facts in members.items() if facts.hold in (Hold.Forward, Hold.Back)]
    return tuple(keys if homes is None else [f"{homes[key]}/{key.partition('/')[2]}" for key in keys if key in homes])
