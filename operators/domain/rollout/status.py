"""What a FleetRollout shows of itself. Pure; derived anew at every pass, no decision reads it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from operators.api.base import Condition, ConditionStatus
from operators.api.rollout import FleetRollout, FleetRolloutStatus, MemberPhase, MemberStatus, MetricStatus, Need, StageStatus
from operators.domain.risk.identity import stamp
from operators.domain.rollout.calm import calm
from operators.domain.rollout.forecast import Forecast, Outlook
from operators.domain.rollout.metrics import JUDGED
from operators.domain.rollout.plan import FrozenPlan
from operators.domain.rollout.state import StageWork
from operators.domain.rollout.story import Event, Outcome, Story, stages_of
from operators.domain.rollout.verdict import TEST, Judgement
from operators.domain.rollout.view import Hold, RolloutView, State, Step, Wait
from operators.errors import ErrorCode, KokError

SHOWN_MEMBERS = 200
TOLD = ("endedAt", "phase", "message", "observedGeneration")
"""What tells one end of a rollout from another."""
WAITS_FOR_A_PERSON = (State.Paused, State.AwaitingApproval)
TEXT = 1024
TRUE, FALSE = ConditionStatus.TRUE, ConditionStatus.FALSE
WORTH_A_LINE = (MemberPhase.InHand, MemberPhase.Failed, MemberPhase.GoingBack, MemberPhase.Back, MemberPhase.Skipped)


def running_status(
    rollout: FleetRollout, shown: Mapping[str, Any], view: RolloutView, step: Step, error: KokError | None
) -> dict[str, Any]:
    """The status of a rollout whose plan is frozen."""
    words = error.message if error else step.reason
    stages = list(_stages(view))
    members = [member for _, lines in stages for member in lines]
    story = view.story
    first = view.records[0].at if view.records else view.now
    status = FleetRolloutStatus(
        observed_generation=rollout.metadata.generation,
        phase=_phase(step, story.ended.outcome if story.ended else None),
        message=words[:TEXT],
        revision=view.plan.revision,
        stages=tuple(stage for stage, _ in stages),
        members=tuple(member for member in members if member.phase in WORTH_A_LINE)[:SHOWN_MEMBERS],
        total=len(members),
        changed=sum(facts.hold is Hold.Forward and facts.healthy for facts in view.members.values()),
        started_at=stamp(first) if view.records else None,
        ended_at=stamp(story.ended.at) if story.ended else None,
        conditions=conditions(
            shown, view.now, rollout.metadata.generation, verdicts_of(step, story.ended.outcome if story.ended else None, words)
        ),
    )
    wanted = status.model_dump(mode="json", by_alias=True, exclude_none=True)
    return dict(shown) if _is_told(shown, wanted) else calm(shown, wanted, view.now)


def _is_told(shown: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether this end was shown before: what becomes of members afterwards is no news of a rollout that has ended."""
    return bool(wanted.get("endedAt")) and all(shown.get(each) == wanted.get(each) for each in TOLD)


def stalled_status(rollout: FleetRollout, shown: Mapping[str, Any], code: str, words: str, now: datetime) -> dict[str, Any]:
    """The status of a rollout that has no plan, because it was refused or is not made yet."""
    summary = {"Ready": (FALSE, code, words), "Reconciling": (FALSE, code, ""), "Stalled": (TRUE, code, words)}
    status = FleetRolloutStatus(
        observed_generation=rollout.metadata.generation,
        phase="Refused",
        message=words[:TEXT],
        conditions=conditions(shown, now, rollout.metadata.generation, summary),
    )
    return status.model_dump(mode="json", by_alias=True, exclude_none=True)


def unreadable_status(rollout: FleetRollout, shown: Mapping[str, Any], error: KokError, words: str, now: datetime) -> dict[str, Any]:
    """The status while what decides cannot be read: as it was, with that sentence. A journal that is not whole and an object that does not parse need a person."""
    code, broken = error.code.value, error.code in (ErrorCode.Internal, ErrorCode.InvalidObject)
    summary = {
        "Ready": (FALSE, code, words),
        "Reconciling": (FALSE if broken else TRUE, code, words),
        "Stalled": (TRUE if broken else FALSE, code, words if broken else ""),
    }
    generation = rollout.metadata.generation
    found = [each.model_dump(mode="json", by_alias=True, exclude_none=True) for each in conditions(shown, now, generation, summary)]
    return {**shown, "observedGeneration": generation, "message": words[:TEXT], "conditions": found}


def planned_status(  # noqa: PLR0913 - what a status is made of
    rollout: FleetRollout, shown: Mapping[str, Any], words: str, outlook: Outlook, now: datetime, *, refused: ErrorCode | None = None
) -> dict[str, Any]:
    """The answer to mode: Plan; `refused`: why it would be refused as a whole, then it is Stalled, as the rollout would be."""
    summary = {"Ready": (TRUE, "Planned", words), "Reconciling": (FALSE, "Planned", ""), "Stalled": (FALSE, "Planned", "")}
    if refused:
        code = refused.value
        summary = {"Ready": (FALSE, code, words), "Reconciling": (FALSE, code, words), "Stalled": (TRUE, code, words)}
    plan = outlook.plan
    status = FleetRolloutStatus(
        observed_generation=rollout.metadata.generation,
        phase="Planned",
        message=words[:TEXT],
        revision=plan.revision,
        stages=tuple(
            StageStatus(name=stage.name, members=len(stage.members), message=" ".join(member.key for member in stage.members)[:TEXT])
            for stage in plan.stages
        ),
        members=tuple(_planned(plan, outlook.forecasts))[:SHOWN_MEMBERS],
        needs=tuple(Need(operation=operation, count=count) for operation, count in sorted(outlook.needs.items())),
        total=len(plan.members),
        conditions=conditions(shown, now, rollout.metadata.generation, summary),
    )
    return status.model_dump(mode="json", by_alias=True, exclude_none=True)


