"""Numbers move at every look, and are written twice a minute; what changes in kind is written at once."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from operators.domain.risk.identity import stamp
from operators.domain.rollout.calm import MEASURED, calm
from operators.domain.rollout.state import next_step
from operators.domain.rollout.status import running_status
from operators.domain.rollout.verdict import Counts, Evidence, Limits, NoData, Verdict, judge_all
from operators.domain.rollout.view import State, Wait
from tests.unit.operators.domain.rollout.builders import START, rollout
from tests.unit.operators.domain.rollout.world import World

SHOWN: dict[str, Any] = {
    "phase": "Soaking",
    "message": "stage canary is watched until 12:01:00 UTC; so far PASS",
    "stages": [{"name": "canary", "message": "pod creation 100.00% -> 97.50% (no control), n=12", "healthy": 1}],
    "members": [{"cluster": "prod/c1", "message": "m-1 failed (tried 3 times)"}],
}


def after(seconds: int, **changes: Any) -> dict[str, Any]:
    shown = {**SHOWN, MEASURED: stamp(START)}
    found = calm(shown, {**SHOWN, **changes}, START + timedelta(seconds=seconds))
    return found | {"written": found != shown}


@pytest.mark.parametrize(
    "changes",
    [
        {"stages": [{"name": "canary", "message": "pod creation 100.00% -> 98.10% (no control), n=130", "healthy": 1}]},
        {"members": [{"cluster": "prod/c1", "message": "m-1 failed (tried 41 times)"}]},
    ],
)
def test_should_bring_numbers_up_to_date_twice_a_minute(changes: dict[str, Any]) -> None:
    assert not after(29, **changes)["written"]
    found = after(30, **changes)
    assert found["written"]
    assert found[MEASURED] == stamp(START + timedelta(seconds=30))
    assert after(-3600, **changes)["written"], "a clock that stepped back keeps nothing old"
    assert not after(3600)["written"], "and nothing at all is no reason"


@pytest.mark.parametrize(
    "changes",
    [
        {"phase": "Holding"},
        {"message": "stage canary is watched until 12:01:00 UTC; so far INCONCLUSIVE: pod creation: worse, but not surely"},
        {"stages": [{"name": "canary", "message": SHOWN["stages"][0]["message"], "healthy": 2}]},
        {"members": [{"cluster": "prod/c2", "message": "m-1 failed (tried 3 times)"}]},
        {"members": [{"cluster": "prod/c1", "message": "m-2 failed (tried 3 times)"}]},
        {"members": []},
    ],
)
def test_should_show_at_once_what_changes_in_kind(changes: dict[str, Any]) -> None:
    assert after(1, **changes)["written"]


def soaking(good: int, total: int, latency: int) -> Verdict:
    evidence = [
        Evidence("pod creation", Counts(10, 10), Counts(good, total), Counts(20, 20), Counts(total, total)),
        Evidence("pod creation within 2 s", Counts(10, 10), Counts(latency, total), Counts(20, 20), Counts(total, total)),
    ]
    return judge_all(evidence, {"pod creation": Limits(0.5, 0.05, 10), "pod creation within 2 s": Limits(0.0, 0.2, 10)})


@pytest.mark.parametrize(
    "verdicts",
    [
        [soaking(n, n, n) for n in range(10, 60)],
        [soaking(n, n, n) for n in range(1, 10)],
        [soaking(n, n, n - n // 3) for n in range(12, 20)],
    ],
    ids=["good", "too few", "not surely worse"],
)
def test_should_say_the_same_of_a_wait_as_long_as_nothing_changes_in_kind(verdicts: list[Verdict]) -> None:
    """A hundred samples, two sentences at most: while it is watched, and after."""
    assert len({each.sentence for each in verdicts}) == len(verdicts), "the control: the numbers do move"
    made = rollout()
    world = World.of(made)
    world.verdict = verdicts[0]
    world.run()
    shown: dict[str, Any] = {}
    written, said = 0, set()
    for verdict in verdicts:
        world.now += timedelta(seconds=1)
        view = replace(world.view(), verdict=verdict)
        step = next_step(view)
        assert isinstance(step, Wait)
        assert step.state == State.Soaking
        status = running_status(made, shown, view, step, None)
        written, shown = written + (status != shown), status
        said.add(step.reason)
    assert len(said) == 1, said
    assert written <= 1 + len(verdicts) // 30 + 1


def test_should_name_the_metric_that_has_no_data() -> None:
    verdict = judge_all([Evidence("orders", Counts(10, 10), NoData("Prometheus answers 503"))], {"orders": Limits(0.9, 0.01, 10)})
    assert verdict.stable == "HOLD: orders: no data (Prometheus answers 503)"
