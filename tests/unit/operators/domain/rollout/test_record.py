"""Which records are due, once each, and what they say: who, when, from, to, why, verdicts, grants, outcome."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from operators.api.cluster_release import ClusterRelease, ClusterReleaseSpec
from operators.api.pools import MachinePoolRelease, MachinePoolReleaseSpec
from operators.api.risk import OperationGrant
from operators.domain.rollout import record as records
from operators.domain.rollout.plan import FrozenPlan, PlannedMember, PlannedStage
from operators.domain.rollout.record import (
    KEPT_GRANTS,
    KEPT_VERDICTS,
    NO_ROLLOUT,
    Deletion,
    Result,
    cause_of,
    change_record,
    deletion_record,
    due_changes,
    due_order,
    due_pool,
    end_name,
    end_record,
    manager_of,
    order_record,
    pool_record,
    pool_verdicts,
)
from operators.domain.rollout.story import Event, Outcome, Record
from tests.unit.operators.domain.rollout.builders import NEW, OLD, START, frozen, rollout

NOW = datetime(2026, 3, 1, 13, 0, tzinfo=UTC)


def authorised(version: str, minute: int, by: str = "Spec", **more: Any) -> dict[str, Any]:
    return {"packageVersion": version, "by": by, "at": f"2026-03-01T12:{minute:02}:00Z", **more}


def release(*line: dict[str, Any], **spec: Any) -> ClusterReleaseSpec:
    """Oldest first; the last is the current one."""
    *before, current = line
    fields = {"current": current, "history": before[::-1], **spec}
    return ClusterRelease.parse({"kind": "ClusterRelease", "metadata": {"name": "c", "namespace": "n"}, "spec": fields}).spec


FIRST = authorised(OLD, 0)
UP = authorised(NEW, 10, "Rollout", name="train", **{"from": OLD}, reason="stage canary")
BACK = authorised(OLD, 20, "Undo", name="train", **{"from": NEW}, reason="stage canary failed")


@pytest.mark.parametrize(
    ("spec", "results"),
    [
        (release(FIRST), [Result.Created]),
        (release(FIRST, UP, reached=OLD), [Result.Created]),
        (release(FIRST, UP, reached=NEW), [Result.Created, Result.Reached]),
        (release(FIRST, UP, BACK, reached=OLD), [Result.Created, Result.TakenBack, Result.Reached]),
        (release(FIRST, UP, authorised(NEW, 30, **{"from": NEW}), reached=OLD), [Result.Created, Result.Superseded]),
    ],
)
def test_should_write_down_each_change_whose_end_is_known(spec: ClusterReleaseSpec, results: list[Result]) -> None:
    due = due_changes("n/c", spec, ())
    assert [each.result for each in due] == results
    assert due_changes("n/c", spec, {each.name for each in due}) == (), "what is written is not written again"


def test_should_not_change_what_was_written_when_the_change_is_undone_later() -> None:
    there = due_changes("n/c", release(FIRST, UP, reached=NEW), ())
    later = due_changes("n/c", release(FIRST, UP, BACK, reached=OLD), {each.name for each in there})
    assert [each.authorisation.package_version for each in later] == [OLD]


def test_should_keep_clusters_apart() -> None:
    assert {each.name for each in due_changes("n/c", release(FIRST), ())} & {
        each.name for each in due_changes("m/c", release(FIRST), ())
    } == set()


def grant(name: str, minute: int, operation: str = "UpgradePlane", cluster: str = "c", decision: str = "Granted") -> OperationGrant:
    spec = {
        "operation": operation,
        "target": {"kind": "Cluster", "name": "c", "cluster": cluster},
        "requester": "x",
        "outcome": "Succeeded",
    }
    status = {"decision": decision, "decidedAt": f"2026-03-01T12:{minute:02}:00Z"}
    return OperationGrant.parse({"kind": "OperationGrant", "metadata": {"name": name, "namespace": "n"}, "spec": spec, "status": status})


def test_should_name_the_leave_that_was_given_for_it() -> None:
    due = due_changes("n/c", release(FIRST, UP, reached=NEW), ())[-1]
    given = [
        grant("late", 14),
        grant("early", 12),
        grant("before", 5),
        grant("drain", 12, "Drain"),
        grant("other", 12, cluster="d"),
        grant("no", 12, decision="Denied"),
    ]
    entry = change_record("n/c", due, "jane", given, NOW)
    assert [each.name for each in entry.grants] == ["early", "late"]
    document = entry.document()
    assert (document["from"], document["to"], document["who"], document["rollout"], document["outcome"]) == (
        OLD,
        NEW,
        "jane",
        "train",
        "Reached",
    )
    assert (document["at"], document["ended"]) == ("2026-03-01T12:10:00Z", "2026-03-01T13:00:00Z")
    assert "verdicts" not in document, "nothing empty is written"


def test_should_note_orders_once_and_only_when_they_change() -> None:
    made = rollout(said={"by": "jane", "reason": "CVE"}).spec
    first = due_order(made, ())
    assert first
    assert due_order(made, (first,)) is None
    paused = rollout(order="Pause", approvals=["rest"], said={"by": "joe", "reason": "incident"}).spec
    second = due_order(paused, (first,))
    assert second
    entry = order_record("train", {**second, "at": "2026-03-01T12:30:00Z"}, first)
    assert (entry.who, entry.why, entry.outcome) == ("joe", "incident", "order Pause, approved rest")
    assert due_order(paused, [first] * records.KEPT_ORDERS) is None, "bounded"


def test_should_tell_the_whole_story_of_a_rollout_at_its_end() -> None:
    made = rollout(said={"by": "jane", "reason": "CVE"})
    told = [
        Record(Event.StageStarted, START, "canary", "stage canary begins: 1 clusters"),
        Record(Event.StagePassed, START, "canary", "stage canary passed: pod creation 99.9% -> 99.9%"),
        Record(Event.Ended, NOW, text="6 clusters are at it", outcome=Outcome.Good),
    ]
    order = order_record("train", {**records.order_words(made.spec), "at": "2026-03-01T11:59:00Z"}, None)
    entry = end_record(made, frozen(made), told, [order])
    assert (entry.start, entry.to, entry.who, entry.why, entry.outcome) == (OLD, NEW, "jane", "CVE", "Good")
    assert entry.verdicts[0] == "stage canary passed: pod creation 99.9% -> 99.9%"
    assert entry.verdicts[1].startswith("judged over 300 s: difference in differences")
    assert entry.events[0] == "2026-03-01T11:59:00Z jane: started it: CVE"
    assert len(entry.events) == 4
    assert end_name(made, told) != end_name(made, [*told, told[-1]]), "an undo after a good end is another end"


def test_should_forget_the_oldest_beyond_what_is_kept() -> None:
    written = [(datetime(2026, 3, day, tzinfo=UTC), f"r{day}") for day in (3, 1, 2)]
    assert records.surplus(written, 2) == ["r1"]
    assert records.surplus(written, 3) == []


def test_should_find_who_owns_a_field() -> None:
    def owner(name: str, field: str, time: str) -> dict[str, Any]:
        return {"manager": name, "time": time, "fieldsV1": {"f:spec": {f"f:{field}": {}}}}

    fields = [
        owner("kubectl-edit", "packageVersion", "2026-03-02"),
        owner("flux", "packageVersion", "2026-03-01"),
        owner("x", "paused", "2026-03-03"),
    ]
    assert manager_of({"metadata": {"managedFields": fields}}, "packageVersion") == "kubectl-edit"
    assert manager_of({"metadata": {}}, "packageVersion") == ""


def host(name: str, minute: int, *, opened: bool = True, after: str = "kubelet-new", before: str = "kubelet-old") -> dict[str, Any]:
    there = {"openedAt": f"2026-03-01T12:{minute + 1:02}:00Z"} if opened else {}
    return {
        "name": name,
        "packages": ["cni-1", after],
        "before": ["cni-1", before],
        "at": f"2026-03-01T12:{minute:02}:00Z",
        "reason": "batch",
        **there,
    }


def pool_release(*hosts: dict[str, Any], orders: tuple[dict[str, Any], ...] = ()) -> MachinePoolReleaseSpec:
    spec = {"hosts": list(hosts), "orders": list(orders)}
    return MachinePoolRelease.parse({"kind": "MachinePoolRelease", "metadata": {"name": "w", "namespace": "n"}, "spec": spec}).spec


def test_should_write_down_a_pool_once_all_of_its_hosts_are_in_service_again() -> None:
    assert due_pool(pool_release(), "") is None
    assert due_pool(pool_release(host("a", 1), host("b", 5, opened=False)), "") is None
    due = due_pool(pool_release(host("a", 1), host("b", 5)), "")
    assert due
    entry = pool_record("n/w", due, "flux")
    assert (entry.start, entry.to, entry.by, entry.who) == ("kubelet-old", "kubelet-new", "Spec", "flux")
    assert (entry.at, entry.ended, entry.covers) == ("2026-03-01T12:01:00Z", "2026-03-01T12:06:00Z", "2026-03-01T12:05:00Z")
    assert due_pool(pool_release(host("a", 1), host("b", 5)), entry.covers) is None, "told once"
    later = due_pool(pool_release(host("a", 1), host("b", 5), host("c", 9)), entry.covers)
    assert later
    assert [each.name for each in later.hosts] == ["c"], "only what is new"


def leave(
    name: str, target: str, minute: int, *, pool: str = "w", operation: str = "ApplyPackage", outcome: str = "Succeeded"
) -> OperationGrant:
    target_of = {"kind": "Machine", "name": target, "cluster": "c", "pool": pool}
    spec = {
        "operation": operation,
        "target": target_of,
        "requester": "machine-operator/c",
        "reason": "x",
        "outcome": outcome,
        "ttlSeconds": 900,
    }
    status = {"decision": "Granted", "decidedAt": f"2026-03-01T12:{minute:02}:30Z"}
    return OperationGrant.parse({"metadata": {"name": name, "namespace": "n"}, "spec": spec, "status": status})


def test_should_hold_the_leave_that_the_machines_of_a_pool_got() -> None:
    due = due_pool(pool_release(host("a", 3), host("b", 5)), "")
    assert due
    grants = [
        leave("of-b", "b", 5, outcome="Failed"),
        leave("of-a", "a", 3),
        leave("before", "a", 1),
        leave("other-pool", "a", 4, pool="x"),
        leave("other-host", "z", 4),
        leave("other-act", "a", 4, operation="UpgradePlane"),
    ]
    told = [(each.name, each.operation, each.outcome) for each in pool_record("n/w", due, "flux", grants).grants]
    assert told == [("of-a", "ApplyPackage", "Succeeded"), ("of-b", "ApplyPackage", "Failed")]
    many = [leave(f"g{number}", "a", 4) for number in range(200)]
    assert len(pool_record("n/w", due, "flux", many).grants) == KEPT_GRANTS, "bounded"


def test_should_name_the_rollout_that_ordered_it() -> None:
    order = {
        "component": "kubelet",
        "package": "kubelet-new",
        "insteadOf": "kubelet-old",
        "by": "Undo",
        "rollout": "train",
        "at": "2026-03-01T12:00:00Z",
    }
    due = due_pool(pool_release(host("a", 1), orders=(order,)), "")
    assert due
    entry = pool_record("n/w", due, "jane")
    assert (entry.by, entry.rollout) == ("Undo", "train")


def test_should_name_the_rollout_that_brought_the_cluster_which_a_pool_follows() -> None:
    due = due_pool(pool_release(host("a", 15)), "")
    assert due
    cause = cause_of(release(FIRST, UP), due.since)
    entry = pool_record("n/w", replace(due, cause=cause), "jane")
    assert (entry.by, entry.rollout, entry.start, entry.to) == ("Rollout", "train", "kubelet-old", "kubelet-new")
    undone = pool_record("n/w", replace(due, cause=cause_of(release(FIRST, UP, BACK), "2026-03-01T12:25:00Z")), "jane")
    assert undone.by == "Undo"
    assert cause_of(release(FIRST, UP), "2026-03-01T12:05:00Z") is None, "the rollout came after it"
    assert cause_of(release(FIRST), due.since) is None, "a person's wish"


PASSED = "stage canary passed: failed pod creations 0 of 40 (control 1 of 80), window 10m, one-sided test p 0.71: PASS"
FAILED = "stage half failed: failed pod creations 9 of 40 (control 1 of 80), window 10m, one-sided test p 0.0001: FAIL"


def planned(*keys: str) -> FrozenPlan:
    """A stage for each, in order."""
    names = ("canary", "half", "rest")
    stages = tuple(PlannedStage(name, (PlannedMember(key, "old", ""),)) for name, key in zip(names, keys, strict=True))
    return FrozenPlan("kubelet-new", stages, {})


def judged(event: Event, stage: str, text: str) -> Record:
    return Record(event, NOW, stage=stage, text=text)


def test_should_say_which_verdicts_let_a_pool_go_on_or_stopped_it() -> None:
    plan = planned("n/a", "n/w", "n/z")
    records = [judged(Event.StagePassed, "canary", PASSED), judged(Event.StageFailed, "half", FAILED)]
    assert pool_verdicts("train", "n/w", plan, records) == (PASSED, FAILED)
    assert pool_verdicts("train", "n/a", plan, records) == (PASSED,), "what came after its stage is not about it"
    (passed, still) = pool_verdicts("train", "n/w", plan, records[:1])
    assert (passed, "stage half was not judged yet" in still) == (PASSED, True)
    assert "the journal of rollout train is gone" in pool_verdicts("train", "n/w", None, ())[0]
    many = [judged(Event.StageFailed, "half", f"{FAILED} {number}" * 100) for number in range(300)]
    told = pool_verdicts("train", "n/w", plan, many)
    assert len(told) == KEPT_VERDICTS, "bounded"
    assert max(map(len, told)) <= 1024


def test_should_keep_the_verdicts_in_the_record_of_a_pool_and_say_when_there_was_no_rollout() -> None:
    """The control: the same change under no rollout has none, whatever is given with it."""
    due = due_pool(pool_release(host("a", 15)), "")
    assert due
    ordered = replace(due, cause=cause_of(release(FIRST, UP), due.since), verdicts=(PASSED, FAILED))
    assert pool_record("n/w", ordered, "jane").document()["verdicts"] == (PASSED, FAILED)
    assert pool_record("n/w", replace(due, verdicts=(PASSED,)), "flux").verdicts == (NO_ROLLOUT,)


def test_should_tell_of_a_deletion_with_the_leave_that_it_had() -> None:
    ended = Deletion("n/c", "u-1", "2026-03-01T12:10:00Z", NEW, "kubectl-patch", with_namespace=False)
    grants = [
        grant("g1", 5, "DeletePlane"),
        grant("g2", 11, "DeletePlane"),
        grant("g3", 12),
        grant("g4", 13, "DeletePlane", cluster="other"),
    ]
    told = deletion_record(ended, grants, NOW)
    assert (told.kind, told.subject, told.start, told.outcome, told.who) == ("Cluster", "n/c", NEW, "Deleted", "kubectl-patch")
    assert [(each.name, each.operation) for each in told.grants] == [("g2", "DeletePlane")]
    assert ended.name != Deletion("n/c", "u-2", ended.at, NEW, "", with_namespace=False).name, (
        "one made anew under its name has another end"
    )
    assert "namespace" in deletion_record(Deletion("n/c", "u-1", ended.at, NEW, "", with_namespace=True), [], NOW).why
