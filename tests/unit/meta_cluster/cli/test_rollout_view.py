"""A rollout as a person reads it: tree, ETA, plan, what Git has to learn, and orders that make no sense."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from meta_cluster.cli import rollout_acts
from meta_cluster.cli.console import error_text
from meta_cluster.cli.plan_pods import bare_pods, machines_of
from meta_cluster.cli.plan_view import BudgetLine, LostPods, empties_machines, is_idle, plan_text
from meta_cluster.cli.rollout_follow import Screen, fitted
from meta_cluster.cli.rollout_view import (
    headline,
    lag_text,
    lagging,
    lagging_pools,
    phase_of,
    pools_lag_text,
    rollout_tree,
    seconds_left,
)
from meta_cluster.cli.tree import rendered
from operators.errors import KokError

NOW = datetime(2026, 3, 1, 12, 41, tzinfo=UTC)
STAGES = [
    {"name": "canary", "clusters": ["prod/c1"], "soakSeconds": 600},
    {"name": "half", "percent": 50, "maxParallel": 2, "soakSeconds": 600},
    {"name": "rest", "rest": True, "maxParallel": 2, "soakSeconds": 0, "approval": True},
]
NUMBERS = "stage canary passed: pod creation 99.94% -> 99.95% (control 99.93% -> 99.93%), n=2418; second metric"


def rollout(phase: str = "Soaking", **status: Any) -> dict[str, Any]:
    shown = {
        "observedGeneration": 2,
        "phase": phase,
        "message": "HOLD: Prometheus answers 503; a person is called at 13:00 UTC",
        "total": 12,
        "changed": 3,
        "startedAt": (NOW - timedelta(minutes=40)).isoformat(),
        "stages": [
            {"name": "canary", "members": 1, "healthy": 1, "failed": 0, "passed": True, "verdict": "PASS", "message": NUMBERS},
            {"name": "half", "members": 5, "healthy": 2, "failed": 0, "verdict": "HOLD", "message": "no data"},
            {"name": "rest", "members": 6, "healthy": 0, "failed": 0, "verdict": ""},
        ],
        "members": [{"cluster": "prod/c7", "stage": "half", "phase": "InHand", "message": "apiserver 1/2"}],
    }
    spec = {"change": {"clusterPackageVersion": "new"}, "stages": STAGES}
    return {"kind": "FleetRollout", "metadata": {"name": "oct-train", "generation": 2}, "spec": spec, "status": shown | status}


def test_should_show_stage_member_health_verdict_reason_and_eta() -> None:
    text = rendered(rollout_tree(rollout(), NOW, following=True), width=None)
    lines = text.splitlines()
    assert lines[0] == 'oct-train   Soaking  stage 2/3 "half"  40m  ETA about 55m  3 of 12 changed  to new'
    assert "HOLD: Prometheus answers 503" in lines[1]
    assert lines[2].startswith("├─ canary   PASS  1/1 healthy  pod creation 99.94% -> 99.95%")
    assert "second metric" not in text, "of what has passed only the first numbers"
    assert "│  └─ prod/c7   InHand  apiserver 1/2" in lines
    assert any(line.startswith("├─ rest     waits  0/6 healthy") for line in lines)
    assert lines[-1] == "└─ Ctrl-C   leaves it running; come back with: kok rollout status oct-train --follow"


def test_should_estimate_from_the_pace_so_far_and_the_soaks_to_come() -> None:
    made = rollout()
    pace = (40 * 60 - 600) / 3
    assert seconds_left(made, NOW) == pytest.approx(pace * 3 / 2 + 600 + pace * 6 / 2)
    assert seconds_left(rollout(changed=0), NOW) is None
    assert "ETA not known yet" in headline(rollout(changed=0), NOW)
    assert "ETA" not in headline(rollout("Good"), NOW)


def test_should_not_take_a_phase_of_an_earlier_spec_for_this_one() -> None:
    made = rollout("Good")
    made["metadata"]["generation"] = 3
    assert phase_of(made) == ""
    assert "not looked at yet" in headline(made, NOW)


def test_should_name_the_stage_that_waits_for_a_yes() -> None:
    stages = [{"name": "canary", "passed": True, "verdict": "PASS"}, {"name": "half", "passed": True, "verdict": "PASS"}, {"name": "rest"}]
    text = rendered(rollout_tree(rollout("AwaitingApproval", stages=stages), NOW), width=None)
    assert "kok rollout approve oct-train rest" in text
    assert 'stage 3/3 "rest"' in text


def test_should_not_take_a_stage_that_is_still_watched_for_one_that_has_passed() -> None:
    stages = [
        {"name": "canary", "members": 1, "healthy": 1, "verdict": "PASS"},
        {"name": "half", "members": 5},
        {"name": "rest", "members": 6},
    ]
    assert 'stage 1/3 "canary"' in headline(rollout(stages=stages), NOW)


def test_should_print_a_plan_with_members_in_order_budgets_and_refusals() -> None:
    members = [
        {"cluster": "prod/c1", "stage": "canary", "phase": "Waiting", "message": "1.34.4 -> 1.35.4, one hop: rolls apiserver"},
        {"cluster": "prod/c9", "stage": "half", "phase": "Waiting", "message": "would be refused: no way"},
        {"cluster": "prod/c3", "stage": "half", "phase": "Waiting", "message": "1.34.4 -> 1.35.4"},
        {"cluster": "prod/c12", "phase": "Skipped", "message": "unhealthy before the change: etcd 2/3"},
    ]
    made = rollout("Planned", members=members, revision="5f2c91", message="12 clusters in 3 stages")
    budgets = [BudgetLine("UpgradePlane", 12, "planes", "2 at once free per Fleet, breaker Closed"), BudgetLine("Reboot", 1, "", "denied")]
    lost = [LostPods("prod/c1", ("default/client", "default/web")), LostPods("prod/c3", problem="no way in")]
    text = plan_text(made, budgets, lost, width=100)
    assert text.splitlines()[0] == "Plan   12 clusters in 3 stages"
    assert max(map(len, text.splitlines())) <= 100
    assert text.index("prod/c1") < text.index("1. prod/c9") < text.index("2. prod/c3") < text.index("skipped   prod/c12")
    assert "canary   1 cluster, 1 at a time" in text
    assert "half   5 clusters, 2 at a time, soak 10m" in text
    assert "  ... and 3 more" in text
    assert "rest   6 clusters, 2 at a time, soak 0s, waits for approval" in text
    assert "  UpgradePlane x12   planes: 2 at once free per Fleet, breaker Closed" in text
    assert "  Reboot x1 (with its drain)   no budget: denied" in text
    flat = " ".join(text.split())
    assert "prod/c1: 2 pods without a controller on these machines will be lost: default/client, default/web" in flat
    assert "whether there are any is not known: no way in" in flat
    refused = text.partition("\nRefused\n")[2]
    assert refused.splitlines() == ["  prod/c9 would be refused: no way", "  Reboot: denied"]
    assert plan_text(rollout("Planned", members=members[:1]), [], width=100).endswith("Refused\n  nothing")


def test_should_say_why_a_plan_would_be_refused_for_a_member_that_is_not_shown() -> None:
    made = rollout("Planned", members=[], message="would be refused: prod/c250: no way")
    made["status"]["conditions"] = [{"type": "Stalled", "status": "True", "reason": "UpgradeRefused"}]
    assert plan_text(made, [], width=100).endswith("Refused\n  would be refused: prod/c250: no way")


def test_should_say_that_nobody_is_left_to_change() -> None:
    idle = rollout("Planned", members=[], stages=[{"name": "canary"}, {"name": "rest", "members": 0}], message="no cluster is left")
    assert is_idle(idle)
    assert not is_idle(rollout())
    assert "rest   no cluster is left for it" in plan_text(idle, [], width=100)


def test_should_find_the_pods_that_a_plan_loses() -> None:
    def pod(name: str, node: str, **metadata: Any) -> dict[str, Any]:
        return {"metadata": {"name": name, "namespace": "default", "uid": name, **metadata}, "spec": {"nodeName": node}}

    owned = {"ownerReferences": [{"kind": "ReplicaSet", "name": "r", "controller": True}]}
    static = {"annotations": {"kubernetes.io/config.mirror": "x"}}
    pods = [pod("web", "m1"), pod("kept", "m1", **owned), pod("static", "m1", **static), pod("elsewhere", "m2")]
    assert bare_pods(pods, ["m1"]) == ("default/web",)
    machines = [{"metadata": {"name": name}, "spec": {"pool": pool}} for name, pool in (("m1", "a"), ("m2", "b"))]
    assert machines_of(machines, "pool a, 1 machine: kubelet (drain first)", ()) == ("m1",)
    assert machines_of(machines, "", ("b",)) == ("m2",)
    assert empties_machines({"message": "pool a, 1 machine: kubelet (drain first)"})
    assert not empties_machines({"message": "pool a, 1 machine: kubelet (restart services, pods live)"})


def test_should_list_the_versions_there_are_in_the_place_of_one_that_is_not() -> None:
    planes = ["kubernetes-1.35.4-r1-lab-3976ae"]
    error = rollout_acts.unknown_version("kubernetes-1.34.4-r1", planes, ["kubelet-1", "runc-1"])
    assert error.hint.startswith("there is kubernetes-1.35.4-r1-lab-3976ae; another Kubernetes: kok lab up --with")
    assert "did you mean" not in error.hint
    assert "\n  why" not in error_text(error), "the message says it already"
    assert rollout_acts.unknown_version("kubelet-9", planes, ["kubelet-1", "runc-1"]).hint == "there is kubelet-1"


def test_should_wrap_progress_at_a_hundred_columns_off_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    Screen(live=False).show(rollout(message=" ".join(["word"] * 80)), NOW)
    lines = capsys.readouterr().err.splitlines()
    assert max(map(len, lines)) <= 100
    assert all(line.startswith("          ") for line in lines[1:]), "what follows belongs to the time above"


def test_should_fit_the_head_of_a_rollout_with_a_long_name() -> None:
    made = rollout()
    made["metadata"]["name"] = goal = "kubernetes-1.35.4-r1-lab-3976ae-ab12"
    made["spec"]["change"] = {"clusterPackageVersion": goal.removesuffix("-ab12")}
    text = rendered(rollout_tree(made, NOW), width=100)
    assert max(map(len, text.splitlines())) <= 100
    assert "to 1.35.4-r1" in text.partition("├─")[0]


def test_should_not_praise_an_empty_stage_nor_one_that_was_taken_back() -> None:
    stages = [
        {"name": "canary", "members": 1, "healthy": 0, "passed": True, "verdict": "PASS"},
        {"name": "rest", "passed": True, "verdict": "PASS"},
    ]
    members = [{"cluster": "prod/c1", "stage": "canary", "phase": "Back"}]
    text = rendered(rollout_tree(rollout("Undone", stages=stages, members=members), NOW), width=None)
    assert "canary   PASS, then taken back" in text
    assert "rest     nobody was left for it" in text


def test_should_list_what_git_has_to_learn_of_this_rollout_only() -> None:
    def pair(name: str, wish: str, now: str, by: str) -> tuple[dict[str, Any], dict[str, Any]]:
        metadata = {"namespace": "prod", "name": name}
        current = {"packageVersion": now, "name": by}
        return {"metadata": metadata, "spec": {"packageVersion": wish}}, {"metadata": metadata, "spec": {"current": current}}

    pairs = [pair("c1", "old", "new", "oct-train"), pair("c2", "new", "new", "oct-train"), pair("c3", "old", "new", "other")]
    found = lagging([each for each, _ in pairs], [each for _, each in pairs], "oct-train")
    assert found == [("prod/c1", "old", "new")]
    assert lag_text(found).splitlines()[1] == "  Cluster prod/c1   spec.packageVersion: new   (it says old)"
    assert lag_text([]) == ""


def test_should_list_pools_whose_hosts_have_what_the_rollout_ordered() -> None:
    def release(name: str, rollout_name: str, now: str) -> dict[str, Any]:
        order = {"component": "kubelet", "package": now, "insteadOf": "old", "rollout": rollout_name}
        return {"metadata": {"namespace": "n", "name": name}, "spec": {"orders": [order]}}

    releases = [release("a", "train", "new"), release("b", "train", "old"), release("c", "other", "new"), release("gone", "train", "new")]
    pools = [{"metadata": {"namespace": "n", "name": name}} for name in "abc"]
    found = lagging_pools(pools, releases, "train")
    assert found == [("n/a", "old", "new")]
    assert "MachinePool n/a   new in place of old" in pools_lag_text(found)
    assert pools_lag_text([]) == ""


def test_should_tell_each_change_once_off_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen(live=False)
    screen.show(rollout(), NOW)
    screen.show(rollout(message="other numbers"), NOW + timedelta(seconds=1))
    lines = capsys.readouterr().err.splitlines()
    assert len([line for line in lines if line[:2].isdigit()]) == 1, "a sentence whose numbers move is no change"
    screen.show(rollout("Holding"), NOW + timedelta(seconds=2))
    screen.show(rollout("Holding", message="later"), NOW + timedelta(seconds=40))
    assert len([line for line in capsys.readouterr().err.splitlines() if line[:2].isdigit()]) == 2


def test_should_draw_over_itself_on_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen(live=True)
    screen.show(rollout(), NOW)
    first = capsys.readouterr().out
    screen.show(rollout(), NOW)
    assert capsys.readouterr().out.startswith(f"\x1b[{first.count(chr(10))}F\x1b[J")


def test_should_draw_no_more_than_the_terminal_holds() -> None:
    size = os.terminal_size((20, 6))
    lines = ["\x1b[31m" + "x" * 30 + "\x1b[0m", *(f"line {number}" for number in range(10)), "last"]
    found = fitted(lines, size)
    assert len(found) == 5
    assert found[0] == "\x1b[31m" + "x" * 20 + "\x1b[0m", "colours take no room, and are ended"
    assert found[-2:] == ["(8 more lines: kok r", "last"]
    assert fitted(["a", "b"], size) == ["a", "b"]


@pytest.mark.parametrize("phase", ["Good", "Bad", "Aborted", "Undone"])
@pytest.mark.parametrize("order", [rollout_acts.pause, rollout_acts.resume, rollout_acts.approve, rollout_acts.abort])
def test_should_refuse_orders_to_what_has_ended(phase: str, order: rollout_acts.Change) -> None:
    with pytest.raises(KokError, match=f"has ended {phase}"):
        order(rollout(phase))


def test_should_take_back_what_ended_well_and_only_that() -> None:
    assert rollout_acts.undo(rollout("Good")) == {"order": "Undo"}
    assert rollout_acts.undo(rollout("Soaking")) == {"order": "Undo"}
    with pytest.raises(KokError, match="nothing to take back"):
        rollout_acts.undo(rollout("Bad"))


def test_should_approve_the_next_stage_that_waits_and_keep_what_was_said() -> None:
    assert rollout_acts.approve(rollout()) == {"approvals": ["rest"]}
    with pytest.raises(KokError, match="waits for no approval"):
        rollout_acts.approve(rollout(), "half")
    given = rollout()
    given["spec"]["approvals"] = ["rest"]
    with pytest.raises(KokError, match="no further approval"):
        rollout_acts.approve(given)
    assert rollout_acts.resume(rollout(), ("half", "rollback")) == {"order": "Go", "acceptedFailures": ["half", "rollback"]}
    with pytest.raises(KokError, match="no such stage"):
        rollout_acts.resume(rollout(), ("nonsense",))
