"""Gates: what cannot be judged is closed."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from operators.api.pools import GateSource, ReadinessGate
from operators.domain.machine.gates import Boot, Evidence, GateReason, GateReport, GateResult, boot_of, gate_results
from operators.domain.machine.node import node_of
from operators.domain.machine.reports import gate_report_of, renewals
from operators.domain.machine.times import parse_time
from tests.unit.operators.domain.machine import builders as b
from tests.unit.operators.domain.machine.builders import NOW

BY_NODE = ReadinessGate(type="DiskChecked", source=GateSource.NodeCondition, max_age_seconds=60)
BY_MAP = ReadinessGate(type="LogAgentReady", reporter="system:serviceaccount:logging:agent", max_age_seconds=60)
BOOTED = NOW - timedelta(seconds=300)
BEFORE, AFTER = BOOTED - timedelta(seconds=1), BOOTED + timedelta(seconds=1)


def report(**changes: object) -> GateReport:
    fields = {
        "name": "agent.m1", "type": "LogAgentReady", "status": "True", "reason": "Running", "message": "ok", "reporter": BY_MAP.reporter,
        "boot_id": "boot-1", "created": AFTER, "renewed": NOW,
    }  # fmt: skip
    return GateReport(**(fields | changes))  # type: ignore[arg-type]


def judged(gate: ReadinessGate, *reports: GateReport, **changes: object) -> GateResult:
    evidence = Evidence(NOW, b.node(), Boot("boot-1", BOOTED), reports, "")
    (result,) = gate_results([gate], replace(evidence, **changes))  # type: ignore[arg-type]
    return result


@pytest.mark.parametrize(
    ("reports", "reason", "words"),
    [
        ([report()], GateReason.Satisfied, "ok"),
        ([], GateReason.NotReported, "has not been reported by system:serviceaccount:logging:agent"),
        ([report(reporter="jane")], GateReason.OtherReporter, "jane reports it instead"),
        ([report(reporter="")], GateReason.OtherReporter, "nobody reports it instead"),
        ([report(status="False", message="no socket")], GateReason.NotSatisfied, "is False: no socket"),
        ([report(status="Unknown", message="", reason="Lost")], GateReason.NotSatisfied, "is Unknown: Lost"),
        ([report(renewed=None)], GateReason.Stale, "has no Lease in kok-conditions"),
        ([report(renewed=NOW - timedelta(seconds=60))], GateReason.Satisfied, "ok"),
        ([report(renewed=NOW - timedelta(seconds=61))], GateReason.Stale, "within 60 s"),
        ([report(renewed=NOW + timedelta(seconds=61))], GateReason.Stale, "its clock is wrong"),
        ([report(boot_id="boot-0")], GateReason.BeforeBoot, "is about another boot"),
        ([report(boot_id="")], GateReason.Satisfied, "ok"),
        ([report(boot_id="", created=BEFORE)], GateReason.BeforeBoot, "may be older than the host's boot"),
        ([report(boot_id="", created=None)], GateReason.BeforeBoot, "may be older"),
        ([report(created=BEFORE)], GateReason.Satisfied, "ok"),
        ([report(fault="has no status")], GateReason.Malformed, "ConfigMap kok-conditions/agent.m1 has no status"),
        ([report(type="", fault="has no type")], GateReason.Malformed, "its ConfigMap kok-conditions/agent.m1 has no type"),
        ([report(), report(name="x", status="False")], GateReason.Malformed, "more than once by"),
        ([report(), report(name="x", reporter="jane", status="False")], GateReason.Satisfied, "ok"),
        ([report(type="Other")], GateReason.NotReported, "has not been reported"),
    ],
)
def test_should_judge_a_condition_config_map(reports: list[GateReport], reason: GateReason, words: str) -> None:
    result = judged(BY_MAP, *reports)
    assert (result.reason, result.is_open, words in result.message) == (reason, reason is GateReason.Satisfied, True), result


def test_should_believe_no_report_without_what_binds_writers() -> None:
    result = judged(BY_MAP, report(), unprotected="the policy is not there")
    assert (result.is_open, result.is_lost, result.reason) == (False, False, GateReason.ReportsNotProtected)
    assert judged(BY_MAP, report(status="False")).is_lost


@pytest.mark.parametrize("type_", ["Ready", "DiskPressure", "NetworkUnavailable"])
def test_should_take_no_report_for_a_condition_of_the_kubelet(type_: str) -> None:
    result = judged(ReadinessGate(type=type_, reporter=BY_MAP.reporter), report(type=type_))
    assert (result.is_open, result.reason) == (False, GateReason.Reserved)


def test_should_keep_a_gate_closed_that_names_no_reporter() -> None:
    assert not judged(ReadinessGate(type="LogAgentReady"), report(reporter="")).is_open


@pytest.mark.parametrize(
    ("condition", "reason", "words"),
    [
        ({"type": "DiskChecked", "status": "True", "message": "fine", "lastHeartbeatTime": "2026-03-01T11:59:30Z"}, GateReason.Satisfied, "fine"),
        ({"type": "DiskChecked", "status": "True", "message": "fine"}, GateReason.Malformed, "no lastHeartbeatTime"),
        ({"type": "DiskChecked", "status": "False", "reason": "Slow", "lastHeartbeatTime": "2026-03-01T12:00:00Z"}, GateReason.NotSatisfied, "Slow"),
        ({"type": "DiskChecked", "status": "True", "lastHeartbeatTime": "2026-03-01T11:58:00Z"}, GateReason.Stale, "more than 60 s"),
        ({"type": "Other", "status": "True"}, GateReason.NotReported, "no such condition"),
    ],
)  # fmt: skip
def test_should_judge_a_node_condition(condition: dict[str, str], reason: GateReason, words: str) -> None:
    node = node_of({"metadata": {"name": "m1"}, "status": {"conditions": [condition]}})
    result = judged(BY_NODE, node=node)
    assert (result.reason, words in result.message) == (reason, True), result


def test_should_not_count_a_node_condition_from_before_the_boot() -> None:
    condition = {"type": "DiskChecked", "status": "True", "lastHeartbeatTime": "2026-03-01T11:59:30Z"}
    node = node_of({"metadata": {"name": "m1"}, "status": {"conditions": [condition]}})
    assert judged(BY_NODE, node=node, boot=Boot("boot-1", NOW - timedelta(seconds=10))).reason is GateReason.BeforeBoot
    assert judged(BY_NODE, node=node, boot=Boot("boot-1")).reason is GateReason.BeforeBoot, "not known when it was booted"
    assert judged(BY_NODE, node=None).reason is GateReason.NotReported


def test_should_ask_nothing_of_an_open_node_about_the_boot_it_was_opened_in() -> None:
    assert boot_of(b.node(), BOOTED).began == BOOTED
    opened = boot_of(b.node(), None)
    assert opened.began is not None
    assert opened.began < BEFORE, "the host cannot be looked at, the node is open since that boot"
    for node in (b.node(closed=True), b.node(opened="boot-0"), b.node(opened="", boot="")):
        assert boot_of(node, None).began is None
    assert boot_of(None, BOOTED) == Boot("")


MAP = {
    "metadata": {"name": "agent.m1", "creationTimestamp": "2026-03-01T11:58:00Z"},
    "data": {"type": "LogAgentReady", "status": "True", "reason": "Running", "message": "m", "reporter": "x", "bootID": "b"},
}


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({}, ""),
        ({"bootID": None}, ""),
        ({"reason": ""}, ""),
        ({"type": None}, "has no type"),
        ({"status": ""}, "has no status"),
        ({"reporter": None}, "has no reporter"),
        ({"type": "Log Agent"}, "has a type that"),
        ({"type": "x" * 64}, "has a type that"),
        ({"status": "true"}, "has the status 'true'"),
        ({"reason": "two words"}, "has a reason that"),
        ({"message": "x" * 1025}, "is larger"),
        ({"message": "x" * 1024}, ""),
        ({"bootID": "x" * 5000}, "is larger"),
        ({"more": "x"}, "has the field 'more'"),
    ],
)
def test_should_find_what_is_wrong_with_a_report(changes: dict[str, str | None], fault: str) -> None:
    data = {key: value for key, value in ({**MAP["data"], **changes}).items() if value is not None}
    found = gate_report_of({**MAP, "data": data}, {"x": NOW})
    assert found.fault.startswith(fault)
    assert bool(found.fault) == bool(fault)
    assert len(found.message) <= 1024


def test_should_read_a_report_its_age_and_the_time_of_its_reporter() -> None:
    found = gate_report_of(MAP, {"x": NOW})
    assert (found.name, found.reporter, found.boot_id, found.renewed) == ("agent.m1", "x", "b", NOW)
    assert found.created == NOW - timedelta(minutes=2)
    assert gate_report_of({}, {}).fault == "has no type"
    assert gate_report_of({**MAP, "binaryData": {"a": "b"}}, {}).fault.startswith("is larger")
    assert "\x1b" not in gate_report_of({"data": {**MAP["data"], "message": "\x1b[31m"}}, {}).message


def test_should_count_the_youngest_renewal_of_a_reporter() -> None:
    def lease(holder: str, renewed: str) -> dict[str, object]:
        return {"spec": {"holderIdentity": holder, "renewTime": renewed}}

    leases = [
        lease("a", "2026-03-01T12:00:00Z"),
        lease("a", "2026-03-01T11:00:00Z"),
        lease("b", "never"),
        lease("", "2026-03-01T12:00:00Z"),
        {},
    ]
    assert renewals(leases) == {"a": NOW}
    assert parse_time("yesterday") is None
    assert parse_time("2026-03-01T12:00:00") is None, "a time without a zone says nothing"
