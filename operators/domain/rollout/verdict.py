"""Is a change bad? From counts before and after it, of what was changed (canary) and of what was not yet (control). Pure; no clock, no client.

Before/after alone is confounded by the time of day, so what is judged is (canary after - before) - (control after - before), the difference in
differences. FAIL needs a margin, a one-sided test and enough samples, or a ratio below its floor that the control does not share and that was not
there before. No data is neither success nor failure: it holds. Rules: docs/architecture.md, "Verdicts".
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

SURE = 0.01
"""One-sided p-value below which a difference is no accident."""

EARLY = 3
"""So many times the samples that are enough: until then, those of unchanged clusters are waited for, and a floor alone finds nobody guilty."""
TEST = f"difference in differences against unchanged clusters, one-sided two-proportion test, p < {SURE}"


class Judgement(StrEnum):
    """What follows from the numbers; the order of severity is FAIL, HOLD, INCONCLUSIVE, PASS."""

    PASS = "PASS"  # noqa: S105 - no password
    FAIL = "FAIL"
    HOLD = "HOLD"
    """No data, or something that is not this change: no advance, no rollback."""
    INCONCLUSIVE = "INCONCLUSIVE"
    """Too few samples: more are needed."""


SEVERITY = (Judgement.FAIL, Judgement.HOLD, Judgement.INCONCLUSIVE, Judgement.PASS)


@dataclass(frozen=True, slots=True)
class Counts:
    """Good events and all events of one window."""

    good: int
    total: int

    @property
    def ratio(self) -> float:
        """Share of good events; 1 when there were none."""
        return self.good / self.total if self.total else 1.0

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.good + other.good, self.total + other.total)


@dataclass(frozen=True, slots=True)
class NoData:
    """Why there are no counts: the provider's error, a warning, NaN, stale samples, a vanished series.

    `is_absent`: the provider answered, and knows of no such series.
    """

    reason: str
    is_absent: bool = False


Reading = Counts | NoData
NOTHING = Counts(0, 0)


@dataclass(frozen=True, slots=True)
class Evidence:
    """One metric's readings. `control` parts are empty counts when every member is changed already."""

    metric: str
    before: Reading
    after: Reading
    control_before: Reading = NOTHING
    control_after: Reading = NOTHING

    @property
    def readings(self) -> tuple[Reading, ...]:
        """All four."""
        return self.before, self.after, self.control_before, self.control_after


@dataclass(frozen=True, slots=True)
class Limits:
    """When a metric is bad. Ratios are shares of good events, between 0 and 1."""

    floor: float
    margin: float
    min_samples: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """A judgement with the sentence that carries its numbers. `leans_bad`: worse by the margin, though not surely."""

    judgement: Judgement
    sentence: str
    leans_bad: bool = False
    parts: tuple[tuple[str, Verdict], ...] = ()
    """Of a verdict on a stage: metric -> the verdict on it alone."""
    worries: bool = False
    """Bad samples, though too few to judge by: nothing new is started until there are more."""
    gist: str = ""
    """The sentence without its numbers, where it has any: the same as long as nothing changes in kind."""
    is_scarce: bool = False
    """Too few samples, and none of them tells anything bad: probe pods may be judged in its place. Not where the change is what may have ended them:
    none at all, of what had enough before, and unchanged clusters still have some or there are none."""

    @property
    def stable(self) -> str:
        """What a wait says of it, pass after pass."""
        told = self.gist or self.sentence
        return str(self.judgement) if self.judgement is Judgement.PASS else f"{self.judgement}: {told}"

    @property
    def forbids_more(self) -> bool:
        """Whether nobody else may be changed before it is clear what this is."""
        return self.worries or self.leans_bad or self.judgement in (Judgement.FAIL, Judgement.HOLD)


def judge(evidence: Evidence, limits: Limits) -> Verdict:
    """The verdict on one metric. Nobody is found guilty while unchanged clusters that were measured before have not been heard yet, within reason."""
    verdict = _judged(evidence, limits)
    if verdict.judgement is not Judgement.FAIL or not _awaits_control(evidence, limits):
        return verdict
    words = f"{evidence.metric}: bad, and unchanged clusters have too few samples yet to tell whether it is the change"
    return Verdict(Judgement.INCONCLUSIVE, f"{verdict.sentence}; {words}", worries=True, gist=words)


def _awaits_control(evidence: Evidence, limits: Limits) -> bool:
    counts = [one for one in evidence.readings if isinstance(one, Counts)]
    _, after, control_before, control_after = counts if len(counts) == len(evidence.readings) else (NOTHING,) * 4
    is_early = after.total < EARLY * limits.min_samples
    return is_early and control_before.total >= limits.min_samples > control_after.total


