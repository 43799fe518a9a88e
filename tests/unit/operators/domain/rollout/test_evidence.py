"""Which probe pods a verdict is made of."""

from __future__ import annotations

from datetime import datetime, timedelta

from operators.domain.rollout.evidence import SAMPLES, Sample, counts_of, lately
from operators.domain.rollout.verdict import Counts
from tests.unit.operators.domain.rollout.builders import START

WINDOW = timedelta(seconds=60)


def at(seconds: int) -> datetime:
    return START + timedelta(seconds=seconds)


def run_of(first: int, last: int, every: int, *, good: bool) -> list[Sample]:
    return [Sample(at(second), good, 1.0) for second in range(first, last, every)]


def judged(samples: dict[str, list[Sample]], cluster: str, now: int) -> Counts:
    found = lately(samples, {"n/changed": at(100)}, WINDOW, at(now))
    return counts_of(found, [cluster], after=at(0), until=at(now))


def test_should_forget_a_trouble_that_is_over_with_the_window() -> None:
    samples = {"n/changed": run_of(101, 200, 3, good=False) + run_of(200, 300, 3, good=True)}
    assert judged(samples, "n/changed", 210).good < 10
    assert judged(samples, "n/changed", 290) == Counts(20, 20)


def test_should_reach_back_for_enough_samples_where_each_takes_long_but_never_before_the_change() -> None:
    slow = run_of(0, 100, 3, good=True) + run_of(110, 400, 25, good=False)
    assert judged({"n/changed": slow}, "n/changed", 385) == Counts(0, SAMPLES)
    assert judged({"n/changed": slow}, "n/changed", 161) == Counts(0, 3)


def test_should_take_the_control_from_the_same_time() -> None:
    both = {"n/changed": run_of(101, 300, 3, good=True), "n/other": run_of(0, 230, 3, good=False) + run_of(230, 300, 3, good=True)}
    assert judged(both, "n/changed", 300) == Counts(20, 20)
    assert judged(both, "n/other", 300) == Counts(20, 20), "its bad pods were before"
    assert judged(both, "n/other", 250).good < 17


def test_should_not_count_a_pod_that_was_begun_before_the_change_was_healthy() -> None:
    """The API server rolled under it; it only ended afterwards."""
    rolling = [Sample(at(115 + number), False, 20.0) for number in range(4)]
    assert judged({"n/changed": [*rolling, *run_of(121, 160, 3, good=True)]}, "n/changed", 160) == Counts(13, 13)
    later = [Sample(at(121 + number), False, 20.0) for number in range(4)]
    assert judged({"n/changed": later}, "n/changed", 160) == Counts(0, 4), "begun after it"
