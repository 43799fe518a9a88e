"""From single probe results to the counts that a verdict is made of. Pure: samples and `now` come in.

The baseline of a stage is taken before its first act and goes into the record that starts the stage; a restart never takes it anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from statistics import median

from operators.domain.rollout.metrics import MetricBaseline
from operators.domain.rollout.verdict import NOTHING, Counts, Evidence, Limits, NoData, Reading

POD_CREATION = "pod creation"
SAMPLES = 10
"""Probe pods per cluster group that are enough to judge by."""
STALE = timedelta(seconds=60)
"""A newest sample older than this tells nothing of now."""
SLOWER = 3.0
"""A pod that takes so many times the median from before is slow."""
NEVER_SLOW = 2.0
"""Seconds that are quick whatever the median was."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One probe pod of one cluster: when it was over, whether it came up, and after how many seconds."""

    at: datetime
    good: bool
    seconds: float = 0.0

    @property
    def began(self) -> datetime:
        """When the pod was begun."""
        return self.at - timedelta(seconds=self.seconds)


Samples = Mapping[str, Sequence[Sample]]
"""Cluster (namespace/name) -> its samples, oldest first."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """The counts before a stage: of its members, and of the clusters that stay unchanged meanwhile."""

    stage: Counts
    control: Counts = NOTHING
    controls: tuple[str, ...] = ()
    """The clusters of the control."""
    slow_after: float = 0.0
    """Seconds from which on a pod is slow; 0 where nobody measured."""
    quick_stage: Counts = NOTHING
    """Of the pods that came up, those that were not slow."""
    quick_control: Counts = NOTHING
    metrics: Mapping[str, MetricBaseline] = field(default_factory=dict)
    """Of every business metric."""


def _chosen(samples: Samples, clusters: Iterable[str], after: datetime, until: datetime) -> list[Sample]:
    return [one for key in clusters for one in samples.get(key, ()) if after < one.at <= until]


def counts_of(samples: Samples, clusters: Iterable[str], *, after: datetime, until: datetime) -> Counts:
    """Good ones and all, of these clusters in that time."""
    chosen = _chosen(samples, clusters, after, until)
    return Counts(sum(one.good for one in chosen), len(chosen))


def quick_of(samples: Samples, clusters: Iterable[str], slow_after: float, *, after: datetime, until: datetime) -> Counts:
    """Of the pods that came up in that time: the quick ones and all."""
    good = [one for one in _chosen(samples, clusters, after, until) if one.good]
    return Counts(sum(one.seconds <= slow_after for one in good), len(good))


def baseline_of(
    samples: Samples,
    clusters_of: tuple[Sequence[str], Sequence[str]],
    window: timedelta,
    now: datetime,
    *,
    metrics: Mapping[str, MetricBaseline] | NoData | None = None,
) -> Baseline | NoData:
    """The baseline, once there are enough samples of every group that exists, and numbers of every metric. `clusters_of`: stage and control."""
    stage, control = clusters_of
    groups, began = {"the stage": stage, "unchanged clusters": control}, now - window
    for name, clusters in groups.items():
        found = counts_of(samples, clusters, after=began, until=now).total
        if clusters and found < SAMPLES:
            return NoData(f"the baseline of {name} is being taken: it needs {SAMPLES} probe pods")
    if isinstance(metrics, NoData):
        return NoData(f"no baseline can be taken: {metrics.reason}")
    both = [counts_of(samples, clusters, after=began, until=now) for clusters in groups.values()]
    good = [one.seconds for one in _chosen(samples, [*stage, *control], began, now) if one.good]
    slow_after = round(max(NEVER_SLOW, SLOWER * median(good)), 1) if good else 0.0
    quick = [quick_of(samples, clusters, slow_after, after=began, until=now) for clusters in groups.values()]
    return Baseline(both[0], both[1], tuple(control), slow_after, quick[0], quick[1], metrics or {})


def lately(samples: Samples, changed: Mapping[str, datetime], window: timedelta, now: datetime) -> Samples:
    """What the verdict of now is made of: of each changed member the window's samples that began after its change, of rarer ones the newest that are
    enough; of the others those of the same time. A trouble that is over is forgotten with the window, and a pod that was begun while the API server
    was still rolling is not blamed on what came after.
    """
    kept = {}
    for key, since in changed.items():
        after = [one for one in samples.get(key, ()) if one.began > since]
        recent = [one for one in after if one.at > now - window]
        kept[key] = recent if len(recent) >= SAMPLES else after[-SAMPLES:]
    began = min((one.at for found in kept.values() for one in found), default=now - window)
    return {key: [one for one in found if one.at >= began] for key, found in samples.items()} | kept


def probe_evidence(
    baseline: Baseline, samples: Samples, changed: Mapping[str, datetime], control: Sequence[str], now: datetime
) -> tuple[Evidence, ...]:
    """The probe's evidence on a stage: success, and latency. `changed`: members and since when each is changed and healthy; earlier samples say
    nothing of the change.
    """
    if not changed:
        return (Evidence(POD_CREATION, baseline.stage, NOTHING),)
    began = min(changed.values())
    after, quick = Counts(0, 0), Counts(0, 0)
    for key, since in changed.items():
        after += counts_of(samples, [key], after=since, until=now)
        quick += quick_of(samples, [key], baseline.slow_after, after=since, until=now)
    reading: Reading = after
    if stale := [key for key in changed if not any(one.at > now - STALE for one in samples.get(key, ()))]:
        reading = NoData(f"no probe pod of {stale[0]} came to an end in the last {STALE.seconds} s")
    found = [Evidence(POD_CREATION, baseline.stage, reading, baseline.control, counts_of(samples, control, after=began, until=now))]
    if baseline.slow_after and quick.total:
        others = quick_of(samples, control, baseline.slow_after, after=began, until=now)
        found.append(Evidence(latency_name(baseline), baseline.quick_stage, quick, baseline.quick_control, others))
    return tuple(found)


def latency_name(baseline: Baseline) -> str:
    """As it is shown."""
    return f"{POD_CREATION} within {baseline.slow_after:g} s"


def probe_limits(floor: float, baseline: Baseline) -> Mapping[str, Limits]:
    """Of the probe: single pods, so a margin of one in twenty; of its latency one in five, and no floor."""
    return {POD_CREATION: Limits(floor, 0.05, SAMPLES), latency_name(baseline): Limits(0.0, 0.2, SAMPLES)}
