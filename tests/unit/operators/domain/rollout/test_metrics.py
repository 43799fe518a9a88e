"""Business metrics: the queries that are asked, and what answers add up to."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from operators.api.analysis import Analysis
from operators.domain.rollout.evidence import Baseline
from operators.domain.rollout.judging import Measured, spans_after, spans_before, stage_verdict
from operators.domain.rollout.metrics import Answer, MetricBaseline, NoNumber, Number, Span, having, questions_of, sums_of
from operators.domain.rollout.plan import PlannedMember, PlannedStage
from operators.domain.rollout.story import Event, Record, Story, record_of
from operators.domain.rollout.verdict import Counts, Judgement, NoData
from operators.domain.rollout.view import Hold, MemberFacts
from tests.unit.operators.domain.rollout.builders import NEW, OLD, START

EMPTY = NoNumber("the answer is empty", is_empty=True)
GOOD = 'sum(increase(good{cluster="{{cluster}}",ns="{{namespace}}"}[{{window}}]))'
TOTAL = 'sum(increase(total{cluster="{{cluster}}"}[{{window}}]))'


def analysis(**metric: Any) -> Analysis:
    return Analysis.model_validate({"metrics": [{"name": "orders", "good": GOOD, "total": TOTAL, **metric}]})


def test_should_ask_for_each_cluster_and_whether_it_still_counts() -> None:
    (question,) = questions_of(analysis(), [Span("prod/c1", 300)])
    assert question.good == 'sum(increase(good{cluster="c1",ns="prod"}[300s]))'
    assert question.total == 'sum(increase(total{cluster="c1"}[300s]))'
    assert question.alive == 'sum(increase(total{cluster="c1"}[180s]))'
    (short,) = questions_of(analysis(), [Span("prod/c1", 60)])
    assert short.alive == "", "a short window tells by itself"


@pytest.mark.parametrize(
    ("good", "total", "alive", "expected"),
    [
        (Number(98.4), Number(100.2), Number(50), Counts(98, 100)),
        (Number(101.0), Number(100.0), Number(50), Counts(100, 100)),
        (Number(180.0), Number(100.0), Number(50), "do not fit together"),
        (Number(-3.0), Number(100.0), Number(50), "do not fit together"),
        (Number(98.0), Number(100.0), EMPTY, "no sample in the last 180 s"),
        (EMPTY, Number(100.0), Number(50), "is empty"),
        (Number(98.0), NoNumber("Prometheus answered HTTP 503"), Number(50), "503"),
    ],
    ids=["counts", "extrapolated", "more good than all", "negative", "vanished", "no good ones", "error"],
)
def test_should_read(good: Answer, total: Answer, alive: Answer, expected: Counts | str) -> None:
    (question,) = questions_of(analysis(), [Span("prod/c1", 300)])
    found = sums_of([question], {question.good: good, question.total: total, question.alive: alive})["orders"]
    if isinstance(expected, Counts):
        assert found == expected
    else:
        assert isinstance(found, NoData)
        assert expected in found.reason


def test_should_take_nothing_for_zero_only_where_that_was_said() -> None:
    (question,) = questions_of(analysis(emptyMeansZero=True), [Span("prod/c1", 300)])
    assert question.alive == ""
    assert sums_of([question], {question.good: EMPTY, question.total: EMPTY})["orders"] == Counts(0, 0)
    broken = NoNumber("Prometheus answered HTTP 503")
    assert isinstance(sums_of([question], {question.good: broken, question.total: EMPTY})["orders"], NoData)


def test_should_add_up_clusters_and_be_without_data_if_one_is() -> None:
    questions = questions_of(analysis(), [Span("prod/c1", 60), Span("prod/c2", 60)])
    answers: dict[str, Answer] = {query: Number(value) for each in questions for query, value in ((each.good, 9.0), (each.total, 10.0))}
    assert sums_of(questions, answers)["orders"] == Counts(18, 20)
    answers[questions[1].total] = NoNumber("NaN")
    assert isinstance(sums_of(questions, answers)["orders"], NoData)


def test_should_take_no_control_that_never_had_the_metric_but_mind_one_that_cannot_be_asked() -> None:
    first, second = questions_of(analysis(), [Span("prod/c1", 60), Span("prod/c2", 60)])
    answers: dict[str, Answer] = {first.good: Number(9.0), first.total: Number(10.0), second.good: EMPTY, second.total: EMPTY}
    assert having([first, second], answers) == (first,)
    answers[second.total] = answers[second.good] = NoNumber("Prometheus answered HTTP 503")
    assert having([first, second], answers) == (first, second)


def test_should_count_only_since_the_change_and_ask_few_of_many() -> None:
    now = START + timedelta(seconds=600)
    stage, control = spans_after({"p/a": START, "p/b": now - timedelta(seconds=30)}, ["p/x"], 300, now)
    assert stage == [Span("p/a", 300), Span("p/b", 30)]
    assert control == [Span("p/x", 300)]
    assert len(spans_before([f"p/c{number}" for number in range(100)], [], 300)[0]) == 20


def judged(after: Any, control_after: Any, **metric: Any) -> tuple[Judgement, str]:
    stage = PlannedStage("canary", (PlannedMember("prod/c1", OLD),))
    before = MetricBaseline(Counts(990, 1000), Counts(990, 1000), 300, "good", "total", ("prod/x",))
    started = Record(Event.StageStarted, START, "canary", baseline=Baseline(Counts(0, 0), metrics={"orders": before}))
    baseline = record_of(started.document()).baseline
    assert baseline == started.baseline, "the journal gives back what was frozen"
    assert baseline
    facts = {"prod/c1": MemberFacts(Hold.Forward, NEW, START, healthy=True)}
    measured = Measured({}, (), {"orders": (after, control_after)}, START + timedelta(seconds=300))
    verdict = stage_verdict(analysis(**metric), Story(baselines={"canary": baseline}), stage, facts, measured)
    part = dict(verdict.parts)["orders"]
    return part.judgement, part.sentence


def test_should_judge_a_metric_against_its_frozen_baseline_and_the_control() -> None:
    assert judged(Counts(985, 1000), Counts(988, 1000))[0] is Judgement.PASS
    judgement, words = judged(Counts(930, 1000), Counts(988, 1000))
    assert judgement is Judgement.FAIL
    assert "99.00% -> 93.00%" in words
    assert "p=" in words
    assert judged(Counts(500, 1000), Counts(510, 1000))[0] is Judgement.HOLD, "everybody sank"
    assert judged(NoData("NaN"), Counts(988, 1000))[0] is Judgement.HOLD
    assert judged(Counts(985, 1000), NoData("gone"))[0] is Judgement.HOLD
    assert judged(Counts(5, 5), Counts(988, 1000))[0] is Judgement.INCONCLUSIVE
