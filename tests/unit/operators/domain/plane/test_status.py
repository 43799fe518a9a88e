"""What a Cluster shows: the same sentence in every place, equal input equal status."""

from __future__ import annotations

from typing import Any

from operators.domain.plane.inputs import Manifest
from operators.domain.plane.ladder import next_step
from operators.domain.plane.status import status_of
from operators.domain.plane.view import PlaneView, Unknown, Workload
from operators.errors import ErrorCode, KokError
from tests.unit.operators.domain.plane import planes
from tests.unit.operators.domain.plane.planes import right


def shown(view: PlaneView, error: KokError | None = None) -> Manifest:
    return status_of(view, next_step(view), error)


def condition(status: Manifest, kind: str) -> dict[str, Any]:
    found: dict[str, Any] = next(each for each in status["conditions"] if each["type"] == kind)
    return found


def test_should_show_a_plane_that_is_right_as_ready() -> None:
    status = shown(right())
    assert status["phase"] == "Ready"
    assert status["endpoint"] == "https://10.0.0.1:31443"
    assert condition(status, "Ready")["status"] == "True"
    assert condition(status, "Reconciling")["status"] == condition(status, "Stalled")["status"] == "False"


def test_should_say_the_same_sentence_everywhere() -> None:
    view = right(workloads={**right().workloads, "etcd": Workload("etcd", 3, 1, True, trouble="pod demo-etcd-1 is Pending: no node")})
    status = shown(view)
    words = "etcd has 1 of 3 pods ready: pod demo-etcd-1 is Pending: no node"
    assert status["message"] == condition(status, "Ready")["message"] == condition(status, "Reconciling")["message"] == words
    assert condition(status, "EtcdReady")["message"] == words
    assert next(each for each in status["components"] if each["name"] == "etcd") == {
        "name": "etcd",
        "ready": 1,
        "wanted": 3,
        "message": words,
    }


def test_should_stall_with_the_code_as_reason() -> None:
    status = shown(planes.never_lived(package=None))
    assert status["phase"] == "Stalled"
    assert condition(status, "Stalled") | {"message": ""} == condition(status, "Ready") | {
        "type": "Stalled",
        "status": "True",
        "message": "",
    }
    assert condition(status, "Ready")["reason"] == "PackageMissing"


def test_should_show_the_error_of_a_step_that_failed() -> None:
    status = shown(right(), None)
    failed = status_of(right(objects={}), next_step(right(objects={})), KokError(ErrorCode.Forbidden, "quota exceeded"))
    assert failed["message"] == condition(failed, "Ready")["message"] == "quota exceeded"
    assert condition(failed, "Ready")["reason"] == "Forbidden"
    assert status["message"] != failed["message"]


def test_should_not_show_that_somebody_was_quicker() -> None:
    view = right(objects={})
    assert "does not exist" in status_of(view, next_step(view), KokError(ErrorCode.Conflict, "modified"))["message"]


def test_should_keep_the_time_of_a_condition_until_its_status_changes() -> None:
    first = shown(right())
    first["conditions"] = [{**each, "lastTransitionTime": "2026-01-01T00:00:00Z"} for each in first["conditions"]]
    again = shown(right(shown=first))
    assert again == first
    broken = shown(right(shown=first, business=Unknown("refused")))
    assert condition(broken, "Ready")["lastTransitionTime"] == "2026-03-01T12:00:00Z"
    assert condition(broken, "KeysReady")["lastTransitionTime"] == "2026-01-01T00:00:00Z"


def test_should_show_a_wish_that_differs_from_the_release() -> None:
    found = condition(shown(right(cluster=planes.cluster(packageVersion="kubernetes-1.36.0-r1"))), "ReleaseMatchesWish")
    assert found["status"] == "False"
    assert "the spec wishes kubernetes-1.36.0-r1, authorised is kubernetes-1.35.4-r1" in found["message"]