def _judged(evidence: Evidence, limits: Limits) -> Verdict:
    for reading in evidence.readings:
        if isinstance(reading, NoData):
            return Verdict(Judgement.HOLD, f"{evidence.metric}: no data ({reading.reason})")
    before, after, control_before, control_after = (one for one in evidence.readings if isinstance(one, Counts))
    has_control = min(control_before.total, control_after.total) >= limits.min_samples
    numbers = _numbers(evidence.metric, before, after, control_before, control_after)
    controls = (control_before, control_after) if has_control else (NOTHING, NOTHING)
    if after.total < limits.min_samples:
        ran_dry = not after.total and before.total >= limits.min_samples and (control_after.total or not control_before.total)
        worries = after.ratio < max(limits.floor, before.ratio - limits.margin)
        few = f"at least {limits.min_samples} are needed"
        gist = f"{evidence.metric}: too few samples, {few}{'; some of them are bad' if worries else ''}"
        words = f"{numbers}: {after.total} samples, {few}"
        return Verdict(Judgement.INCONCLUSIVE, words, worries=worries, gist=gist, is_scarce=not worries and not ran_dry)
    if after.ratio < limits.floor:
        change = difference(before, after, *controls)
        if change.is_surely_worse(limits):
            return _below_floor(evidence.metric, numbers, limits)
        long_so = "so it was before the change" if before.total >= limits.min_samples and before.ratio < limits.floor else ""
        verdict = _below_floor(evidence.metric, numbers, limits, excuse=_shared(*controls, limits) or long_so)
        has_rival = has_control or before.total >= limits.min_samples
        if verdict.judgement is Judgement.FAIL and has_rival and after.total < EARLY * limits.min_samples:
            words = f"below its floor {limits.floor:.2%}, and not surely worse than {'unchanged clusters' if has_control else 'before'} yet"
            return Verdict(Judgement.INCONCLUSIVE, f"{numbers}: {words}", worries=True, gist=f"{evidence.metric}: {words}")
        return replace(verdict, leans_bad=verdict.leans_bad or change.value < -limits.margin)
    if before.total < limits.min_samples:
        return _without_before(evidence.metric, numbers, limits, after, control_after)
    if has_control and after.ratio >= max(before.ratio, control_after.ratio):
        return Verdict(Judgement.PASS, f"{numbers}: no worse than before, and than unchanged clusters are now")
    return _compared(evidence.metric, numbers, difference(before, after, *controls), limits)


def _shared(control_before: Counts, control_after: Counts, limits: Limits) -> str:
    """What unchanged clusters have of it. They are counted on their own, so that their ratio crosses the floor a little earlier or later."""
    if not control_after.total:
        return ""
    if control_after.ratio < limits.floor:
        return "so are unchanged clusters"
    return "unchanged clusters sink, too" if control_after.ratio < control_before.ratio - limits.margin else ""


def _below_floor(metric: str, numbers: str, limits: Limits, *, excuse: str = "") -> Verdict:
    if excuse:
        words = f"below its floor {limits.floor:.2%}, but {excuse}; this is not the change"
        return Verdict(Judgement.HOLD, f"{numbers}: {words}", gist=f"{metric}: {words}")
    return Verdict(Judgement.FAIL, f"{numbers}: below its floor {limits.floor:.2%}", leans_bad=True)


def _without_before(metric: str, numbers: str, limits: Limits, after: Counts, control_after: Counts) -> Verdict:
    """Too few samples from before: what is left to compare with is unchanged clusters now, else the floor. With neither nothing is known."""
    if control_after.total >= limits.min_samples:
        return _compared(metric, f"{numbers}: too few samples from before", difference(control_after, after), limits)
    if limits.floor > 0:
        return Verdict(Judgement.PASS, f"{numbers}: above its floor {limits.floor:.2%}; too few samples from before to compare with")
    words = f"too few samples from before, at least {limits.min_samples} are needed where there is neither a floor nor a control"
    return Verdict(Judgement.INCONCLUSIVE, f"{numbers}: {words}", gist=f"{metric}: {words}", is_scarce=True)


@dataclass(frozen=True, slots=True)
class Difference:
    """How the ratio moved, less how the control's moved; `p_worse`: how likely such a fall is when nothing is wrong."""

    value: float
    p_worse: float

    def is_surely_worse(self, limits: Limits) -> bool:
        """Worse by more than the margin, and no accident."""
        return self.value < -limits.margin and self.p_worse < SURE


