"""The twin of Prometheus keeps the contract of MetricsPort."""

from __future__ import annotations

import pytest

from operators.adapters.sim_metrics import SimMetrics
from operators.domain.rollout.metrics import NoNumber
from operators.ports.metrics import NoMetrics
from tests.contract.metrics import CASES, check


@pytest.mark.parametrize("query", CASES)
async def test_should_keep_the_contract(query: str) -> None:
    check(await SimMetrics({name: series for name, (series, _) in CASES.items()}).ask(query), CASES[query][1])


async def test_should_answer_nothing_while_it_is_in_trouble() -> None:
    assert await SimMetrics({"x": (1.0,)}, trouble="it is down").ask("x") == NoNumber("it is down")


async def test_should_say_that_no_provider_is_known() -> None:
    answer = await NoMetrics().ask("x")
    assert isinstance(answer, NoNumber)
    assert not answer.is_empty
