"""Verdicts: what the numbers say, and when they say nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.domain.rollout.verdict import NOTHING, Counts, Evidence, Judgement, Limits, NoData, Reading, difference, judge, judge_all

LIMITS = Limits(floor=0.9, margin=0.01, min_samples=30)


def of(before: Reading, after: Reading, control_before: Reading = NOTHING, control_after: Reading = NOTHING) -> Evidence:
    return Evidence("pod creation", before, after, control_before, control_after)


@pytest.mark.parametrize(
    ("evidence", "expected"),
    [
        (of(Counts(999, 1000), Counts(998, 1000), Counts(999, 1000), Counts(999, 1000)), Judgement.PASS),
        (of(Counts(999, 1000), Counts(930, 1000), Counts(999, 1000), Counts(998, 1000)), Judgement.FAIL),
        (of(Counts(999, 1000), Counts(930, 1000), Counts(999, 1000), Counts(931, 1000)), Judgement.PASS),
        (of(Counts(999, 1000), Counts(100, 1000), Counts(999, 1000), Counts(998, 1000)), Judgement.FAIL),
        (of(Counts(999, 1000), Counts(100, 1000), Counts(999, 1000), Counts(110, 1000)), Judgement.HOLD),
        (of(Counts(999, 1000), Counts(100, 1000), Counts(600, 1000), Counts(600, 1000)), Judgement.FAIL),
        (of(Counts(999, 1000), Counts(100, 1000)), Judgement.FAIL),
        (of(Counts(780, 1000), Counts(850, 1000)), Judgement.HOLD),
        (of(Counts(780, 1000), Counts(700, 1000)), Judgement.FAIL),
        (of(Counts(20, 25), Counts(800, 1000)), Judgement.FAIL),
        (of(Counts(85, 100), Counts(40, 100), Counts(1, 1), Counts(1, 1)), Judgement.FAIL),
        (of(Counts(600, 1000), Counts(600, 1000), Counts(999, 1000), Counts(999, 1000)), Judgement.HOLD),
        (of(Counts(600, 1000), Counts(600, 1000), Counts(600, 1000), Counts(999, 1000)), Judgement.FAIL),
        (of(Counts(999, 1000), Counts(5, 10)), Judgement.INCONCLUSIVE),
        (of(Counts(40, 40), Counts(39, 40), Counts(40, 40), Counts(40, 40)), Judgement.INCONCLUSIVE),
        (of(Counts(40, 40), Counts(40, 40), Counts(31, 40), Counts(40, 40)), Judgement.PASS),
        (of(Counts(960, 1000), Counts(960, 1000), Counts(900, 1000), Counts(999, 1000)), Judgement.FAIL),
        (of(Counts(0, 0), Counts(40, 40)), Judgement.PASS),
        (of(Counts(0, 0), Counts(36, 40), Counts(0, 0), Counts(400, 400)), Judgement.FAIL),
        (of(Counts(0, 0), Counts(40, 40), Counts(0, 0), Counts(400, 400)), Judgement.PASS),
        (of(NoData("503"), Counts(40, 40)), Judgement.HOLD),
        (of(Counts(40, 40), NoData("NaN")), Judgement.HOLD),
        (of(Counts(40, 40), Counts(40, 40), Counts(40, 40), NoData("stale")), Judgement.HOLD),
    ],
    ids=[
        "alike",
        "worse than the control",
        "sinks as the control does",
        "below the floor",
        "everybody sank below the floor",
        "below the floor, the control was so before",
        "below the floor, no control",
        "below the floor as before, no control",
        "below the floor before, and surely worse now",
        "below the floor before by too few samples to tell",
        "surely worse, beside a control of a single sample",
        "below the floor as before, the control never was",
        "did not get well with everybody else",
        "too few samples",
        "worse, not surely",
        "perfect, while the control got well",
        "did not get better with everybody else",
        "nothing before",
        "nothing before, and worse than unchanged clusters are now",
        "nothing before, and as unchanged clusters are now",
        "no baseline",
        "NaN after",
        "control stale",
    ],
)
def test_should_judge(evidence: Evidence, expected: Judgement) -> None:
    verdict = judge(evidence, LIMITS)
    assert verdict.judgement == expected, verdict.sentence


NO_FLOOR = Limits(floor=0.0, margin=0.05, min_samples=30)


def test_should_know_nothing_without_before_floor_and_control() -> None:
    """Whatever came after: no data is no success. The control: with a floor the same numbers pass."""
    for after in (Counts(40, 40), Counts(1, 40)):
        verdict = judge(of(Counts(9, 10), after), NO_FLOOR)
        assert (verdict.judgement, verdict.is_scarce) == (Judgement.INCONCLUSIVE, True)
        assert "at least 30 are needed where there is neither a floor nor a control" in verdict.sentence
    assert judge(of(Counts(9, 10), Counts(40, 40)), LIMITS).judgement == Judgement.PASS


PODS = Evidence("pods", Counts(40, 40), Counts(40, 40))


@pytest.mark.parametrize(
    ("why", "pods", "requests", "expected"),
    [
        ("too little traffic", PODS, of(Counts(40, 40), Counts(10, 10)), Judgement.PASS),
        ("too little traffic before", PODS, of(Counts(1, 1), Counts(40, 40)), Judgement.PASS),
        ("few samples, and bad ones", PODS, of(Counts(40, 40), Counts(3, 10)), Judgement.INCONCLUSIVE),
        ("no data is not little data", PODS, of(Counts(40, 40), NoData("503")), Judgement.HOLD),
        ("worse, not surely", PODS, of(Counts(40, 40), Counts(36, 40)), Judgement.INCONCLUSIVE),
        (
            "too few pods of the probe as well",
            Evidence("pods", Counts(40, 40), Counts(9, 9)),
            of(Counts(40, 40), Counts(10, 10)),
            Judgement.INCONCLUSIVE,
        ),
        ("the pods are bad", Evidence("pods", Counts(40, 40), Counts(10, 40)), of(Counts(40, 40), Counts(10, 10)), Judgement.FAIL),
    ],
)
def test_should_judge_probe_pods_where_there_is_too_little_traffic(
    why: str, pods: Evidence, requests: Evidence, expected: Judgement
) -> None:
    limits = {"pods": NO_FLOOR, "pod creation": NO_FLOOR}
    verdict = judge_all([pods, requests], limits, probe="pods")
    assert verdict.judgement == expected, why
    assert ("the probe's pods are judged instead" in verdict.sentence) == (expected is Judgement.PASS)
    if expected is Judgement.PASS:
        assert judge_all([pods, requests], limits).judgement == Judgement.INCONCLUSIVE, "the control: nobody stands in"


def test_should_carry_the_numbers_in_its_sentence() -> None:
    verdict = judge(of(Counts(999, 1000), Counts(930, 1000), Counts(999, 1000), Counts(998, 1000)), LIMITS)
    for words in ("99.90% -> 93.00%", "control 99.90% -> 99.80%", "n=1000", "more than 1.00% worse"):
        assert words in verdict.sentence


def test_should_fail_on_two_signs_that_alone_would_not() -> None:
    weak = of(Counts(40, 40), Counts(39, 40), Counts(40, 40), Counts(40, 40))
    limits = {"pod creation": LIMITS}
    assert judge_all([weak], limits).judgement == Judgement.INCONCLUSIVE
    assert judge_all([weak], limits, sick="2 of 3 API servers restarted").judgement == Judgement.FAIL
    assert judge_all([weak, weak], limits).judgement == Judgement.FAIL


def test_should_hold_when_nothing_is_measured_and_when_one_metric_is_silent() -> None:
    good = of(Counts(40, 40), Counts(40, 40))
    assert judge_all([], {}).judgement == Judgement.HOLD
    assert judge_all([good, of(good.before, NoData("time-out"))], {"pod creation": LIMITS}).judgement == Judgement.HOLD


counts = st.integers(30, 2000).flatmap(lambda total: st.builds(Counts, st.integers(0, total), st.just(total)))


@given(counts, counts, counts, counts)
def test_should_never_blame_a_change_that_made_it_better(
    before: Counts, after: Counts, control_before: Counts, control_after: Counts
) -> None:
    change = difference(before, after, control_before, control_after)
    assert 0 <= change.p_worse <= 1
    if change.value >= 0 and after.ratio >= LIMITS.floor:
        assert judge(of(before, after, control_before, control_after), LIMITS).judgement == Judgement.PASS


@given(counts, counts)
def test_should_not_depend_on_which_side_is_called_control_when_both_moved_alike(before: Counts, after: Counts) -> None:
    assert difference(before, after, before, after).value == pytest.approx(0)


def test_should_worry_at_the_first_bad_sample_long_before_it_can_judge() -> None:
    first = judge(of(Counts(40, 40), Counts(2, 3), Counts(40, 40), Counts(3, 3)), LIMITS)
    assert (first.judgement, first.forbids_more) == (Judgement.INCONCLUSIVE, True)
    assert not judge(of(Counts(40, 40), Counts(3, 3)), LIMITS).forbids_more
    assert judge_all([of(Counts(40, 40), Counts(2, 3))], {"pod creation": LIMITS}).forbids_more
    assert judge(of(Counts(40, 40), NoData("503")), LIMITS).forbids_more


@given(st.integers(30, 400), st.integers(0, 400), st.integers(0, 400), st.integers(30, 400), st.integers(30, 400))
def test_should_never_blame_what_nobody_does_better_than(total: int, good: int, control: int, control_total: int, after_total: int) -> None:
    before, control_before = Counts(min(good, total), total), Counts(min(control, control_total), control_total)
    perfect, control_after = Counts(after_total, after_total), Counts(control_total, control_total)
    assert judge(of(before, perfect, control_before, control_after), LIMITS).judgement is Judgement.PASS


PROBE = Evidence("probe", Counts(40, 40), Counts(40, 40))
SCARCE = {"probe": LIMITS, "pod creation": LIMITS}


@pytest.mark.parametrize(
    ("why", "evidence", "expected"),
    [
        ("a little traffic", of(Counts(990, 1000), Counts(3, 3)), Judgement.PASS),
        ("there was hardly any before", of(Counts(3, 3), Counts(0, 0)), Judgement.PASS),
        ("it ended with the change", of(Counts(990, 1000), Counts(0, 0)), Judgement.INCONCLUSIVE),
        (
            "it ended here and goes on elsewhere",
            of(Counts(990, 1000), Counts(0, 0), Counts(900, 1000), Counts(5, 5)),
            Judgement.INCONCLUSIVE,
        ),
        ("it ended everywhere", of(Counts(990, 1000), Counts(0, 0), Counts(990, 1000), Counts(0, 0)), Judgement.PASS),
    ],
)
def test_should_let_probe_pods_stand_in_for_scarce_traffic_not_for_traffic_that_ended(
    why: str, evidence: Evidence, expected: Judgement
) -> None:
    assert judge_all([evidence, PROBE], SCARCE, probe="probe").judgement is expected, why


def test_should_count_a_fall_that_is_excused_as_one_of_two_bad_signs() -> None:
    fallen = judge(of(Counts(24, 30), Counts(16, 30)), Limits(floor=0.9, margin=0.05, min_samples=30))
    assert (fallen.judgement, fallen.leans_bad) == (Judgement.HOLD, True)
    steady = judge(of(Counts(24, 30), Counts(24, 30)), Limits(floor=0.9, margin=0.05, min_samples=30))
    assert (steady.judgement, steady.leans_bad) == (Judgement.HOLD, False)


FEW_BAD = of(Counts(40, 40), Counts(35, 40), Counts(40, 40), Counts(40, 40))
"""Below the floor, and yet no more than chance may do."""


@pytest.mark.parametrize(
    ("after", "control_after", "expected"),
    [
        (Counts(16, 18), Counts(31, 33), Judgement.HOLD),
        (Counts(16, 18), Counts(32, 33), Judgement.INCONCLUSIVE),
        (Counts(20, 30), Counts(40, 60), Judgement.HOLD),
        (Counts(26, 30), Counts(58, 60), Judgement.FAIL),
        (Counts(5, 10), Counts(33, 33), Judgement.FAIL),
        (Counts(18, 18), Counts(33, 33), Judgement.PASS),
    ],
    ids=["sink alike", "sink alike, seen first", "all the same later", "only the changed one", "at once", "nobody"],
)
def test_should_not_blame_a_change_for_a_control_that_was_ill_before_it(after: Counts, control_after: Counts, expected: Judgement) -> None:
    """As seen: unchanged clusters were just recovering when the baseline was taken, so that they are better now, though pods begin to fail everywhere."""
    limits = Limits(floor=0.95, margin=0.01, min_samples=10)
    verdict = judge(of(Counts(10, 10), after, Counts(9, 13), control_after), limits)
    assert verdict.judgement is expected, verdict.sentence
    assert verdict.forbids_more is (expected is not Judgement.PASS), "nobody else is changed until it is clear"


@pytest.mark.parametrize(
    ("why", "before", "control", "expected"),
    [
        ("it had the same illness, and did not get well", Counts(600, 1000), Counts(600, 1000), -0.30),
        ("it was a little ill, and did not get as well as they", Counts(700, 1000), Counts(600, 1000), -0.20),
        ("it was as well all the time as they are now", Counts(900, 1000), Counts(600, 1000), -0.20),
        ("it was better all the time than they are now", Counts(1000, 1000), Counts(600, 1000), -0.30),
    ],
)
def test_should_expect_nobody_to_be_lifted_above_what_unchanged_clusters_are_now(
    why: str, before: Counts, control: Counts, expected: float
) -> None:
    after = Counts(700, 1000) if before.ratio >= 0.7 else Counts(600, 1000)
    assert difference(before, after, control, Counts(900, 1000)).value == pytest.approx(expected), why


@pytest.mark.parametrize(
    ("why", "evidence", "expected"),
    [
        ("the control is not heard yet", of(Counts(40, 40), Counts(20, 40), Counts(40, 40), Counts(6, 29)), Judgement.INCONCLUSIVE),
        ("it sank alike", of(Counts(40, 40), Counts(20, 40), Counts(40, 40), Counts(12, 30)), Judgement.HOLD),
        ("it did not", of(Counts(40, 40), Counts(20, 40), Counts(40, 40), Counts(30, 30)), Judgement.FAIL),
        ("it says nothing any more", of(Counts(90, 90), Counts(45, 90), Counts(40, 40), Counts(6, 29)), Judgement.FAIL),
        ("there never was one", of(Counts(40, 40), Counts(20, 40), Counts(3, 3), Counts(1, 2)), Judgement.FAIL),
        (
            "above the floor, by the margin alone",
            of(Counts(400, 400), Counts(81, 88), Counts(400, 400), Counts(2, 2)),
            Judgement.INCONCLUSIVE,
        ),
        ("it begins to sink, too", of(Counts(40, 40), Counts(35, 40), Counts(40, 40), Counts(37, 40)), Judgement.HOLD),
        ("it begins to sink, too, of many samples", of(Counts(90, 90), Counts(78, 90), Counts(90, 90), Counts(83, 90)), Judgement.HOLD),
        ("below the floor by a few of few, and the control is fine", FEW_BAD, Judgement.INCONCLUSIVE),
        ("the same, compared with before alone", of(Counts(40, 40), Counts(35, 40)), Judgement.INCONCLUSIVE),
        ("the same, with nothing to compare with", of(NOTHING, Counts(35, 40)), Judgement.FAIL),
        ("half of them at once, compared with before alone", of(Counts(40, 40), Counts(20, 40)), Judgement.FAIL),
        ("the same, with samples enough", of(Counts(40, 40), Counts(80, 90), Counts(40, 40), Counts(90, 90)), Judgement.FAIL),
        ("what is fine waits for nobody", of(Counts(40, 40), Counts(40, 40), Counts(40, 40), Counts(2, 2)), Judgement.PASS),
    ],
)
def test_should_hear_unchanged_clusters_before_it_finds_a_change_guilty(why: str, evidence: Evidence, expected: Judgement) -> None:
    verdict = judge(evidence, LIMITS)
    assert verdict.judgement is expected, why
    if expected is Judgement.INCONCLUSIVE:
        assert verdict.forbids_more, "nobody else is changed meanwhile"
        assert "too few samples yet" in verdict.stable or "not surely worse than" in verdict.stable
