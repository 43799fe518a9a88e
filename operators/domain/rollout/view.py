"""What one pass over a rollout has observed, and the steps that may follow. Data; made by cluster_operator.rollout, read by `state` and `status`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from operators.api.rollout import FleetRolloutSpec
from operators.domain.rollout.evidence import Baseline
from operators.domain.rollout.leave import Leave
from operators.domain.rollout.plan import FrozenPlan, PlannedMember
from operators.domain.rollout.story import Record, Story, story_of
from operators.domain.rollout.verdict import NoData, Verdict
from operators.domain.rollout.windows import WindowState

ROLLBACK, HARM = "rollback", "harm"
"""What a person puts into acceptedFailures to let a rollback go on past a member that it did not help."""
POLL = 5.0
"""Seconds until the next look while something is in hand."""


@dataclass(frozen=True, slots=True)
class Self:
    """Which rollout is looking: name and uid."""

    name: str
    uid: str

    def wrote(self, name: str, uid: str) -> bool:
        """Whether that was this very rollout; what was written without a uid goes by the name."""
        return name == self.name and uid in ("", self.uid)


class Hold(StrEnum):
    """By whom a member's ClusterRelease was written last."""

    Free = "Free"
    """Not by a rollout, or by one that has ended."""
    Forward = "Forward"
    """By this rollout, to its version."""
    Back = "Back"
    """By this rollout, back."""
    Rival = "Rival"
    """By another rollout that has not ended."""


@dataclass(frozen=True, slots=True)
class MemberFacts:
    """One member as observed now."""

    hold: Hold
    version: str
    """The authorised package version."""
    since: datetime
    """When that was authorised."""
    healthy: bool
    """Ready, and at the authorised version."""
    trouble: str = ""
    """Why it is not healthy."""
    unhealthy_since: datetime | None = None
    ready_since: datetime | None = None
    rival: str = ""
    """The rollout that has it, with Hold.Rival."""
    gave_up: str = ""
    """Why its own operator will not try on, or a node of it starts no pods; then nobody waits for the deadline."""
    blind: str = ""
    """Why its operator cannot tell: SSH fails to many of its hosts. Then nobody fails by time, and nothing else is started."""
    unproven: str = ""
    """Of hosts that were changed: which node has not started a pod since; empty when all have."""
    following: str = ""
    """Of a Cluster whose plane is healthy: which pool that follows it has not brought the version to its hosts yet; empty when all have."""
    arrived: bool = False
    """Of a Cluster: whether the whole plane was at what is authorised, once. Then it fails by time only from when it fell ill."""
    followed_at: datetime | None = None
    """When the last host of those pools came into service with it."""

    @property
    def owes(self) -> str:
        """What a healthy member still has to show before it is through; empty when nothing."""
        return self.following or self.unproven

    @property
    def moved_at(self) -> datetime:
        """The last that is known to have moved."""
        return max(moment for moment in (self.since, self.ready_since, self.followed_at) if moment)

    def is_elsewhere(self, origin: str, to: str) -> bool:
        """Whether somebody else gave it another version since the plan was frozen: whoever did has the last word."""
        return self.hold == Hold.Free and bool(origin) and bool(self.version) and self.version not in (origin, to)


class State(StrEnum):
    """As in the module's docstring."""

    AwaitingApproval = "AwaitingApproval"
    Changing = "Changing"
    Soaking = "Soaking"
    Holding = "Holding"
    Failed = "Failed"
    Paused = "Paused"
    GoingBack = "GoingBack"
    Ended = "Ended"


@dataclass(frozen=True, slots=True)
class RolloutView:
    """Everything one pass has observed. A member that is absent from `members` is gone."""

    spec: FleetRolloutSpec
    plan: FrozenPlan
    records: Sequence[Record]
    members: Mapping[str, MemberFacts]
    verdict: Verdict
    """On the stage in hand."""
    window: WindowState
    now: datetime
    made: datetime
    """When the rollout was."""
    baseline: Baseline | NoData
    """Of the next stage, before it is started."""
    breaker: str = ""
    """Why no risky forward operation may start at all; empty when they may."""
    late: tuple[PlannedMember, ...] = ()
    """Selected healthy Clusters that came after the plan was frozen."""
    bad_versions: frozenset[str] = frozenset()
    marked: str = ""
    """Why this rollout itself found its version bad and goes back, by a mark that stands; empty if it did not."""
    marked_stages: Mapping[str, str] = field(default_factory=dict)
    """With onFail Pause: stage -> why it failed, by a mark that stands."""
    staged: str = ""
    """How far the images are that are pulled before a window opens; empty when none are."""
    worse: str = ""
    """Why going back does harm, by the numbers of those that went back; empty where it does not, or nobody can tell."""
    leave: Leave | None = None
    """What the risk centre would say to changing a member now; None: nobody is asked."""

    def why_no_leave(self, key: str) -> str:
        """Why a member may not be started now; empty if it may."""
        return self.leave.why_not(key) if self.leave else ""

    @property
    def story(self) -> Story:
        """What the records add up to."""
        return story_of(self.records)


@dataclass(frozen=True, slots=True)
class Note:
    """Append this record."""

    record: Record
    state: State

    @property
    def reason(self) -> str:
        """The record's sentence."""
        return self.record.text


@dataclass(frozen=True, slots=True)
class Authorise:
    """Write the new version into the member's ClusterRelease."""

    key: str
    to: str
    reason: str
    state: State = State.Changing


@dataclass(frozen=True, slots=True)
class GoBack:
    """Write the version that the member had into its ClusterRelease."""

    key: str
    to: str
    reason: str
    state: State = State.GoingBack


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do now. `page`: a person has to be called."""

    state: State
    reason: str
    after: float | None = POLL
    page: bool = False


Step = Note | Authorise | GoBack | Wait
