"""Asks the metrics provider what a rollout's stage is judged by. Reads only, decides nothing; called by observe.

Answers are remembered for some seconds, since a rollout looks often; a process that starts with nothing in its memory asks again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from operators.api.rollout import Analysis
from operators.cluster_operator.cluster.world import Remembered
from operators.domain.rollout.metrics import Answer, MetricBaseline, NoNumber, Question, Span, questions_of, sums_of
from operators.domain.rollout.verdict import Counts, NoData, Reading
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
        self._remembered: Remembered[Mapping[str, tuple[Reading, Reading]]] = Remembered(256, every)

    @property
    def is_there(self) -> bool:
        """Whether a provider is known at all."""
        return self._metrics.is_there

    async def baseline(self, stage: str, analysis: Analysis, groups: Groups) -> Mapping[str, MetricBaseline] | NoData:
        """Every metric's numbers now, or why one has none. `stage` names the stage of the rollout, for memory."""
        found = await self.readings(f"{stage} before", analysis, groups)
        made: dict[str, MetricBaseline] = {}
        for question in questions_of(analysis, groups[0][:1]):
            name = question.metric.name
            both = found[name]
            for one in both:
                if isinstance(one, NoData):
                    return NoData(f"{name}: {one.reason}")
            stage_counts, control_counts = (one for one in both if isinstance(one, Counts))
            made[name] = MetricBaseline(stage_counts, control_counts, analysis.window_seconds, question.good, question.total)
        return made

    async def readings(self, stage: str, analysis: Analysis, groups: Groups) -> Mapping[str, tuple[Reading, Reading]]:
        """Metric -> what the stage's clusters show together, and what the controls do."""
        name = (stage, *(tuple(span.cluster for span in group) for group in groups))
        if known := self._remembered.get(name):
            return known
        first, second = (questions_of(analysis, group) for group in groups)
        answers = await self._answers([*first, *second])
        sums, control = sums_of(first, answers), sums_of(second, answers)
        nothing = Counts(0, 0)
        found = {metric.name: (sums.get(metric.name, nothing), control.get(metric.name, nothing)) for metric in analysis.metrics}
        return self._remembered.put(name, found) if found else found

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
