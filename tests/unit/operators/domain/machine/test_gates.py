"""Gates: what cannot be judged is closed."""

from __future__ import annotations

from datetime import timedelta

import pytest

from operators.api.machines import GateSource, ReadinessGate
from operators.domain.machine.gates import GateReport, gate_report_of, gate_results, parse_time
from operators.domain.machine.node import node_of
from tests.unit.operators.domain.machine.builders import NOW

BY_NODE = ReadinessGate(type="DiskChecked", source=GateSource.NodeCondition, max_age_seconds=60)
BY_MAP = ReadinessGate(type="LogAgentReady", reporter="system:serviceaccount:logging:agent", max_age_seconds=60)


def report(**changes: object) -> GateReport:
    fields = {"type": "LogAgentReady", "status": "True", "message": "ok", "reporter": BY_MAP.reporter, "renewed": NOW} | changes
    return GateReport(**fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("reports", "is_open", "words"),
    [
        ([report()], True, "ok"),
        ([], False, "has not been reported by system:serviceaccount:logging:agent"),
        ([report(reporter="jane")], False, "jane reports it instead"),
        ([report(status="False", message="no socket")], False, "no socket"),
        ([report(renewed=None)], False, "renewed no Lease"),
        ([report(renewed=NOW - timedelta(seconds=61))], False, "within 60 s"),
        ([report(), report(status="False")], False, "is True"),
        ([report(type="Other")], False, "has not been reported"),
    ],
)
def test_should_judge_a_condition_config_map(reports: list[GateReport], is_open: bool, words: str) -> None:
    (result,) = gate_results([BY_MAP], node=None, reports=reports, now=NOW)
    assert (result.is_open, words in result.message) == (is_open, True), result


@pytest.mark.parametrize(
    ("condition", "is_open", "words"),
    [
        ({"type": "DiskChecked", "status": "True", "message": "fine"}, True, "fine"),
        ({"type": "DiskChecked", "status": "False", "reason": "Slow"}, False, "Slow"),
        ({"type": "DiskChecked", "status": "True", "lastHeartbeatTime": "2026-03-01T11:58:00Z"}, False, "more than 60 s"),
        ({"type": "Other", "status": "True"}, False, "no such condition"),
    ],
)
def test_should_judge_a_node_condition(condition: dict[str, str], is_open: bool, words: str) -> None:
    node = node_of({"metadata": {"name": "m1"}, "status": {"conditions": [condition]}})
    (result,) = gate_results([BY_NODE], node=node, reports=[], now=NOW)
    assert (result.is_open, words in result.message) == (is_open, True), result


def test_should_keep_a_gate_closed_that_names_no_reporter() -> None:
    nobody = ReadinessGate(type="LogAgentReady")
    (result,) = gate_results([nobody], node=None, reports=[report(reporter="")], now=NOW)
    assert not result.is_open


def test_should_read_a_report_and_the_time_of_its_reporter() -> None:
    manifest = {"data": {"type": "LogAgentReady", "status": "True", "reporter": "x"}}
    assert gate_report_of(manifest, {"x": NOW}).renewed == NOW
    assert gate_report_of({}, {}).type == ""
    assert parse_time("yesterday") is None
