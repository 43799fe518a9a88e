"""What every MetricsPort must do, the real one and its twin: a query, the series that it finds, and what is said of them."""

from __future__ import annotations

import math

from operators.domain.rollout.metrics import Answer, NoNumber, Number

CASES: dict[str, tuple[tuple[float, ...], float | str]] = {
    "vector(3.5)": ((3.5,), 3.5),
    "vector(0)": ((0.0,), 0.0),
    "vector(-1)": ((-1.0,), -1.0),
    "vector(1) > 2": ((), "is empty"),
    "no_such_metric_at_all": ((), "is empty"),
    'label_replace(vector(1), "a", "b", "", "") or vector(2)': ((1.0, 2.0), "has 2 series"),
    "vector(0) / vector(0)": ((math.nan,), "is NaN"),
    "vector(1) / vector(0)": ((math.inf,), "is infinite"),
    "-1 * vector(1) / vector(0)": ((-math.inf,), "is infinite"),
}
"""PromQL -> the values that a right server finds, and what the port must answer: a number, or words of why there is none."""


def check(answer: Answer, expected: float | str) -> None:
    """Fail unless it is that."""
    if isinstance(expected, float):
        assert answer == Number(expected)
    else:
        assert isinstance(answer, NoNumber)
        assert expected in answer.reason
        assert answer.is_empty == (expected == "is empty")
