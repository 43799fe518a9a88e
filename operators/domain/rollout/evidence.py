"""From single probe results to the counts that a verdict is made of. Pure: samples and `now` come in.

The baseline of a stage is taken before its first act and goes into the record that starts the stage; a restart never takes it anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from operators.domain.rollout.verdict import NOTHING, Counts, Evidence, Limits, NoData, Reading

POD_CREATION = "pod creation"
SAMPLES = 10
"""Probe pods per cluster group that are enough to judge by."""
STALE = timedelta(seconds=60)
"""A newest sample older than this tells nothing of now."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One probe pod of one cluster: when it was over, and whether it came up."""

    at: datetime
    good: bool


Samples = Mapping[str, Sequence[Sample]]
"""Cluster (namespace/name) -> its samples, oldest first."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """The counts before a stage: of its members, and of the clusters that stay unchanged meanwhile."""

    stage: Counts
    control: Counts = NOTHING


def counts_of(samples: Samples, clusters: Iterable[str], *, after: datetime, until: datetime) -> Counts:
    """Good ones and all, of these clusters in that time."""
    chosen = [one for key in clusters for one in samples.get(key, ()) if after < one.at <= until]
    return Counts(sum(one.good for one in chosen), len(chosen))


def baseline_of(samples: Samples, stage: Sequence[str], control: Sequence[str], window: timedelta, now: datetime) -> Baseline | NoData:
    """The baseline, once there are enough samples of every group that exists."""
    groups = {"the stage": stage, "unchanged clusters": control}
    for name, clusters in groups.items():
        found = counts_of(samples, clusters, after=now - window, until=now).total
        if clusters and found < SAMPLES:
            return NoData(f"the baseline of {name} is being taken: {found} of {SAMPLES} probe pods")
    both = [counts_of(samples, clusters, after=now - window, until=now) for clusters in groups.values()]
    return Baseline(*both)


def probe_evidence(
    baseline: Baseline, samples: Samples, changed: Mapping[str, datetime], control: Sequence[str], now: datetime
) -> Evidence:
    """The probe's evidence on a stage. `changed`: members and since when each is changed and healthy; earlier samples say nothing of the change."""
    if not changed:
        return Evidence(POD_CREATION, baseline.stage, NOTHING)
    began = min(changed.values())
    after = Counts(0, 0)
    for key, since in changed.items():
        after += counts_of(samples, [key], after=since, until=now)
    reading: Reading = after
    if stale := [key for key in changed if not any(one.at > now - STALE for one in samples.get(key, ()))]:
        reading = NoData(f"no probe pod of {stale[0]} came to an end in the last {STALE.seconds} s")
    return Evidence(POD_CREATION, baseline.stage, reading, baseline.control, counts_of(samples, control, after=began, until=now))


def probe_limits(floor: float) -> Limits:
    """Of the probe: single pods, so a margin of one in twenty."""
    return Limits(floor=floor, margin=0.05, min_samples=SAMPLES)
