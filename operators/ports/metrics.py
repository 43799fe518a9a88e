"""Numbers from a metrics provider: one query, one number, or in words why there is none. Never an exception, never a guess.

No answer is neither good nor bad: whoever asks holds. Real: adapters/prometheus.py; twin: adapters/sim_metrics.py, with the same contract
tests. Called by cluster_operator.rollout.
"""

from __future__ import annotations

from typing import Protocol

from operators.domain.rollout.metrics import Answer, NoNumber


class MetricsPort(Protocol):
    """Asks the provider."""

    @property
    def is_there(self) -> bool:
        """Whether a provider is known at all."""
        ...

    async def ask(self, query: str) -> Answer:
        """The query's value now. An error, a warning, NaN, an infinity, an empty or a manifold answer, garbage and silence are NoNumber."""
        ...


class NoMetrics:
    """MetricsPort of an operator that was told of no provider."""

    is_there = False

    async def ask(self, query: str) -> Answer:
        """See MetricsPort."""
        return NoNumber("no Prometheus is known to the operator (--prometheus-url)")
