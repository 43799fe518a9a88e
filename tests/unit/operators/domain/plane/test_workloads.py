"""What manifests of workloads and pods say, in numbers and in words."""

from __future__ import annotations

from typing import Any

import pytest

from operators.domain.plane.inputs import Manifest
from operators.domain.plane.workloads import trouble_of, workload_of

LABELS = {"app.kubernetes.io/component": "etcd"}


def pod(name: str, *, ready: bool = False, revision: str = "new", **status: Any) -> Manifest:
    conditions = [*status.pop("conditions", []), {"type": "Ready", "status": "True" if ready else "False"}]
    labels = {**LABELS, "controller-revision-hash": revision}
    return {"kind": "Pod", "metadata": {"name": name, "labels": labels}, "status": {"conditions": conditions, **status}}


def waiting(reason: str, **more: Any) -> list[dict[str, Any]]:
    return [{"name": "etcd", "restartCount": 3, "state": {"waiting": {"reason": reason, **more.pop("waiting", {})}}, **more}]


CRASHED = {"lastState": {"terminated": {"exitCode": 1, "message": "first\nflag provided but not defined: -x\n"}}}
TROUBLES = [
    ("ready", pod("p", ready=True), ""),
    ("on its way", pod("p", containerStatuses=waiting("ContainerCreating")), ""),
    (
        "no room",
        pod("p", conditions=[{"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available:\n insufficient memory"}]),
        "pod p is Pending: 0/3 nodes are available: insufficient memory",
    ),
    (
        "no image",
        pod("p", containerStatuses=waiting("ImagePullBackOff", waiting={"message": 'Back-off pulling image "x"'})),
        'pod p: container etcd waits: ImagePullBackOff, Back-off pulling image "x"',
    ),
    (
        "crash loop",
        pod("p", containerStatuses=waiting("CrashLoopBackOff", **CRASHED)),
        "pod p: container etcd waits: CrashLoopBackOff, exit code 1, its last line: flag provided but not defined: -x",
    ),
    ("init container", pod("p", initContainerStatuses=waiting("ErrImagePull")), "pod p: container etcd waits: ErrImagePull"),
]


@pytest.mark.parametrize(("found", "words"), [row[1:] for row in TROUBLES], ids=[row[0] for row in TROUBLES])
def test_should_say_what_keeps_a_pod_from_being_ready(found: Manifest, words: str) -> None:
    assert trouble_of(found) == words


def stateful(*, generation: int = 2, replicas: int = 3, **status: Any) -> Manifest:
    shown = {"observedGeneration": 2, "readyReplicas": 3, "updateRevision": "new", **status}
    return {
        "kind": "StatefulSet",
        "metadata": {"labels": LABELS, "generation": generation},
        "spec": {"replicas": replicas},
        "status": shown,
    }


def test_should_be_up_when_all_pods_are_ready_and_of_the_last_spec() -> None:
    workload = workload_of(stateful(), [pod(f"demo-etcd-{number}", ready=True) for number in range(3)])
    assert workload.is_up
    assert workload.shortfall == ""


def test_should_not_trust_a_status_of_an_older_spec() -> None:
    workload = workload_of(stateful(generation=3), [])
    assert not workload.is_up
    assert workload.ready == 0


def test_should_order_outdated_members_those_that_are_down_first_then_from_the_top() -> None:
    pods = [
        pod("e-0", ready=True, revision="old"),
        pod("e-1", revision="old"),
        pod("e-2", ready=True, revision="old"),
        pod("e-3", ready=True),
    ]
    workload = workload_of(stateful(readyReplicas=3, replicas=4), pods)
    assert workload.outdated == ("e-1", "e-2", "e-0")
    assert workload.unready == ("e-1",)


def test_should_say_that_a_deployment_rolls() -> None:
    deployment = {
        "kind": "Deployment",
        "metadata": {"labels": {"app.kubernetes.io/component": "apiserver"}, "generation": 1},
        "spec": {"replicas": 1},
        "status": {"observedGeneration": 1, "readyReplicas": 1, "replicas": 2, "updatedReplicas": 1},
    }
    assert workload_of(deployment, []).shortfall == "apiserver is rolling"