def difference(before: Counts, after: Counts, control_before: Counts = NOTHING, control_after: Counts = NOTHING) -> Difference:
    """The difference in differences with its one-sided p-value.

    A normal approximation with one good and one bad event added to every count (Agresti & Caffo 2000), so that small and perfect counts have a
    variance too. Without a control the plain difference.
    """
    pairs = [(after, 1), *_expected(before, control_before, control_after)]
    value = sum(sign * counts.ratio for counts, sign in pairs)
    smooth = [((counts.good + 1) / (counts.total + 2), counts.total + 2, sign) for counts, sign in pairs]
    shift = sum(sign * ratio for ratio, _, sign in smooth)
    deviation = math.sqrt(sum(ratio * (1 - ratio) / size for ratio, size, _ in smooth))
    return Difference(value, 0.5 * math.erfc(-shift / deviation / math.sqrt(2)))


def _expected(before: Counts, control_before: Counts, control_after: Counts) -> list[tuple[Counts, int]]:
    """What would have been without the change, as counts to subtract (-1) and to add (1): as before, moved as the control moved.

    A control that got well lifts nobody above what it is now, nor above what they were before if that was more: who was fine all the time cannot get
    better, and is not to blame for a sink that the control shares, because the control was worse still before it.
    """
    if not (control_before.total and control_after.total):
        return [(before, -1)]
    if control_before.ratio < min(before.ratio, control_after.ratio):
        return [(max(before, control_after, key=lambda each: each.ratio), -1)]
    return [(before, -1), (control_after, -1), (control_before, 1)]


def _compared(metric: str, numbers: str, change: Difference, limits: Limits) -> Verdict:
    words = f"{numbers}: {change.value:+.2%} against the control (one-sided p={change.p_worse:.2g})"
    if change.value >= -limits.margin:
        return Verdict(Judgement.PASS, words)
    if change.is_surely_worse(limits):
        return Verdict(Judgement.FAIL, f"{words}, more than {limits.margin:.2%} worse", leans_bad=True)
    return Verdict(Judgement.INCONCLUSIVE, f"{words}, worse, but not surely", leans_bad=True, gist=f"{metric}: worse, but not surely")


def _numbers(metric: str, before: Counts, after: Counts, control_before: Counts, control_after: Counts) -> str:
    control = f" (control {control_before.ratio:.2%} -> {control_after.ratio:.2%})" if control_after.total else " (no control)"
    return f"{metric} {before.ratio:.2%} -> {after.ratio:.2%}{control}, n={after.total}"


def _with_probe_pods(parts: list[tuple[str, Verdict]], probe: str) -> list[tuple[str, Verdict]]:
    """Too little traffic to judge by holds nobody up for ever: enough probe pods that pass say what it would have said."""
    if not any(name == probe and verdict.judgement is Judgement.PASS for name, verdict in parts):
        return parts
    words = f"the probe's pods are judged instead ({probe})"
    return [(name, Verdict(Judgement.PASS, f"{verdict.sentence}; {words}") if verdict.is_scarce else verdict) for name, verdict in parts]


def judge_all(evidence: Iterable[Evidence], limits: Mapping[str, Limits], *, sick: str = "", probe: str = "") -> Verdict:
    """The verdict on a stage: the worst one, with every metric's numbers in the sentence. `sick`: what ails the changed components, if anything.

    Two independent bad signs fail at once, even when neither does so alone. `probe`: the metric of probe pods, which are judged in the place of
    metrics that have too few samples.
    """
    parts = _with_probe_pods([(one.metric, judge(one, limits[one.metric])) for one in evidence], probe)
    if sick:
        parts.append(("health", Verdict(Judgement.INCONCLUSIVE, sick, leans_bad=True)))
    verdicts = [verdict for _, verdict in parts]
    if not verdicts:
        return Verdict(Judgement.HOLD, "nothing was measured")
    sentence = "; ".join(one.sentence for one in verdicts)
    bad_signs = sum(one.leans_bad for one in verdicts)
    if bad_signs >= 2:
        return Verdict(Judgement.FAIL, f"{bad_signs} bad signs: {sentence}", True, tuple(parts))
    worst = min((one.judgement for one in verdicts), key=SEVERITY.index)
    gist = "; ".join(one.gist or one.sentence for one in verdicts if one.judgement is not Judgement.PASS)
    return Verdict(worst, sentence, bad_signs > 0, tuple(parts), any(one.worries for one in verdicts), gist)
