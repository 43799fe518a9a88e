"""What a hop needs before the first pod moves, and how it says what is missing of it."""

from __future__ import annotations

from typing import Any

import pytest

from operators.domain.plane.desired_preparation import at_hand, preparation, snapshot_name, unprepared
from operators.domain.plane.hops import new_hop
from operators.domain.plane.inputs import Manifest
from operators.domain.plane.paths import Package
from tests.unit.operators.domain.plane.rendered import a_package, some_inputs, templates

OLD, PATCH, NEW = Package("old", (1, 34, 4), (3, 6, 8)), Package("patch", (1, 35, 3), (3, 6, 8)), Package("new", (1, 35, 4), (3, 6, 8))
MINOR, WITHIN = (new_hop(before, NEW, now="2026-03-01T12:00:00Z") for before in (OLD, PATCH))


def rendered(hop: Any) -> list[str]:
    found = preparation(some_inputs(), templates(), hop, a_package())
    return [f"{each['kind']} {each['metadata']['name']}" for each in found]


def test_should_take_a_snapshot_only_across_minors() -> None:
    assert rendered(WITHIN) == ["DaemonSet demo-prepull"]
    assert rendered(MINOR)[1:] == [
        "NetworkPolicy demo-snapshot",
        "NetworkPolicy demo-snapshot-etcd",
        "PersistentVolumeClaim demo-snapshots",
        "Job demo-snapshot-20260301-120000",
    ]
    assert snapshot_name(MINOR) == "snapshot-20260301-120000"


def test_should_pull_every_image_of_the_destination_that_runs_in_the_meta_cluster() -> None:
    package = a_package()
    (daemon_set,) = preparation(some_inputs(), templates(), WITHIN, package)
    pod = daemon_set["spec"]["template"]["spec"]
    images = {container["image"] for container in (*pod["initContainers"], *pod["containers"])}
    components = package.spec.components
    wanted = {
        each.image
        for each in (
            components.etcd,
            components.apiserver,
            components.controller_manager,
            components.scheduler,
            components.machine_operator,
        )
    }
    assert wanted <= images
    assert components.konnectivity is None or components.konnectivity.server_image in images


def daemon_set(ready: int, *, wanted: int = 3, seen: bool = True) -> Manifest:
    status = {
        "observedGeneration": 2 if seen else 1,
        "desiredNumberScheduled": wanted,
        "updatedNumberScheduled": wanted,
        "numberReady": ready,
    }
    return {"kind": "DaemonSet", "metadata": {"name": "demo-prepull", "generation": 2}, "status": status}


JOB: Manifest = {"kind": "Job", "metadata": {"name": "demo-snapshot-1"}}
DONE: Manifest = {**JOB, "status": {"succeeded": 1}}
FAILED: Manifest = {**JOB, "status": {"conditions": [{"type": "Failed", "status": "True", "message": "BackoffLimitExceeded"}]}}
STUCK: Manifest = {
    "metadata": {"name": "p", "labels": {"app.kubernetes.io/component": "prepull"}},
    "status": {
        "initContainerStatuses": [{"name": "apiserver", "state": {"waiting": {"reason": "ErrImagePull", "message": "no such host"}}}]
    },
}


@pytest.mark.parametrize(
    ("live", "pods", "says"),
    [
        ({}, [], "not begun"),
        ({"DaemonSet": daemon_set(3, seen=False), "Job": DONE}, [], "not begun"),
        ({"DaemonSet": daemon_set(1), "Job": DONE}, [], "1 of 3 meta nodes have them"),
        ({"DaemonSet": daemon_set(1), "Job": DONE}, [STUCK], "ErrImagePull, no such host"),
        ({"DaemonSet": daemon_set(3)}, [], "a snapshot of etcd is taken first"),
        ({"DaemonSet": daemon_set(3), "Job": JOB}, [], "a snapshot of etcd is taken first"),
        ({"DaemonSet": daemon_set(3), "Job": FAILED}, [], "it failed, BackoffLimitExceeded"),
        ({"DaemonSet": daemon_set(3), "Job": DONE}, [], ""),
    ],
)
def test_should_say_what_is_not_ready(live: dict[str, Manifest], pods: list[Manifest], says: str) -> None:
    words = unprepared([daemon_set(0), JOB], live, pods)
    assert (says in words) if says else (words == "")


def test_should_pull_nothing_where_every_node_has_the_images_already() -> None:
    (pulling,) = preparation(some_inputs(), templates(), WITHIN, a_package())
    pod = pulling["spec"]["template"]["spec"]
    having = node(*(container["image"] for container in (*pod["initContainers"], *pod["containers"])))
    assert preparation(some_inputs(), templates(), WITHIN, a_package(), [having, having]) == ()
    assert preparation(some_inputs(), templates(), WITHIN, a_package(), [having, node("registry.example/other:1")]) == (pulling,)
    assert unprepared([], {}, []) == ""


def node(*images: str, taint: str = "") -> Manifest:
    spec = {"taints": [{"key": "some", "effect": taint}]} if taint else {}
    return {"metadata": {"name": "n"}, "spec": spec, "status": {"images": [{"names": [image]} for image in images]}}


@pytest.mark.parametrize(
    ("images", "nodes", "is_there"),
    [
        (["registry.example/a:1"], [], False),
        (["registry.example/a:1"], [node("registry.example/a:1")], True),
        (["registry.example/a:1"], [node("registry.example/a:2")], False),
        (["registry.example/a:1"], [node("registry.example/a:1"), node()], False),
        (["registry.example/a:1"], [node("registry.example/a:1"), node(taint="NoSchedule")], True),
        (["registry.example/a:1"], [node("registry.example/a:1"), node(taint="PreferNoSchedule")], False),
        (["registry.example/a:1"], [node("registry.example/a:1", taint="NoSchedule")], False),
        (["etcd:3"], [node("docker.io/library/etcd:3")], True),
        (["quay/etcd:3"], [node("docker.io/quay/etcd:3")], True),
        (["localhost/etcd:3"], [node("localhost/etcd:3")], True),
        (["localhost/etcd:3"], [node("docker.io/localhost/etcd:3")], False),
    ],
)
def test_should_believe_only_nodes_that_name_the_very_image(images: list[str], nodes: list[Manifest], is_there: bool) -> None:
    assert at_hand(images, nodes) is is_there
