"""What a rollout has been through: records that are only ever appended, and what they add up to. Data; the records are immutable objects.

Each record is created under its number, so of two writers one wins and the other reads again. What members have is not recorded here: it stands in
their ClusterReleases.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from operators.domain.rollout.evidence import Baseline
from operators.domain.rollout.metrics import MetricBaseline
from operators.domain.rollout.plan import FrozenPlan, PlannedMember, PlannedStage
from operators.domain.rollout.verdict import NOTHING, Counts


class Event(StrEnum):
    """What can happen to a rollout, beside its members."""

    StageStarted = "StageStarted"
    Joined = "Joined"
    """Clusters that came later were put at the end of the last stage."""
    StageHealthy = "StageHealthy"
    """Every member is changed and healthy, or failed within what is allowed: the soak begins."""
    StageFailed = "StageFailed"
    """With onFail Pause: a person decides."""
    FailureAccepted = "FailureAccepted"
    """A person said that the version was not to blame: its mark is lifted."""
    StagePassed = "StagePassed"
    GoingBack = "GoingBack"
    """Decided for good: what was changed is taken back."""
    Harmed = "Harmed"
    """Those that went back make fewer pods than before: nobody else goes back until a person says so. Numbers fade, this does not."""
    Ended = "Ended"


class Outcome(StrEnum):
    """How a rollout ended."""

    Good = "Good"
    Bad = "Bad"
    """It failed and was taken back; its version is not rolled out again."""
    Aborted = "Aborted"
    Undone = "Undone"


@dataclass(frozen=True, slots=True)
class Record:
    """One entry. `text` is the sentence with its numbers; `outcome` why it goes back, or how it ended."""

    event: Event
    at: datetime
    stage: str = ""
    text: str = ""
    outcome: Outcome | None = None
    members: tuple[PlannedMember, ...] = ()
    baseline: Baseline | None = None
    """With StageStarted: the numbers from before."""

    def document(self) -> dict[str, Any]:
        """As JSON; `record_of` reads it back."""
        return {**asdict(self), "at": self.at.isoformat()}


def record_of(document: Mapping[str, Any]) -> Record:
    """The record that `Record.document` wrote."""
    outcome = Outcome(document["outcome"]) if document.get("outcome") else None
    members = tuple(PlannedMember(**one) for one in document.get("members") or ())
    at = datetime.fromisoformat(document["at"])
    baseline = _baseline_of(document["baseline"]) if document.get("baseline") else None
    return Record(Event(document["event"]), at, document.get("stage") or "", document.get("text") or "", outcome, members, baseline)


def _baseline_of(document: Mapping[str, Any]) -> Baseline:
    """Numbers of an older release lack what it did not measure."""

    def counts(name: str) -> Counts:
        return Counts(**document[name]) if name in document else NOTHING

    metrics = {name: _metric_of(each) for name, each in (document.get("metrics") or {}).items()}
    controls, slow_after = tuple(document.get("controls") or ()), float(document.get("slow_after") or 0.0)
    return Baseline(counts("stage"), counts("control"), controls, slow_after, counts("quick_stage"), counts("quick_control"), metrics)


def _metric_of(document: Mapping[str, Any]) -> MetricBaseline:
    counts = {name: Counts(**document[name]) for name in ("stage", "control")}
    return MetricBaseline(**{**document, **counts, "controls": tuple(document.get("controls") or ())})


@dataclass(frozen=True, slots=True)
class Story:
    """What the records add up to."""

    started: frozenset[str] = frozenset()
    baselines: Mapping[str, Baseline] = field(default_factory=dict)
    """Stage -> the numbers from before it."""
    healthy: Mapping[str, datetime] = field(default_factory=dict)
    """Stage -> when its soak began."""
    failed: Mapping[str, str] = field(default_factory=dict)
    """Stage -> why, with onFail Pause."""
    passed: frozenset[str] = frozenset()
    joined: tuple[PlannedMember, ...] = ()
    going_back: Record | None = None
    harm: Record | None = None
    """Why going back was stopped, since it was decided last."""
    ended: Record | None = None


def story_of(records: Sequence[Record]) -> Story:
    """The sum of all records, in order. A GoingBack after an end (an undo) opens the rollout again."""

    def of(event: Event) -> list[Record]:
        return [each for each in records if each.event == event]

    back = of(Event.GoingBack)
    last = records[-1] if records else None
    turn = next((each for each in reversed(records) if each.event in (Event.Harmed, Event.GoingBack)), None)
    return Story(
        started=frozenset(each.stage for each in of(Event.StageStarted)),
        baselines={each.stage: each.baseline for each in of(Event.StageStarted) if each.baseline},
        healthy={each.stage: each.at for each in of(Event.StageHealthy)},
        failed={each.stage: each.text for each in of(Event.StageFailed)},
        passed=frozenset(each.stage for each in of(Event.StagePassed)),
        joined=tuple(member for each in of(Event.Joined) for member in each.members),
        going_back=back[-1] if back else None,
        harm=turn if turn and turn.event == Event.Harmed else None,
        ended=last if last and last.event == Event.Ended else None,
    )


def stages_of(plan: FrozenPlan, story: Story) -> tuple[PlannedStage, ...]:
    """The plan's stages, with late joiners at the end of the last one."""
    if not story.joined:
        return plan.stages
    *first, last = plan.stages
    return (*first, PlannedStage(last.name, (*last.members, *story.joined)))
