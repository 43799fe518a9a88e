"""MetricsPort in memory: the twin of `prometheus` for tests of what is decided by metrics. A query's answer is what a test puts there."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from operators.domain.rollout.metrics import Answer, NoNumber, Number

EMPTY: tuple[float, ...] = ()


@dataclass
class SimMetrics:
    """`series`: query -> the values of the series that it finds; a function of the query for those that are not there. `trouble`: of the whole server."""

    series: dict[str, tuple[float, ...]] = field(default_factory=dict)
    others: Callable[[str], tuple[float, ...]] = field(default=lambda query: EMPTY)
    trouble: str = ""
    asked: list[str] = field(default_factory=list)
    is_there: bool = True

    async def ask(self, query: str) -> Answer:
        """See MetricsPort."""
        self.asked.append(query)
        if self.trouble:
            return NoNumber(self.trouble)
        found = self.series[query] if query in self.series else self.others(query)
        if not found:
            return NoNumber("the answer is empty: no such series, or it has vanished", is_empty=True)
        if len(found) > 1:
            return NoNumber(f"the answer has {len(found)} series, and one is needed: sum() them")
        if math.isnan(found[0]):
            return NoNumber("the answer is NaN: something was divided by nothing")
        return Number(found[0]) if math.isfinite(found[0]) else NoNumber("the answer is infinite")
