"""Vital signs of planes: counts from counters of several servers, nothing guessed, nothing judged that was not there before."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from operators.domain.rollout.evidence import Baseline, Sample
from operators.domain.rollout.judging import Measured, stage_verdict
from operators.domain.rollout.plan import PlannedMember, PlannedStage
from operators.domain.rollout.story import Story
from operators.domain.rollout.verdict import Counts, Judgement, NoData, Verdict
from operators.domain.rollout.view import Hold, MemberFacts
from operators.domain.rollout.vitals import (
    ANSWERS,
    BINDINGS,
    NODES,
    Span,
    Vitals,
    readings_of,
    stuck_of,
    vitals_after,
    vitals_before,
    vitals_of,
)
from tests.unit.operators.domain.rollout.builders import NEW, OLD, START, rollout

TEXT = """# HELP apiserver_request_total x
# TYPE apiserver_request_total counter
apiserver_request_total{code="200",component="apiserver",dry_run="",group="",resource="pods",scope="resource",subresource="",verb="GET",version="v1"} 90
apiserver_request_total{code="500",component="",dry_run="",group="",resource="",scope="",subresource="/readyz",verb="GET",version=""} 4000
apiserver_request_total{code="503",component="apiserver",dry_run="",group="",resource="nodes",scope="resource",subresource="",verb="GET",version="v1"} 5
apiserver_request_total{code="201",component="apiserver",dry_run="",group="",resource="pods",scope="resource",subresource="binding",verb="POST",version="v1"} 1.2e+01
apiserver_request_total{code="409",component="apiserver",dry_run="",group="",resource="pods",scope="resource",subresource="binding",verb="POST",version="v1"} 3
process_start_time_seconds 1.7e+09
"""


def test_should_read_what_an_api_server_says_and_leave_out_health_checks() -> None:
    found = vitals_of(TEXT, Counts(2, 3), START)
    assert found == Vitals(START, "1.7e+09", Counts(105, 110), Counts(12, 15), Counts(2, 3))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "have no apiserver_request_total"),
        ("<html>502</html>", "have no apiserver_request_total"),
        (TEXT.replace("process_start_time_seconds", "other"), "no process_start_time_seconds"),
        (TEXT.replace(" 90", " NaN"), "say NaN where a count belongs"),
        (TEXT.replace(" 90", " +Inf"), "say +Inf where a count belongs"),
        (TEXT.replace(" 90", " -1"), "say -1 where a count belongs"),
        (TEXT.replace(" 90", " many"), "say many where a count belongs"),
    ],
)
def test_should_make_no_number_of_what_is_none(text: str, words: str) -> None:
    assert words in vitals_of(text, Counts(1, 1), START).problem


READY = Counts(3, 3)


def at(seconds: int) -> datetime:
    return START + timedelta(seconds=seconds)


def reading(seconds: int, good: int, total: int, server: str = "a", *, nodes: Counts = READY) -> Vitals:
    return Vitals(at(seconds), server, Counts(good, total), Counts(good // 10, total // 10), nodes)


def test_should_tell_servers_behind_one_address_apart_and_count_none_twice() -> None:
    found = [reading(0, 1000, 1000), reading(10, 10, 10, "b"), reading(20, 1100, 1100), reading(30, 60, 70, "b"), reading(40, 5, 5, "c")]
    counts = readings_of(found, at(-1), at(41))
    assert not isinstance(counts, NoData)
    assert counts[ANSWERS] == Counts(100 + 50, 100 + 60)
    assert counts[NODES] == Counts(3, 3)


def test_should_say_why_there_is_no_data_and_forgive_a_reading_that_failed() -> None:
    failed = Vitals(at(30), problem="connection refused")
    assert readings_of([reading(0, 1, 1), failed], at(-1), at(31)) == {ANSWERS: Counts(0, 0), BINDINGS: Counts(0, 0), NODES: Counts(3, 3)}
    assert readings_of([reading(0, 1, 1), failed], at(-1), at(61)) == NoData("connection refused")
    assert isinstance(readings_of([], at(0), at(1)), NoData)
    fresh = readings_of([reading(0, 1, 1)], at(5), at(10))
    assert fresh == {ANSWERS: Counts(0, 0), BINDINGS: Counts(0, 0), NODES: Counts(0, 0)}, "nothing is known yet of the time after"


def test_should_take_a_baseline_of_those_who_can_be_read() -> None:
    book = {"s": [reading(0, 0, 0), reading(10, 200, 200)], "c": [reading(0, 0, 0), reading(10, 100, 100)]}
    span = Span(300, at(11))
    before = vitals_before(book, (["s"], ["c"]), span)
    assert not isinstance(before, NoData)
    assert (before[ANSWERS].stage, before[ANSWERS].control, before[ANSWERS].controls) == (Counts(200, 200), Counts(100, 100), ("c",))
    assert isinstance(vitals_before(book, (["s", "new"], []), span), NoData), "a member that was not read yet is waited for"
    once = vitals_before({"s": book["s"][:1]}, (["s"], []), span)
    assert once == NoData("s: its API server's metrics are being read"), "one reading makes no difference"
    sick = vitals_before({**book, "c": [Vitals(at(5), problem="refused")]}, (["s"], ["c"]), span)
    assert not isinstance(sick, NoData)
    assert sick[ANSWERS].controls == ()
    denied = {"s": [Vitals(at(5), problem="forbidden", is_denied=True)]}
    assert vitals_before(denied, (["s"], []), span) == {}, "who lets nobody read is not judged by it"


def judged(*after: Vitals, control: tuple[int, int] = (1000, 1000), now: int = 200) -> Verdict:
    """A canary that was changed at 100 and is healthy, with a control; probe pods are all good."""
    before = {"prod/c0": [reading(0, 0, 0), reading(50, 1000, 1000)], "prod/c1": [reading(0, 0, 0), reading(50, 1000, 1000)]}
    metrics = vitals_before(before, (["prod/c0"], ["prod/c1"]), Span(300, at(51)))
    assert not isinstance(metrics, NoData)
    book = {
        "prod/c0": [*before["prod/c0"], *after],
        "prod/c1": [reading(101, 5000, 5000), reading(now - 1, 5000 + control[0], 5000 + control[1])],
    }
    baseline = Baseline(Counts(10, 10), Counts(10, 10), ("prod/c1",), metrics=metrics)
    facts = {"prod/c0": MemberFacts(Hold.Forward, NEW, at(100), healthy=True)}
    samples = {key: [Sample(at(100 + 4 * number), True) for number in range(1, 25)] for key in ("prod/c0", "prod/c1")}
    found = vitals_after(book, {"prod/c0": at(100)}, ["prod/c1"], Span(300, at(now)), metrics)
    stage = PlannedStage("canary", (PlannedMember("prod/c0", OLD),))
    story = Story(started=frozenset({"canary"}), baselines={"canary": baseline})
    return stage_verdict(rollout().spec.analysis, story, stage, facts, Measured(samples, ["prod/c1"], found, at(now)))


FIRST = reading(110, 0, 0, "new")


def test_should_pass_a_plane_that_answers_as_before() -> None:
    verdict = judged(FIRST, reading(199, 995, 1000, "new"))
    assert verdict.judgement is Judgement.PASS
    assert "API server answers 100.00% -> 99.50% (control 100.00% -> 100.00%), n=1000" in verdict.sentence
    assert {ANSWERS, BINDINGS, NODES} <= {name for name, _ in verdict.parts}


def test_should_fail_a_plane_whose_api_server_makes_errors_and_not_when_all_do() -> None:
    assert judged(FIRST, reading(199, 700, 1000, "new")).judgement is Judgement.FAIL
    assert judged(FIRST, reading(199, 700, 1000, "new"), control=(700, 1000)).judgement is Judgement.PASS


def test_should_hold_for_a_node_that_is_not_ready_and_fail_with_a_second_sign() -> None:
    one = judged(FIRST, reading(199, 1000, 1000, "new", nodes=Counts(2, 3)))
    assert one.judgement is Judgement.INCONCLUSIVE
    assert one.forbids_more
    assert one.stable == "INCONCLUSIVE: nodes ready: worse, but not surely"
    two = judged(FIRST, replace(reading(199, 1000, 1000, "new", nodes=Counts(2, 3)), bindings=Counts(10, 12)))
    assert two.judgement is Judgement.FAIL


def test_should_hold_when_they_vanish_and_leave_out_what_is_too_little_to_judge() -> None:
    gone = judged(FIRST, Vitals(at(199), problem="the connection was refused"), now=200)
    assert gone.judgement is Judgement.HOLD
    assert "API server answers: no data (prod/c0: the connection was refused)" in gone.sentence
    idle = judged(FIRST, reading(199, 3, 3, "new"))
    assert idle.judgement is Judgement.PASS
    assert ANSWERS not in {name for name, _ in idle.parts}


def test_should_not_judge_by_what_an_older_process_did_not_take_before() -> None:
    assert vitals_after({}, {"prod/c0": at(100)}, [], Span(300, at(200)), {}) == {}


def pod(age: int = 0, *, reason: str = "", **spec: Any) -> dict[str, Any]:
    made = (START - timedelta(seconds=age)).isoformat()
    conditions = [{"type": "PodScheduled", "status": "False", "reason": reason}] if reason else []
    return {"metadata": {"creationTimestamp": made}, "spec": spec, "status": {"conditions": conditions}}


@pytest.mark.parametrize(
    ("found", "stuck"),
    [
        (pod(3600, reason="SchedulerError"), 1),
        (pod(61), 1),
        (pod(59), 0),
        (pod(3600, reason="Unschedulable"), 0),
        (pod(3600, reason="SchedulingGated"), 0),
        (pod(3600, schedulerName="their-own"), 0),
        (pod(3600, schedulerName="default-scheduler"), 1),
        (pod(3600, nodeName="n1"), 0),
        (pod(3600) | {"metadata": {"creationTimestamp": "2026-01-01T00:00:00Z", "deletionTimestamp": "2026-01-02T00:00:00Z"}}, 0),
    ],
)
def test_should_count_pods_that_the_scheduler_failed_and_no_others(found: dict[str, Any], stuck: int) -> None:
    assert stuck_of([found, pod()], START) == stuck


def test_should_count_attempts_that_end_before_a_binding_beside_those_that_do_not() -> None:
    """Twenty pods are bound and five are stuck: of twenty-five attempts twenty were good. What was stuck and is not any more counts no more."""
    found = [reading(0, 1000, 1000), replace(reading(30, 1200, 1200), stuck=5)]
    counts = readings_of(found, START - timedelta(seconds=1), at(31))
    assert not isinstance(counts, NoData)
    assert counts[BINDINGS] == Counts(20, 25)
    counts = readings_of([*found, reading(40, 1200, 1200)], START - timedelta(seconds=1), at(41))
    assert not isinstance(counts, NoData)
    assert counts[BINDINGS] == Counts(20, 20)
