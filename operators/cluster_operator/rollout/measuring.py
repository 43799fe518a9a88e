"""Asks the metrics provider what a rollout's stage is judged by. Reads only, decides nothing; called by observe.

Answers are remembered for some seconds, since a rollout looks often; a process that starts with nothing in its memory asks again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from operators.api.analysis import Analysis
from operators.cluster_operator.cluster.world import Remembered
from operators.domain.rollout.metrics import Answer, MetricBaseline, NoNumber, Question, Span, having, questions_of, sums_of
from operators.domain.rollout.verdict import NOTHING, Counts, NoData, Reading
from operators.ports.metrics import MetricsPort

AT_ONCE = 8
"""Queries that are open at a time."""
ALTOGETHER = 10.0
"""Seconds for all queries of one look: what is not answered by then is no answer."""
EVERY = 10.0
"""Seconds between two looks at the same metrics."""
Groups = tuple[Sequence[Span], Sequence[Span]]
"""Of the stage, and of the controls."""


class Measurer:
    """Asks for both groups together."""

    def __init__(self, metrics: MetricsPort, *, every: float = EVERY) -> None:
        self._metrics = metrics
        self._baselines: Remembered[Mapping[str, MetricBaseline] | NoData] = Remembered(256, every)
        self._afters: Remembered[Mapping[str, tuple[Reading, Reading]]] = Remembered(256, every)

    @property
    def is_there(self) -> bool:
        """Whether a provider is known at all."""
        return self._metrics.is_there

    async def baseline(self, stage: str, analysis: Analysis, groups: Groups) -> Mapping[str, MetricBaseline] | NoData:
        """Every metric's numbers now, or why one has none. `stage` names the stage of the rollout, for memory.

        A control that does not have a metric is none for it; one that had it and loses it later leaves it without data.
        """
        key = (stage, "before", *(tuple(span.cluster for span in group) for group in groups))
        if known := self._baselines.get(key):
            return known
        own, others = (questions_of(analysis, group) for group in groups)
        answers = await self._answers([*own, *others])
        others = having(others, answers)
        sums, control = sums_of(own, answers), sums_of(others, answers)
        made: dict[str, MetricBaseline] = {}
        for metric in analysis.metrics:
            before, beside = sums.get(metric.name, NOTHING), control.get(metric.name, NOTHING)
            for one in (before, beside):
                if isinstance(one, NoData):
                    return self._baselines.put(key, NoData(f"{metric.name}: {one.reason}"))
            if isinstance(before, Counts) and isinstance(beside, Counts):
                first = next((each for each in own if each.metric.name == metric.name), None)
                if first is None:
                    continue  # a stage that has no clusters yet
                having_it = tuple(each.span.cluster for each in others if each.metric.name == metric.name)
                made[metric.name] = MetricBaseline(before, beside, analysis.window_seconds, first.good, first.total, having_it)
        return self._baselines.put(key, made)

    async def after(
        self, stage: str, analysis: Analysis, groups: Groups, before: Mapping[str, MetricBaseline]
    ) -> Mapping[str, tuple[Reading, Reading]]:
        """Metric -> what the stage's clusters show together, and what the controls of its baseline do."""
        key = (stage, "after", *(tuple(span.cluster for span in group) for group in groups))
        if known := self._afters.get(key):
            return known
        own, others = (questions_of(analysis, group) for group in groups)
        others = tuple(each for each in others if each.metric.name in before and each.span.cluster in before[each.metric.name].controls)
        answers = await self._answers([*own, *others])
        sums, control = sums_of(own, answers), sums_of(others, answers)
        return self._afters.put(
            key, {each.name: (sums.get(each.name, NOTHING), control.get(each.name, NOTHING)) for each in analysis.metrics}
        )

    async def _answers(self, questions: Sequence[Question]) -> Mapping[str, Answer]:
        """Every query once. After the first that was not answered at all the others are not asked: the provider is in trouble."""
        queries = list(dict.fromkeys(query for each in questions for query in (each.good, each.total, each.alive) if query))
        answers: dict[str, Answer] = dict.fromkeys(queries, NoNumber(f"not all queries were answered within {ALTOGETHER:.0f} s"))
        trouble: list[NoNumber] = []
        gate = asyncio.Semaphore(AT_ONCE)

        async def ask(query: str) -> None:
            async with gate:
                answers[query] = trouble[0] if trouble else await self._metrics.ask(query)
                answer = answers[query]
                if isinstance(answer, NoNumber) and not answer.is_empty:
                    trouble.append(answer)

        try:
            async with asyncio.timeout(ALTOGETHER), asyncio.TaskGroup() as group:
                for query in queries:
                    group.create_task(ask(query))
        except TimeoutError:
            return answers
        return answers
