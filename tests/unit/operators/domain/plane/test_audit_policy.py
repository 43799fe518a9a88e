"""What an API server of a plane is told to write down: acts on nodes and pods, never a Secret, and nothing where a person switches it off."""

from __future__ import annotations

import json
from typing import Any

import pytest

from operators.domain.plane.desired import desired_plane
from operators.errors import ErrorCode, KokError
from tests.unit.operators.domain.plane.rendered import a_cluster, some_inputs, templates


def apiserver(**spec: Any) -> tuple[dict[str, Any], list[str]]:
    """The audit policy and the arguments."""
    manifests = desired_plane(some_inputs(a_cluster(**spec)), templates()).components["apiserver"]
    (files,) = (each["data"] for each in manifests if each["kind"] == "ConfigMap")
    (deployment,) = (each for each in manifests if each["kind"] == "Deployment")
    return json.loads(files["audit.json"]), deployment["spec"]["template"]["spec"]["containers"][0]["args"]


def test_should_write_down_what_is_done_to_nodes_and_pods_and_nothing_else() -> None:
    policy, args = apiserver()
    *rules, last = policy["rules"]
    assert last == {"level": "None"}
    kept = [rule for rule in rules if rule["level"] != "None"]
    assert {name for rule in kept for each in rule["resources"] for name in each["resources"]} == {
        "nodes",
        "pods",
        "pods/eviction",
        "machines",
    }
    assert all(rule["verbs"] and "get" not in rule["verbs"] for rule in kept)
    assert {rule["level"] for rule in kept if any("pods" in each["resources"] for each in rule["resources"])} == {"Metadata"}
    assert "RequestResponse" not in {rule["level"] for rule in rules}
    assert {"--audit-policy-file=/etc/kok/config/audit.json", "--audit-log-path=-"} <= set(args)


def test_should_be_switched_off_by_a_flag_and_go_elsewhere_by_another() -> None:
    assert "--audit-log-path=" in apiserver(flags={"apiserver": {"audit-log-path": ""}})[1]
    assert "--audit-log-path=/tmp/audit.log" in apiserver(flags={"apiserver": {"audit-log-path": "/tmp/audit.log"}})[1]


def test_should_keep_the_policy_for_itself() -> None:
    with pytest.raises(KokError) as refused:
        apiserver(flags={"apiserver": {"audit-policy-file": "/tmp/mine.yaml"}})
    assert refused.value.code is ErrorCode.FlagOwned
    assert "audit-policy-file of apiserver belongs to kok" in refused.value.message
