"""The plan of a rollout: who, in which order, who not, and when none is made."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.domain.rollout.bad import NOT_BAD, BadMark, standing
from operators.domain.rollout.plan import Candidate, FrozenPlan, PlannedMember, PlannedStage, Refused, freeze
from operators.errors import ErrorCode
from tests.unit.operators.domain.rollout.builders import NEW, OLD, candidates, frozen, rollout


def test_should_deal_every_member_to_one_stage() -> None:
    plan = frozen(rollout(), 10)
    assert [len(stage.members) for stage in plan.stages] == [1, 4, 5]
    assert plan.stages[0].members[0].key == "prod/c0"
    assert sorted(member.key for member in plan.members) == sorted(each.key for each in candidates(10))
    assert {member.origin for member in plan.members} == {OLD}


def test_should_keep_its_order_whatever_order_the_clusters_are_listed_in() -> None:
    forth, back = freeze(rollout(), candidates(30)), freeze(rollout(), reversed(candidates(30)))
    assert forth == back
    other = rollout().model_copy(update={"metadata": rollout().metadata.model_copy(update={"uid": "u2"})})
    assert freeze(other, candidates(30)) != forth, "another rollout begins with others"


def test_should_skip_and_list_what_was_sick_before() -> None:
    sick = [replace(each, trouble="etcd 2/3") if each.key == "prod/c3" else each for each in candidates(6)]
    plan = freeze(rollout(), sick)
    assert isinstance(plan, FrozenPlan)
    assert plan.skipped == {"prod/c3": "unhealthy before the change: etcd 2/3"}
    assert "prod/c3" not in [member.key for member in plan.members]


def test_should_skip_what_is_at_the_version_already() -> None:
    there = [replace(each, version=NEW) if each.key == "prod/c3" else each for each in candidates(6)]
    plan = freeze(rollout(), there)
    assert isinstance(plan, FrozenPlan)
    assert plan.skipped == {"prod/c3": "is at this version already"}


def test_should_say_whom_no_stage_covers() -> None:
    plan = frozen(rollout({"name": "half", "percent": 50}), 4)
    assert len(plan.members) == 2
    assert set(plan.skipped.values()) == {"no stage covers it (there is no stage with rest: true)"}


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ([], ErrorCode.SelectorEmpty),
        ([Candidate("prod/c0", OLD, {"env": "test"})], ErrorCode.SelectorEmpty),
        ([replace(each, trouble="not Ready") for each in candidates(2)], ErrorCode.CanarySick),
        (candidates(3)[1:], ErrorCode.SelectorEmpty),
    ],
    ids=["no clusters", "none selected", "sick canary", "canary missing"],
)
def test_should_refuse(given: list[Candidate], code: ErrorCode) -> None:
    refused = freeze(rollout(), given)
    assert isinstance(refused, Refused)
    assert refused.code == code


def test_should_refuse_a_version_that_was_found_bad() -> None:
    refused = freeze(rollout(), candidates(3), bad_versions={NEW: BadMark(NEW, "train-7", "no pods")})
    assert isinstance(refused, Refused)
    assert refused.code == ErrorCode.VersionBad


def test_should_select_nothing_by_an_empty_selector() -> None:
    assert isinstance(freeze(rollout(selector={}), candidates(3)), Refused)


@given(st.integers(1, 60), st.lists(st.integers(1, 100), max_size=4))
def test_should_never_lose_or_double_a_member(count: int, percents: list[int]) -> None:
    stages = [{"name": f"s{number}", "percent": percent} for number, percent in enumerate(sorted(percents))]
    plan = frozen(rollout(*stages, {"name": "rest", "rest": True}), count)
    keys = [member.key for member in plan.members]
    assert sorted(keys) == sorted(each.key for each in candidates(count))
    done = 0
    for percent, stage in zip(sorted(percents), plan.stages, strict=False):
        done += len(stage.members)
        assert done <= max(count * percent // 100, done - len(stage.members) + 1), "rounded down, at least one"


def test_should_lift_a_mark_only_by_its_rollout_and_with_a_reason() -> None:
    marks = [BadMark(NEW, "train-7", "no pods"), BadMark(NEW, "train-8", "slow")]
    assert standing(marks[:1], {NEW: {NOT_BAD: "train-7: the registry was down"}}) == {}
    for text in ("", "train-7", "train-7: ", "train-9: other", "the registry was down"):
        assert standing(marks[:1], {NEW: {NOT_BAD: text}}) == {NEW: marks[0]}
    assert standing(marks, {NEW: {NOT_BAD: "train-7: the registry was down"}}) == {NEW: marks[1]}
    assert standing(marks, {NEW: {NOT_BAD: "train-7: a\ntrain-8: b"}}) == {}


def test_should_sum_a_plan_up_in_proper_numbers() -> None:
    one, two = PlannedMember("a/a", "v1"), PlannedMember("b/b", "v1")
    stages = (PlannedStage("canary", (one,)), PlannedStage("rest", ()))
    assert FrozenPlan("v2", stages, {}).summary("clusters") == "1 cluster in 1 stage to v2"
    full = FrozenPlan("v2", (stages[0], PlannedStage("rest", (two,))), {"c/c": "is at it"})
    assert full.summary("pools") == "2 pools in 2 stages to v2; 1 left alone"
    assert FrozenPlan("v2", (), {"c/c": "is at it"}).summary("clusters") == "no cluster is left to bring to v2; 1 left alone"
