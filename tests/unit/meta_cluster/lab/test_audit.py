"""Acts matched to grants by the lines of an audit log: what is covered, by what and when; what is not is found."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from meta_cluster.lab.audit import POLICY, api_server_patch
from tests.e2e.audit import acts_in, acts_without_leave

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
OPERATOR = "system:serviceaccount:kok-system:kok-cluster-operator"


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


def left(*lines: str) -> list[str]:
    return acts_without_leave(lines, NOON)


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
        [line(2, "create", "pods/eviction", "web-1")],
        [line(2, "patch", "nodes", "w-1", namespace="", requestObject={"spec": {"unschedulable": True}})],
        [line(2, "patch", "nodes", "w-1", namespace="", requestObject=[{"op": "add", "path": "/spec/unschedulable", "value": True}])],
        [grant(1, "Drain", "Machine", "w-2"), line(2, "delete", "nodes", "w-1", namespace="")],
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
        [grant(1, "Drain", "Machine", "w-1"), line(2, "create", "pods/eviction", "web-1")],
        [
            grant(1, "Cordon", "Machine", "w-1"),
            line(2, "patch", "nodes", "w-1", namespace="", requestObject={"spec": {"unschedulable": True}}),
        ],
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


def test_should_count_the_acts_of_a_run() -> None:
    assert len(acts_in([*ROLL, DELETED, line(-5, "delete", "pods", "x")], NOON)) == 1


def test_should_point_the_api_server_at_the_policy_of_the_checkout() -> None:
    patch = api_server_patch()
    root = Path(__file__).parents[4]
    policy = yaml.safe_load((root / POLICY.removeprefix("/kok-src/")).read_text())
    assert policy["kind"] == "Policy"
    assert policy["rules"][-1] == {"level": "None"}
    assert "secrets" not in str(policy)
    assert {volume["hostPath"] for volume in patch["extraVolumes"]} == {POLICY, "/var/log/kok-audit"}
    assert patch["extraArgs"]["audit-policy-file"] == POLICY
