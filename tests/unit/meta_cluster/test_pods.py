"""What keeps a pod from being ready, in the words of who knows."""

from typing import Any

import pytest

from meta_cluster.pods import event_time, is_ready, last_warning, pod_trouble


def pod(**status: Any) -> dict[str, Any]:
    return {"metadata": {"name": "p"}, "status": status}


def container(**fields: Any) -> dict[str, Any]:
    return {"containerStatuses": [{"name": "c", "ready": False, **fields}]}


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        ({}, "pod p is not known to the kubelet yet, not ready"),
        ({"phase": "Pending"}, "pod p is Pending, not ready"),
        (container(state={"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}), "pod p: container c waits: ImagePullBackOff: no such image"),
        (container(state={"waiting": {"reason": "ContainerCreating"}}, ) | {"phase": "Pending"}, "pod p is Pending, not ready"),
        (container(state={"terminated": {"exitCode": 2, "reason": "Error", "message": "bad flag\n"}}), "pod p: container c ended with exit code 2 (Error): bad flag"),
        (container(state={"running": {}}, restartCount=3), "pod p: container c runs but its readiness probe does not succeed (restarted 3 times)"),
        ({"reason": "Evicted", "message": "disk pressure"}, "pod p: Evicted: disk pressure"),
        ({"conditions": [{"type": "PodScheduled", "status": "False", "message": "no nodes"}]}, "pod p cannot be scheduled: no nodes"),
        ({"initContainerStatuses": [{"name": "i", "state": {"terminated": {"exitCode": 1, "reason": "Error"}}}], "phase": "Pending"}, "pod p: container i ended with exit code 1 (Error)"),
    ],
)  # fmt: skip
def test_should_say_why_a_pod_is_not_ready(status: dict[str, Any], sentence: str) -> None:
    trouble = pod_trouble(pod(**status))
    assert trouble is not None
    assert trouble.sentence == sentence


def test_should_find_no_trouble_in_a_ready_pod() -> None:
    ready = pod(conditions=[{"type": "Ready", "status": "True"}])
    assert is_ready(ready)
    assert pod_trouble(ready) is None


def test_should_not_call_a_pod_ready_that_is_being_deleted() -> None:
    leaving = pod(conditions=[{"type": "Ready", "status": "True"}])
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    trouble = pod_trouble(leaving)
    assert trouble is not None
    assert trouble.sentence == "pod p is being deleted"


def test_should_take_the_newest_warning_of_either_events_api() -> None:
    core = {
        "metadata": {},
        "involvedObject": {"name": "p"},
        "type": "Warning",
        "reason": "Old",
        "message": "m",
        "lastTimestamp": "2026-01-01T00:00:00Z",
    }
    new = {
        "metadata": {},
        "regarding": {"name": "p"},
        "type": "Warning",
        "reason": "New",
        "note": "n",
        "series": {"count": 4, "lastObservedTime": "2026-01-01T00:00:09Z"},
    }
    normal = {**core, "type": "Normal", "reason": "Pulled", "lastTimestamp": "2026-01-01T00:01:00Z"}
    assert last_warning("p", [new, core, normal]) == "New: n (x4)"
    assert last_warning("q", [new]) == ""
    assert event_time({"metadata": {"creationTimestamp": "x"}}) == "x"
