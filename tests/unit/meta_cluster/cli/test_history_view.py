"""Records as a person reads them: short versions within a hundred columns, a rollout's story with its numbers, each thing told once."""

from __future__ import annotations

from typing import Any

import pytest

from meta_cluster.cli.history_view import change_words, history_table, in_order, is_about, story_text, with_outcomes
from meta_cluster.cli.tables import rendered

OLD, NEW = "kubernetes-1.34.4-r1-lab-3976ae", "kubernetes-1.35.4-r1-lab-1986d5"
AT = "2026-03-01T09:03:01Z"


def entry(kind: str, subject: str, **more: Any) -> dict[str, Any]:
    return {"kind": kind, "subject": subject, "at": AT, **more}


CHANGE = entry(
    "Cluster", "demo/demo", by="Rollout", rollout=f"{NEW}-ab12", who="kubernetes-admin", **{"from": OLD, "to": NEW, "outcome": "Reached"}
)
POOL = entry(
    "Pool", "demo/workers", by="Spec", who="flux", **{"from": "kubelet-1.34.4-r1, runc-1.1.5-r1", "to": "kubelet-1.35.4-r1, runc-1.1.6-r1"}
)


def test_should_fit_a_hundred_columns_with_what_matters() -> None:
    text = rendered(history_table([CHANGE, POOL], wide=False), width=100)
    assert max(map(len, text.splitlines())) <= 100
    head, first, second = text.splitlines()
    assert head.split("   ")[0] == "WHEN (UTC)"
    assert first.startswith("2026-03-01 09:03   cluster demo/demo   ")
    assert "   1.34.4 -> 1.35.4" in first
    assert first.endswith("Reached")
    assert "kubelet 1.34.4 -> 1.35.4 (+1)   via flux" in second
    assert OLD in rendered(history_table([CHANGE], wide=True))


@pytest.mark.parametrize(
    ("start", "end", "words"),
    [
        (OLD, NEW, "1.34.4 -> 1.35.4"),
        ("", NEW, "1.35.4-r1"),
        (OLD, "", "1.34.4-r1 -> nothing"),
        ("kubernetes-1.35.4-r1-lab-aaaaaa", "kubernetes-1.35.4-r1-lab-bbbbbb", "1.35.4-r1-lab-aaaaaa -> 1.35.4-r1-lab-bbbbbb"),
        ("kubelet-1-r1", "kubelet-1-r2", "kubelet 1-r1 -> 1-r2"),
        ("kubelet-1-r1", "kubelet-2-r1", "kubelet 1 -> 2"),
        ("", "", ""),
        ("old", "new", "old -> new"),
    ],
)
def test_should_shorten_versions_to_what_differs(start: str, end: str, words: str) -> None:
    assert change_words(start, end) == words


def test_should_tell_a_rollout_as_a_story_with_its_numbers() -> None:
    def event(name: str, second: int, why: str = "", **more: Any) -> dict[str, Any]:
        return entry("Event", "try1", rollout="try1", event=name, why=why, **more) | {"at": f"2026-03-01T09:03:{second:02}Z"}

    numbers = "stage canary passed: pod creation 100.00% -> 100.00%, n=24"
    entries = [
        entry("Order", "try1", rollout="try1", who="kubernetes-admin", outcome="started it", why="security"),
        event("StageStarted", 2, stage="canary"),
        event("StagePassed", 9, numbers, stage="canary"),
        event("StagePassed", 9, "stage rest passed: nobody was in it", stage="rest"),
        event("Ended", 10, "1 cluster is at it", outcome="Good"),
        event("Ended", 30, "taken back: undo", outcome="Undone"),
        entry("Rollout", "try1", rollout="try1", outcome="Good", ended="2026-03-01T09:03:10Z"),
        CHANGE,
    ]
    lines = story_text(in_order(entries), 0).splitlines()
    assert [line.partition("   ")[2] for line in lines] == [
        "cluster demo/demo 1.34.4 -> 1.35.4 Reached",
        "kubernetes-admin: started it: security",
        "stage canary begins",
        numbers,
        "stage rest passed: nobody was in it",
        "ended Good: 1 cluster is at it",
        "ended Undone: taken back: undo",
    ]
    assert max(map(len, story_text(in_order(entries), 60).splitlines())) <= 60


def test_should_put_the_ends_of_a_rollout_where_they_were() -> None:
    ends = [
        entry("Rollout", "try1", outcome=outcome, ended=at)
        for outcome, at in (("Undone", "2026-03-01T10:00:00Z"), ("Good", "2026-03-01T09:30:00Z"))
    ]
    rows = history_table(in_order(ends), wide=False).rows
    assert [(row[0], row[-1]) for row in rows] == [("2026-03-01 09:30", "Good"), ("2026-03-01 10:00", "Undone")]


def test_should_show_the_outcome_that_a_grant_got_after_its_record() -> None:
    lines = [{"name": name, "operation": "UpgradePlane", "target": "Cluster demo", "outcome": "not reported"} for name in ("g1", "g2")]
    grants = [{"metadata": {"name": "g1"}, "spec": {"outcome": "Succeeded"}}, {"metadata": {"name": "g2"}, "spec": {}}]
    (found,) = with_outcomes([{**CHANGE, "grants": lines}], grants)
    assert [each["outcome"] for each in found["grants"]] == ["Succeeded", "not reported"]


def test_should_choose_a_namespace() -> None:
    other = entry("Cluster", "shop/demo", by="Spec", who="flux")
    order = entry("Order", "try1", rollout="try1")
    assert [each["subject"] for each in (CHANGE, POOL, other, order) if is_about(each, "", "demo")] == ["demo/demo", "demo/workers"]
    assert [each["subject"] for each in (CHANGE, other) if is_about(each, "demo", "shop")] == ["shop/demo"]


def test_should_never_show_a_tool_as_if_it_were_a_person() -> None:
    def by(each: dict[str, Any]) -> str:
        return history_table([each], wide=False).rows[0][3]

    assert by(POOL) == "via flux"
    assert by(entry("Cluster", "demo/demo", who="kubectl-edit", outcome="Deleted")) == "via kubectl-edit"
    assert by(entry("Order", "try1", rollout="try1", who="jane")) == "jane"
    assert by(CHANGE) == f"rollout {NEW}-ab12"
    assert "via flux (spec)" in rendered(history_table([POOL], wide=True))
