"""Which members, in which order, in which stage: made once, frozen, never widened silently. Pure; the frozen plan is kept as a journal.

Order is the hash of (rollout uid, member), the same after every restart. A member that was unhealthy before is skipped and listed, not blamed on
the change; a sick canary is refused. Rules: docs/architecture.md, "Rollouts".
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from operators.api.rollout import FleetRollout, MemberSelector, Stage
from operators.domain.rollout.bad import BadMark
from operators.errors import ErrorCode

NO_MARKS: Mapping[str, BadMark] = {}


@dataclass(frozen=True, slots=True)
class Candidate:
    """A Cluster, or a MachinePool, as it was when the plan was made. `key` is namespace/name."""

    key: str
    version: str
    """The authorised package version; empty before the first authorisation."""
    labels: Mapping[str, str]
    trouble: str = ""
    """Why it is not healthy; empty when it is."""
    cluster: str = ""
    """Of a pool: its Cluster."""


@dataclass(frozen=True, slots=True)
class PlannedMember:
    """One member of the plan, and what it had."""

    key: str
    origin: str
    """The package version it goes back to."""
    domain: str = ""
    """Value of the failure domain's label."""


@dataclass(frozen=True, slots=True)
class PlannedStage:
    """A stage with its members in order."""

    name: str
    members: tuple[PlannedMember, ...]


@dataclass(frozen=True, slots=True)
class FrozenPlan:
    """What a rollout will do. `skipped`: member -> why it is left alone."""

    to: str
    stages: tuple[PlannedStage, ...]
    skipped: Mapping[str, str]

    @property
    def members(self) -> tuple[PlannedMember, ...]:
        """All members, in the order of their turn."""
        return tuple(member for stage in self.stages for member in stage.members)

    def summary(self, what: str) -> str:
        """`3 clusters in 2 stages to v2; 1 left alone`; `what`: clusters or pools. Stages without members are not counted."""
        stages = sum(bool(stage.members) for stage in self.stages)
        aside = f"; {len(self.skipped)} left alone" if self.skipped else ""
        if not self.members:
            return f"no {what[:-1]} is left to bring to {self.to}{aside}"
        return f"{_counted(len(self.members), what)} in {_counted(stages, 'stages')} to {self.to}{aside}"

    @property
    def revision(self) -> str:
        """Digest of all of it."""
        return hashlib.sha256(json.dumps(self.document(), sort_keys=True).encode()).hexdigest()[:16]

    def document(self) -> dict[str, object]:
        """As JSON, for its digest."""
        stages = [
            {"name": stage.name, "members": [{"key": each.key, "origin": each.origin, "domain": each.domain} for each in stage.members]}
            for stage in self.stages
        ]
        return {"to": self.to, "stages": stages, "skipped": dict(self.skipped)}


def _counted(number: int, plural: str) -> str:
    return f"{number} {plural[:-1] if number == 1 else plural}"


@dataclass(frozen=True, slots=True)
class Refused:
    """Why no plan is made; nothing was touched."""

    code: ErrorCode
    reason: str


def freeze(
    rollout: FleetRollout, candidates: Iterable[Candidate], *, bad_versions: Mapping[str, BadMark] = NO_MARKS
) -> FrozenPlan | Refused:
    """The plan of a rollout over these Clusters. `bad_versions`: package versions that an earlier rollout found bad."""
    to = rollout.spec.change.to
    if mark := bad_versions.get(to):
        return Refused(ErrorCode.VersionBad, mark.refusal())
    chosen = {each.key: each for each in candidates if selects(rollout.spec.selector, each)}
    if not chosen:
        return Refused(
            ErrorCode.SelectorEmpty, f"the selector matches no {'MachinePool' if rollout.spec.change.of_machines else 'Cluster'}"
        )
    if refusal := _canaries_refused(rollout.spec.stages, chosen):
        return refusal
    skipped = {key: why for key, each in chosen.items() if (why := _skipped(each, to))}
    order = sorted((key for key in chosen if key not in skipped), key=lambda key: place(rollout.metadata.uid, key))
    domain = rollout.spec.per_domain.label if rollout.spec.per_domain else ""
    members = {key: PlannedMember(key, chosen[key].version, chosen[key].labels.get(domain, "") if domain else "") for key in order}
    stages, left = _staged(rollout.spec.stages, members)
    skipped |= dict.fromkeys(left, "no stage covers it (there is no stage with rest: true)")
    return FrozenPlan(to, stages, dict(sorted(skipped.items())))


def selects(selector: MemberSelector, candidate: Candidate) -> bool:
    """Whether a member matches every part that is given; nothing given selects nothing. A pool is in its Cluster."""
    if not selector.match_labels and not selector.clusters and not selector.pools:
        return False
    by_label = all(candidate.labels.get(key) == value for key, value in selector.match_labels.items())
    by_cluster = not selector.clusters or (candidate.cluster or candidate.key) in selector.clusters
    return by_label and by_cluster and (not selector.pools or candidate.key in selector.pools)


def named_by(stage: Stage) -> tuple[str, ...]:
    """The canaries of a stage."""
    return stage.clusters or stage.pools


def place(uid: str, key: str) -> str:
    """The member's place in the order: a hash, so that the same clusters are not always first."""
    return hashlib.sha256(f"{uid}/{key}".encode()).hexdigest()


def _skipped(candidate: Candidate, to: str) -> str:
    if candidate.trouble:
        return f"unhealthy before the change: {candidate.trouble}"
    if not candidate.version:
        return "not created yet"
    return "is at this version already" if candidate.version == to else ""


def _canaries_refused(stages: Sequence[Stage], chosen: Mapping[str, Candidate]) -> Refused | None:
    for stage in stages:
        what = "MachinePool" if stage.pools else "Cluster"
        for key in named_by(stage):
            if key not in chosen:
                return Refused(ErrorCode.SelectorEmpty, f"stage {stage.name} names {what} {key}, which the selector does not match")
            if trouble := chosen[key].trouble:
                return Refused(ErrorCode.CanarySick, f"stage {stage.name} names {what} {key}, which is not healthy: {trouble}")
    return None


def _staged(stages: Sequence[Stage], members: Mapping[str, PlannedMember]) -> tuple[tuple[PlannedStage, ...], list[str]]:
    """Members dealt out to stages; those named come out of the order first, so a percentage never takes a later stage's canary."""
    named = {key for stage in stages for key in named_by(stage)}
    queue = [key for key in members if key not in named]
    made: list[PlannedStage] = []
    for stage in stages:
        done = sum(len(each.members) for each in made)
        if canaries := named_by(stage):
            keys = [key for key in canaries if key in members and all(key != one.key for each in made for one in each.members)]
        else:
            count = len(queue) if stage.rest else _share(stage.percent or 0, len(members), done)
            keys, queue = queue[:count], queue[count:]
        made.append(PlannedStage(stage.name, tuple(members[key] for key in keys)))
    return tuple(made), queue


def _share(percent: int, total: int, done: int) -> int:
    """How many more until `percent` of all are changed: rounded down, at least one."""
    return max(1, total * percent // 100 - done)
