"""Acts matched to grants by the lines of an audit log: what is covered, by what and when; what is not is found."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from meta_cluster.lab import layout
from meta_cluster.lab.audit import POLICY, api_server_patch, write_policy
from tests.e2e.audit import acts_in, acts_without_leave

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
OPERATOR = "system:serviceaccount:kok-system:kok-cluster-operator"
INSIDE = "kok:machine-operator"
RECORDED = Path(__file__).with_name("recorded-audit.jsonl")
"""What a real API server of a plane wrote (tests/integration/plane/test_audit_log.py makes such lines): a cordon, an eviction, a Node's end."""


def line(seconds: float, verb: str, resource: str, name: str, *, namespace: str = "demo", code: int = 200, **more: Any) -> str:
    resource, _, subresource = resource.partition("/")
    target = {"resource": resource, "subresource": subresource, "namespace": namespace, "name": name}
    stamp = (NOON + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")
    event = {
        "stage": "ResponseComplete",
        "verb": verb,
        "objectRef": target,
        "user": {"username": OPERATOR},
        "responseStatus": {"code": code},
    }
    return json.dumps({**event, "requestReceivedTimestamp": stamp, **more})


def grant(
    seconds: float, operation: str, kind: str, target: str, *, decision: str = "Granted", outcome: str = "", namespace: str = "demo"
) -> str:
    """The log's line of a write of a grant."""
    name = f"{operation}-{target}".lower()
    spec = {"operation": operation, "target": {"kind": kind, "name": target, "cluster": "demo"}} | ({"outcome": outcome} if outcome else {})
    status = {"decision": decision, "expiresAt": "2026-03-01T12:15:00Z"} if decision else {}
    stored = {"kind": "OperationGrant", "metadata": {"namespace": namespace, "name": name}, "spec": spec, "status": status}
    return line(seconds, "patch", "operationgrants/status", name, responseObject=stored)


ROLL = [grant(0, "RestartMaster", "Pod", "demo-etcd-1", decision=""), grant(1, "RestartMaster", "Pod", "demo-etcd-1")]
ENDED = grant(60, "RestartMaster", "Pod", "demo-etcd-1", outcome="Succeeded")
DELETED = line(2, "delete", "pods", "demo-etcd-1")


CORDON = line(2, "patch", "nodes", "w-1", namespace="", user={"username": INSIDE}, requestObject={"spec": {"unschedulable": True}})
EVICTION = {"metadata": {"annotations": {"kok.dev/grant": "drain-w-1"}}}
EVICTED = line(2, "create", "pods/eviction", "web-1", namespace="default", user={"username": INSIDE}, requestObject=EVICTION)
NODE_GONE = line(2, "delete", "nodes", "w-1", namespace="", user={"username": INSIDE})
DRAIN = grant(1, "Drain", "Machine", "w-1")


def left(*lines: str, inside: Sequence[str] = (), plane: str = "demo") -> list[str]:
    return acts_without_leave(lines, NOON, {plane: inside})


def test_should_find_an_act_without_any_grant() -> None:
    """The positive control of the whole check."""
    assert left(DELETED) == [f"12:00:02 delete pods demo/demo-etcd-1 by {OPERATOR}"]
    assert left(*ROLL, DELETED, ENDED) == []


@pytest.mark.parametrize(
    "lines",
    [
        [*ROLL, line(2, "delete", "pods", "demo-etcd-2")],
        [*ROLL, line(2, "delete", "pods", "demo-etcd-1", namespace="other")],
        [*ROLL, line(0.5, "delete", "pods", "demo-etcd-1")],
        [*ROLL, ENDED, line(61, "delete", "pods", "demo-etcd-1")],
        [*ROLL, line(901, "delete", "pods", "demo-etcd-1")],
        [grant(1, "RestartMaster", "Pod", "demo-etcd-1", decision="Denied"), DELETED],
        [*ROLL, line(2, "delete", "persistentvolumeclaims", "data-demo-etcd-1", namespace="other")],
        [*ROLL, line(2, "delete", "deployments", "demo-apiserver")],
        [grant(1, "UpgradePlane", "Cluster", "demo"), line(2, "delete", "statefulsets", "demo-etcd")],
        [grant(1, "UpgradePlane", "Cluster", "demo"), line(2, "delete", "persistentvolumeclaims", "data-demo-etcd-0")],
        [DRAIN, line(2, "create", "pods/eviction", "web-1")],
        [grant(1, "DeleteMachine", "Machine", "w-1"), line(2, "delete", "nodes", "w-1", namespace="")],
        [line(2, "delete", "pods", "demo-etcd-1", requestObject={"gracePeriodSeconds": 0})],
    ],
)
def test_should_find_what_no_live_grant_covers(lines: list[str]) -> None:
    assert len(left(*lines)) == 1


@pytest.mark.parametrize(
    "lines",
    [
        [
            grant(1, "DeletePlane", "Cluster", "demo"),
            line(2, "delete", "statefulsets", "demo-etcd"),
            line(3, "delete", "persistentvolumeclaims", "x"),
        ],
        [grant(1, "UpgradePlane", "Cluster", "demo"), DELETED],
        [grant(1, "RemoveEtcdMember", "Pod", "demo-etcd-1"), line(2, "delete", "persistentvolumeclaims", "data-demo-etcd-1"), DELETED],
        [grant(1, "RemoveEtcdMember", "Pod", "demo-etcd-1", outcome="Succeeded"), DELETED],
        [line(2, "patch", "nodes", "w-1", namespace="", requestObject={"metadata": {"labels": {"a": "b"}}})],
        [line(2, "delete", "deployments", "demo-konnectivity")],
        [line(2, "delete", "pods", "demo-apiserver-x", requestObject={"gracePeriodSeconds": 0})],
        [line(2, "delete", "pods", "demo-etcd-1", code=404)],
        [line(-5, "delete", "pods", "demo-etcd-1")],
        ['{"cut": tru'],
        [
            line(
                2,
                "delete",
                "pods",
                "helper",
                user={"username": "system:serviceaccount:local-path-storage:local-path-provisioner-service-account"},
            )
        ],
    ],
)
def test_should_pass_what_is_covered_or_needs_none(lines: list[str]) -> None:
    assert left(*lines) == []


@pytest.mark.parametrize(
    ("meta", "inside"),
    [
        ([], [CORDON]),
        ([], [CORDON.replace("patch", "update")]),
        ([], [CORDON.replace('{"spec": {"unschedulable": true}}', '[{"op": "add", "path": "/spec/unschedulable", "value": true}]')]),
        ([grant(1, "Drain", "Machine", "w-2")], [CORDON]),
        ([grant(1, "DeleteMachine", "Machine", "w-1")], [CORDON]),
        ([grant(1, "Drain", "Machine", "w-1", namespace="other")], [CORDON]),
        ([DRAIN], [CORDON.replace("12:00:02", "12:00:00.5")]),
        ([], [EVICTED]),
        ([grant(1, "Cordon", "Machine", "w-1")], [EVICTED.replace("drain-w-1", "cordon-w-1")]),
        ([grant(1, "Drain", "Machine", "w-2")], [EVICTED]),
        ([DRAIN, grant(1.5, "Drain", "Machine", "w-1", outcome="Succeeded")], [EVICTED]),
        ([DRAIN], [EVICTED.replace("kok.dev/grant", "example.org/grant")]),
        ([DRAIN], [NODE_GONE]),
        ([grant(1, "DeleteMachine", "Machine", "w-2")], [NODE_GONE]),
        (
            [grant(1, "DeleteMachine", "Machine", "w-1")],
            [NODE_GONE.replace('"name": "w-1"', '"name": ""').replace("delete", "deletecollection")],
        ),
        ([], [NODE_GONE.replace('"nodes"', '"machines"')]),
        ([DRAIN], [line(2, "delete", "pods", "web-1", user={"username": INSIDE})]),
        ([grant(1, "RestartMaster", "Pod", "web-1")], [line(2, "delete", "pods", "web-1", user={"username": "kok:cluster-operator"})]),
    ],
)
def test_should_find_what_no_live_grant_covers_inside_a_cluster(meta: list[str], inside: list[str]) -> None:
    (found,) = left(*meta, inside=inside)
    assert found.endswith(" inside demo")


@pytest.mark.parametrize(
    ("meta", "inside"),
    [
        ([DRAIN], [CORDON, EVICTED]),
        ([grant(1, "Cordon", "Machine", "w-1")], [CORDON]),
        ([grant(1, "ApplyPackage", "Machine", "w-1")], [CORDON, EVICTED.replace("drain-w-1", "applypackage-w-1")]),
        ([grant(1, "DeleteMachine", "Machine", "w-1")], [NODE_GONE, NODE_GONE.replace('"nodes"', '"machines"')]),
        (
            [],
            [CORDON.replace("true", "false"), line(2, "patch", "nodes", "w-1", user={"username": INSIDE}, requestObject=[{"path": "/x"}])],
        ),
        ([], [EVICTED.replace('"code": 200', '"code": 429'), NODE_GONE.replace('"code": 200', '"code": 404')]),
        ([], [line(2, "delete", "pods", "probe-1", namespace="kok-probe", user={"username": "kok:cluster-operator"})]),
        ([], [each.replace(INSIDE, "jane") for each in (CORDON, EVICTED, NODE_GONE)]),
    ],
)
def test_should_pass_inside_a_cluster_what_is_covered_or_needs_none(meta: list[str], inside: list[str]) -> None:
    assert left(*meta, inside=inside) == []


def test_should_tell_the_same_act_in_one_cluster_from_that_in_another() -> None:
    assert left(DRAIN, inside=[CORDON], plane="demo") == []
    assert len(left(DRAIN, inside=[CORDON], plane="other")) == 1


def test_should_find_the_acts_in_what_a_real_api_server_wrote() -> None:
    """The positive control on recorded lines: without grants each is found, with them none."""
    lines, since = RECORDED.read_text().splitlines(), datetime.min.replace(tzinfo=UTC)
    found = acts_in([], since, {"demo": lines})
    assert [(act.verb, act.resource, act.name, act.grant) for act in found] == [
        ("patch", "nodes", "w-1", ""),
        ("create", "pods/eviction", "web", "drain-w-1"),
        ("delete", "nodes", "w-1", ""),
    ]
    assert len(acts_without_leave([], since, {"demo": lines})) == 3
    before = (found[0].at - NOON).total_seconds() - 1
    leave = [
        grant(before, operation, "Machine", "w-1").replace("2026-03-01T12:15", "2100-01-01T00:00")
        for operation in ("Drain", "DeleteMachine")
    ]
    assert acts_without_leave(leave, since, {"demo": lines}) == []
    assert len(acts_without_leave(leave, since, {"other": lines})) == 3


def test_should_count_the_acts_of_a_run() -> None:
    assert len(acts_in([*ROLL, DELETED, line(-5, "delete", "pods", "x")], NOON, {"demo": [CORDON]})) == 2


def test_should_point_the_api_server_at_a_copy_that_outlives_the_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KOK_LAB_STATE", str(tmp_path))
    write_policy(Path(__file__).parents[4])
    write_policy(Path(__file__).parents[4])
    patch = api_server_patch()
    policy = yaml.safe_load((layout.settings_folder() / Path(POLICY).relative_to(layout.NODE_SETTINGS)).read_text())
    assert policy["kind"] == "Policy"
    assert policy["rules"][-1] == {"level": "None"}
    assert "secrets" not in str(policy)
    assert {volume["hostPath"] for volume in patch["extraVolumes"]} == {POLICY, "/var/log/kok-audit"}
    assert patch["extraArgs"]["audit-policy-file"] == POLICY
