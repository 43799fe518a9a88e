"""The verdict on the stage in hand, from everything that was measured: probe, business metrics, the members' own health. Pure.

Called by cluster_operator.rollout.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from operators.api.analysis import Analysis
from operators.domain.rollout import vitals
from operators.domain.rollout.evidence import POD_CREATION, Baseline, Samples, lately, probe_evidence, probe_limits
from operators.domain.rollout.metrics import JUDGED, Span, metric_limits
from operators.domain.rollout.plan import PlannedStage
from operators.domain.rollout.story import Story
from operators.domain.rollout.verdict import NOTHING, Evidence, Judgement, NoData, Reading, Verdict, judge_all
from operators.domain.rollout.view import Hold, MemberFacts


@dataclass(frozen=True, slots=True)
class Measured:
    """What there is to judge by. `metrics`: metric -> what the changed members show, and what the controls do."""

    samples: Samples
    controls: Sequence[str]
    metrics: Mapping[str, tuple[Reading, Reading]]
    now: datetime
    homes: Mapping[str, str] | None = None
    """Of a change of machines: the Cluster of each pool; what is measured is always a Cluster."""


def changed_since(stage: PlannedStage, members: Mapping[str, MemberFacts]) -> dict[str, datetime]:
    """Members of the stage that are changed and healthy, and since when."""
    found = {member.key: members[member.key] for member in stage.members if member.key in members}
    return {
        key: max(facts.since, facts.ready_since or facts.since)
        for key, facts in found.items()
        if facts.hold is Hold.Forward and facts.healthy
    }


def at_home(changed: Mapping[str, datetime], homes: Mapping[str, str] | None) -> dict[str, datetime]:
    """The same by Cluster; of several pools of one, the last change counts."""
    found: dict[str, datetime] = {}
    for key, since in changed.items():
        home = homes[key] if homes else key
        found[home] = max(since, found.get(home, since))
    return found


def spans_after(changed: Mapping[str, datetime], controls: Sequence[str], window: int, now: datetime) -> tuple[list[Span], list[Span]]:
    """Over which seconds the metrics of changed members and of controls are counted: since the change, within the window."""
    if not changed:
        return [], []
    lengths = {key: min(window, max(1, int((now - since).total_seconds()))) for key, since in changed.items()}
    longest = max(lengths.values())
    return [Span(key, seconds) for key, seconds in list(lengths.items())[:JUDGED]], [Span(key, longest) for key in controls]


def spans_before(stage: Sequence[str], controls: Sequence[str], window: int) -> tuple[list[Span], list[Span]]:
    """The same before anything was changed."""
    return [Span(key, window) for key in stage[:JUDGED]], [Span(key, window) for key in controls]


def stage_verdict(analysis: Analysis, story: Story, stage: PlannedStage, members: Mapping[str, MemberFacts], measured: Measured) -> Verdict:
    """The verdict. Without a baseline nothing can be said. A member that fell ill and its node that is not ready are one sign, not two."""
    baseline = story.baselines.get(stage.name)
    if baseline is None:
        return Verdict(Judgement.HOLD, "no baseline was taken")
    changed, sick = at_home(changed_since(stage, members), measured.homes), _sick(story, stage, members)
    samples = lately(measured.samples, changed, timedelta(seconds=analysis.window_seconds), measured.now)
    evidence = probe_evidence(baseline, samples, changed, measured.controls, measured.now)
    if changed:
        told = [each for each in _vital_evidence(baseline, measured) if not (sick and each.metric == vitals.NODES)]
        evidence += (*_metric_evidence(analysis, baseline, measured), *told)
    limits = (
        dict(vitals.LIMITS)
        | dict(probe_limits(analysis.probe_floor, baseline))
        | {each.name: metric_limits(each) for each in analysis.metrics}
    )
    return judge_all(evidence, limits, sick=sick, probe=POD_CREATION)


def _metric_evidence(analysis: Analysis, baseline: Baseline, measured: Measured) -> list[Evidence]:
    found = []
    for metric in analysis.metrics:
        before = baseline.metrics.get(metric.name)
        after, control_after = measured.metrics.get(metric.name, (NoData("it was not asked for yet"), NOTHING))
        first: Reading = before.stage if before else NoData("no baseline was taken")
        found.append(Evidence(metric.name, first, after, before.control if before else NOTHING, control_after))
    return found


def _vital_evidence(baseline: Baseline, measured: Measured) -> list[Evidence]:
    """What the planes say of themselves, as far as they said so before."""
    found = []
    for name in vitals.LIMITS:
        before, known = baseline.metrics.get(name), measured.metrics.get(name)
        if before and known and vitals.tells(name, before.stage) and vitals.tells(name, known[0]):
            found.append(Evidence(name, before.stage, known[0], before.control, known[1]))
    return found


def _sick(story: Story, stage: PlannedStage, members: Mapping[str, MemberFacts]) -> str:
    """A member that was healthy at the new version and is not any more; one that is still changing says nothing yet."""
    if stage.name not in story.healthy:
        return ""
    ill = [
        each.key
        for each in stage.members
        if each.key in members and members[each.key].hold is Hold.Forward and not members[each.key].healthy
    ]
    return f"{ill[0]} was healthy after the change and is not any more: {members[ill[0]].trouble}" if ill else ""