def _planned(plan: FrozenPlan, forecasts: Mapping[str, Forecast]) -> Iterable[MemberStatus]:
    for stage in plan.stages:
        for member in stage.members:
            seen = forecasts[member.key]
            words = f"would be refused: {seen.refused}" if seen.refused else seen.words
            yield MemberStatus(cluster=member.key, stage=stage.name, phase=MemberPhase.Waiting, message=words[:TEXT])
    for key, why in plan.skipped.items():
        yield MemberStatus(cluster=key, phase=MemberPhase.Skipped, message=why[:TEXT])


def conditions(
    shown: Mapping[str, Any], now: datetime, generation: int, verdicts: Mapping[str, tuple[ConditionStatus, str, str]]
) -> tuple[Condition, ...]:
    """Conditions that keep the time of their last change."""
    before = {each["type"]: each for each in shown.get("conditions") or ()}
    made = []
    for kind, (status, reason, message) in verdicts.items():
        same = before.get(kind, {}).get("status") == status
        since = before[kind]["lastTransitionTime"] if same else stamp(now)
        made.append(
            Condition(
                type=kind, status=status, reason=reason, message=message[:4096], observed_generation=generation, last_transition_time=since
            )
        )
    return tuple(made)


def verdicts_of(step: Step, outcome: Outcome | None, words: str) -> dict[str, tuple[ConditionStatus, str, str]]:
    """Ready, Reconciling and Stalled, as kstatus reads them."""
    if outcome:
        good = outcome is Outcome.Good
        code = outcome.value if good or outcome is not Outcome.Bad else ErrorCode.VersionBad.value
        return {
            "Ready": (TRUE if good else FALSE, code, words),
            "Reconciling": (FALSE, code, ""),
            "Stalled": (FALSE if good else TRUE, code, words),
        }
    reason = step.state.value
    stuck, rests = isinstance(step, Wait) and step.page, step.state in WAITS_FOR_A_PERSON
    return {
        "Ready": (FALSE, reason, words),
        "Reconciling": (FALSE if stuck or rests else TRUE, reason, words),
        "Stalled": (TRUE if stuck else FALSE, reason, words if stuck else ""),
    }


def _phase(step: Step, outcome: Outcome | None) -> str:
    return outcome.value if outcome and step.state is State.Ended else step.state.value


def _stages(view: RolloutView) -> Iterable[tuple[StageStatus, list[MemberStatus]]]:
    story = view.story
    for stage in stages_of(view.plan, story):
        wish = next(each for each in view.spec.stages if each.name == stage.name)
        phases = StageWork(view, story, stage, wish).phases
        members = [
            MemberStatus(cluster=key, stage=stage.name, phase=phase, message=_trouble(view, key)[:TEXT]) for key, phase in phases.items()
        ]
        in_hand = _is_begun(story, stage.name) and not story.going_back
        verdict, words = _told(view, stage.name)
        healthy = sum(phase is MemberPhase.Healthy for phase in phases.values())
        failed = sum(phase is MemberPhase.Failed for phase in phases.values())
        line = StageStatus(
            name=stage.name,
            members=len(members),
            healthy=healthy,
            failed=failed,
            passed=stage.name in story.passed,
            verdict=verdict,
            message=words[:TEXT],
        )
        yield (line.model_copy(update=_measured(view, len(members))) if in_hand else line), members


def _is_begun(story: Story, stage: str) -> bool:
    return stage in story.started and stage not in story.passed


def _told(view: RolloutView, stage: str) -> tuple[str, str]:
    """Verdict and sentence of one stage: of the one in hand the present ones; what failed keeps the numbers that it was taken back for."""
    story = view.story
    told = [record.text for record in view.records if record.stage == stage and record.event in (Event.StagePassed, Event.StageFailed)]
    if stage in story.passed:
        return Judgement.PASS.value, told[-1]
    if not _is_begun(story, stage):
        return "", ""
    if story.going_back:
        return Judgement.FAIL.value if story.going_back.outcome is Outcome.Bad else "", story.going_back.text
    return view.verdict.judgement.value, told[-1] if told else view.verdict.sentence


def _measured(view: RolloutView, members: int) -> dict[str, Any]:
    """Window, test and each metric's own verdict, of the stage that is judged."""
    parts = [(name, part) for name, part in view.verdict.parts if name != "health"]
    test = f"{TEST}; all are probed, metrics and vital signs are of the first {JUDGED} of {members}" if members > JUDGED else TEST
    metrics = tuple(MetricStatus(name=name, verdict=part.judgement.value, message=part.sentence[:TEXT]) for name, part in parts)
    return {"window_seconds": view.spec.analysis.window_seconds, "test": test, "metrics": metrics} if metrics else {}


def _trouble(view: RolloutView, key: str) -> str:
    facts = view.members.get(key)
    if facts is None:
        return "it is gone"
    origin = next((member.origin for stage in stages_of(view.plan, view.story) for member in stage.members if member.key == key), "")
    if facts.is_elsewhere(origin, view.plan.to):
        return f"somebody authorised {facts.version} meanwhile; it is left alone"
    return facts.trouble or facts.owes
