"""Business metrics as counts: which queries are asked of which clusters, and what the answers add up to. Pure; asked by cluster_operator.rollout.measuring.

A metric is two counters over a window, good events and all events, so that every ratio is made of counts. That it is alive is asked apart:
a window of minutes still shows the events of a series that has vanished meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from operators.api.analysis import Analysis, Metric
from operators.domain.rollout.verdict import NOTHING, Counts, Limits, NoData, Reading

JUDGED = 20
"""Clusters of one group that a metric is asked of, so that a stage of hundreds does not ask thousands of queries."""
ROUNDING = 0.05
"""Prometheus extrapolates increases: good may seem to be so much more than all."""


@dataclass(frozen=True, slots=True)
class Number:
    """A finite number, and nothing was wrong with the answer."""

    value: float


@dataclass(frozen=True, slots=True)
class NoNumber:
    """Why there is none, one clause. `is_empty`: the provider answered, and knows nothing of the kind; then asking others may still help."""

    reason: str
    is_empty: bool = False


Answer = Number | NoNumber


@dataclass(frozen=True, slots=True)
class Span:
    """One cluster (namespace/name) and over how many seconds, until now, its events are counted."""

    cluster: str
    seconds: int


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked about one metric of one cluster. `alive` is empty where the window is short enough to tell by itself."""

    metric: Metric
    span: Span
    good: str
    total: str
    alive: str = ""
    alive_seconds: int = 0
    """The window of `alive`."""


@dataclass(frozen=True, slots=True)
class MetricBaseline:
    """One metric before a stage, as it is kept in the record: the numbers, and how they were come by."""

    stage: Counts
    control: Counts
    window_seconds: int
    good: str
    """The query of the first cluster."""
    total: str
    controls: tuple[str, ...] = ()
    """Unchanged clusters that have this metric at all."""


def questions_of(analysis: Analysis, spans: Iterable[Span]) -> tuple[Question, ...]:
    """Every metric of every cluster."""
    return tuple(_question(metric, span, analysis.stale_seconds) for metric in analysis.metrics for span in spans)


def _question(metric: Metric, span: Span, stale: int) -> Question:
    good, total = (filled(each, span) for each in (metric.good, metric.total))
    needs_more = span.seconds > stale and not metric.empty_means_zero
    return Question(metric, span, good, total, filled(metric.total, Span(span.cluster, stale)) if needs_more else "", stale)


def filled(query: str, span: Span) -> str:
    """The query for one cluster and window."""
    namespace, _, name = span.cluster.partition("/")
    parts = {"{{cluster}}": name, "{{namespace}}": namespace, "{{window}}": f"{span.seconds}s"}
    for mark, value in parts.items():
        query = query.replace(mark, value)
    return query


def reading_of(question: Question, answers: Mapping[str, Answer]) -> Reading:
    """The counts of one question, or why there are none."""
    if question.alive and isinstance(alive := answers[question.alive], NoNumber):
        words = f"no sample in the last {question.alive_seconds} s" if alive.is_empty else alive.reason
        return NoData(f"{question.span.cluster}: {words}", alive.is_empty)
    found = [_value(question, answers[query]) for query in (question.good, question.total)]
    for each in found:
        if isinstance(each, NoData):
            return each
    good, total = (each for each in found if isinstance(each, float))
    if good < 0 or total < 0 or good > total * (1 + ROUNDING) + 1:
        return NoData(f"{question.span.cluster}: more good events than events, or fewer than none: the two queries do not fit together")
    return Counts(min(round(good), round(total)), round(total))


def _value(question: Question, answer: Answer) -> float | NoData:
    if isinstance(answer, Number):
        return answer.value
    if answer.is_empty and question.metric.empty_means_zero:
        return 0.0
    return NoData(f"{question.span.cluster}: {answer.reason}", answer.is_empty)


def sums_of(questions: Sequence[Question], answers: Mapping[str, Answer]) -> dict[str, Reading]:
    """Metric -> the counts of all clusters together; one cluster without data leaves the metric without."""
    sums: dict[str, Reading] = {question.metric.name: NOTHING for question in questions}
    for question in questions:
        name, found = question.metric.name, reading_of(question, answers)
        so_far = sums[name]
        if isinstance(so_far, Counts):
            sums[name] = so_far + found if isinstance(found, Counts) else found
    return sums


def having(questions: Sequence[Question], answers: Mapping[str, Answer]) -> tuple[Question, ...]:
    """Without the clusters that do not have the metric at all: what was never there has not vanished. For controls, before a stage."""

    def is_absent(question: Question) -> bool:
        found = reading_of(question, answers)
        return isinstance(found, NoData) and found.is_absent

    return tuple(question for question in questions if not is_absent(question))


def metric_limits(metric: Metric) -> Limits:
    """When it is bad, as the rollout says."""
    return Limits(metric.floor, metric.margin, metric.min_samples)
