"""The order in which a plane goes."""

from __future__ import annotations

import pytest

from operators.domain.plane.deletion import deletion_step
from operators.domain.plane.inputs import Manifest
from operators.domain.plane.steps import DeleteObjects, Release, Wait
from tests.unit.operators.domain.plane import planes

SYSTEM_COPY: Manifest = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "root-keys.demo.demo", "namespace": "kok-system", "uid": "9"},
}
VOLUME = planes.manifest("PersistentVolumeClaim", "data-demo-etcd-0", "etcd")
SECRET = planes.manifest("Secret", "demo-ca", "apiserver")
MASTERS = {
    name: planes.manifest("Deployment", f"demo-{name}", name) for name in ("machine-operator", "controller-manager", "apiserver", "etcd")
}


def ending(manifest: Manifest) -> Manifest:
    return {**manifest, "metadata": {**manifest["metadata"], "deletionTimestamp": "2026-03-01T11:00:00Z"}}


def owned(manifest: Manifest) -> Manifest:
    return {**manifest, "metadata": {**manifest["metadata"], "ownerReferences": [{"kind": "ReplicaSet"}]}}


ORDER = [*MASTERS.values(), VOLUME, SECRET, SYSTEM_COPY]


@pytest.mark.parametrize("place", range(len(ORDER)))
def test_should_delete_only_the_first_stage_that_is_left(place: int) -> None:
    step = deletion_step(planes.right(remains=tuple(reversed(ORDER[place:]))))
    assert isinstance(step, DeleteObjects)
    assert step.objects == (ORDER[place],)


def test_should_wait_for_pods_and_for_what_is_on_its_way() -> None:
    pod = owned(planes.manifest("Pod", "demo-apiserver-x", "apiserver"))
    step = deletion_step(planes.right(remains=(ending(MASTERS["apiserver"]), pod, VOLUME)))
    assert isinstance(step, Wait)
    assert "Pod demo/demo-apiserver-x" in step.reason
    assert "of 3 objects in all" in step.reason


def test_should_let_go_when_nothing_is_left() -> None:
    assert isinstance(deletion_step(planes.right(remains=())), Release)
