"""Is a change bad? From counts before and after it, of what was changed (canary) and of what was not yet (control). Pure; no clock, no client.

Before/after alone is confounded by the time of day, so what is judged is (canary after - before) - (control after - before), the difference in
differences. FAIL needs a margin, a one-sided test and enough samples, or a ratio below its floor that the control does not share and that was not
there before. No data is neither success nor failure: it holds. Rules: docs/architecture.md, "Verdicts".
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
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
    for reading in evidence.readings:
        if isinstance(reading, NoData):
            return Verdict(Judgement.HOLD, f"{evidence.metric}: no data ({reading.reason})")
    case = _Case(evidence.metric, limits, *(one for one in evidence.readings if isinstance(one, Counts)))
    verdict = _judged(case)
    if verdict.judgement is not Judgement.FAIL or not case.awaits_control:
        return verdict
    words = f"{case.metric}: bad, and unchanged clusters have too few samples yet to tell whether it is the change"
    return Verdict(Judgement.INCONCLUSIVE, f"{verdict.sentence}; {words}", worries=True, gist=words)


@dataclass(frozen=True, slots=True)
class _Case:
    """One metric whose four readings are counts."""

    metric: str
    limits: Limits
    before: Counts
    after: Counts
    control_before: Counts
    control_after: Counts

    def is_enough(self, counts: Counts) -> bool:
        return counts.total >= self.limits.min_samples

    @property
    def has_control(self) -> bool:
        return self.is_enough(self.control_before) and self.is_enough(self.control_after)

    @property
    def is_early(self) -> bool:
        return self.after.total < EARLY * self.limits.min_samples

    @property
    def awaits_control(self) -> bool:
        return self.is_early and self.is_enough(self.control_before) and not self.is_enough(self.control_after)

    @property
    def change(self) -> Difference:
        """Against unchanged clusters if they have samples enough, else against before."""
        controls = (self.control_before, self.control_after) if self.has_control else ()
        return difference(self.before, self.after, *controls)

    @property
    def numbers(self) -> str:
        now, then = self.control_after, self.control_before
        control = f" (control {then.ratio:.2%} -> {now.ratio:.2%})" if now.total else " (no control)"
        return f"{self.metric} {self.before.ratio:.2%} -> {self.after.ratio:.2%}{control}, n={self.after.total}"


def _judged(case: _Case) -> Verdict:
    if not case.is_enough(case.after):
        return _too_few(case)
    if case.after.ratio < case.limits.floor:
        return _below_floor(case)
    if not case.is_enough(case.before):
        return _without_before(case)
    if case.has_control and case.after.ratio >= max(case.before.ratio, case.control_after.ratio):
        return Verdict(Judgement.PASS, f"{case.numbers}: no worse than before, and than unchanged clusters are now")
    return _compared(case.metric, case.numbers, case.change, case.limits)


def _too_few(case: _Case) -> Verdict:
    ran_dry = not case.after.total and case.is_enough(case.before) and (case.control_after.total or not case.control_before.total)
    worries = case.after.ratio < max(case.limits.floor, case.before.ratio - case.limits.margin)
    few = f"at least {case.limits.min_samples} are needed"
    gist = f"{case.metric}: too few samples, {few}{'; some of them are bad' if worries else ''}"
    words = f"{case.numbers}: {case.after.total} samples, {few}"
    return Verdict(Judgement.INCONCLUSIVE, words, worries=worries, gist=gist, is_scarce=not worries and not ran_dry)


def _below_floor(case: _Case) -> Verdict:
    """Guilty where it is surely worse than what it is compared with; where that is as bad, or it is early, not yet; else the floor alone counts."""
    words, change = f"below its floor {case.limits.floor:.2%}", case.change
    leans_bad = change.value < -case.limits.margin
    excuse = _excuse(case)
    if not change.is_surely_worse(case.limits) and excuse:
        words = f"{words}, but {excuse}; this is not the change"
        return Verdict(Judgement.HOLD, f"{case.numbers}: {words}", leans_bad, gist=f"{case.metric}: {words}")
    if not change.is_surely_worse(case.limits) and case.is_early and (case.has_control or case.is_enough(case.before)):
        words = f"{words}, and not surely worse than {'unchanged clusters' if case.has_control else 'before'} yet"
        return Verdict(Judgement.INCONCLUSIVE, f"{case.numbers}: {words}", leans_bad, worries=True, gist=f"{case.metric}: {words}")
    return Verdict(Judgement.FAIL, f"{case.numbers}: {words}", leans_bad=True)


def _excuse(case: _Case) -> str:
    """Who else is as bad. Unchanged clusters are counted on their own, so that their ratio crosses the floor a little earlier or later."""
    floor, before, control = case.limits.floor, case.control_before, case.control_after
    if case.has_control and control.ratio < floor:
        return "so are unchanged clusters"
    if case.has_control and control.ratio < before.ratio - case.limits.margin:
        return "unchanged clusters sink, too"
    return "so it was before the change" if case.is_enough(case.before) and case.before.ratio < floor else ""


def _without_before(case: _Case) -> Verdict:
    """Too few samples from before: what is left to compare with is unchanged clusters now, else the floor. With neither nothing is known."""
    if case.is_enough(case.control_after):
        words = f"{case.numbers}: too few samples from before"
        return _compared(case.metric, words, difference(case.control_after, case.after), case.limits)
    if case.limits.floor > 0:
        words = f"{case.numbers}: above its floor {case.limits.floor:.2%}; too few samples from before to compare with"
        return Verdict(Judgement.PASS, words)
    words = f"too few samples from before, at least {case.limits.min_samples} are needed where there is neither a floor nor a control"
    return Verdict(Judgement.INCONCLUSIVE, f"{case.numbers}: {words}", gist=f"{case.metric}: {words}", is_scarce=True)


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
