"""The order in which a plane goes."""

from __future__ import annotations

import pytest

from operators.api.risk import Operation, Outcome
from operators.domain.plane.deletion import deletion_step
from operators.domain.plane.inputs import Manifest
from operators.domain.plane.steps import DeleteObjects, EndPlane, Release, SettleGrants, Wait
from operators.domain.plane.view import HeldGrant
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
    assert isinstance(step, DeleteObjects | EndPlane)
    assert step.objects == (ORDER[place],)


def test_should_wait_for_pods_and_for_what_is_on_its_way() -> None:
    pod = owned(planes.manifest("Pod", "demo-apiserver-x", "apiserver"))
    step = deletion_step(planes.right(remains=(ending(MASTERS["apiserver"]), pod, VOLUME)))
    assert isinstance(step, Wait)
    assert "Pod demo/demo-apiserver-x" in step.reason
    assert "of 3 objects in all" in step.reason


def test_should_let_go_when_nothing_is_left() -> None:
    assert isinstance(deletion_step(planes.right(remains=())), Release)


def held(operation: Operation) -> HeldGrant:
    return HeldGrant(f"g-{operation.lower()}", operation, "Cluster", "demo", planes.NOW, acted=True, is_there=False)


def test_should_ask_for_leave_while_masters_or_volumes_are_there() -> None:
    steps = [deletion_step(planes.right(remains=tuple(ORDER[place:]))) for place in range(len(ORDER))]
    assert [type(step) for step in steps] == [EndPlane] * 5 + [DeleteObjects] * 2


def test_should_ask_for_nothing_in_a_namespace_that_ends_by_itself() -> None:
    step = deletion_step(planes.right(remains=tuple(ORDER), namespace_phase="Terminating"))
    assert isinstance(step, Wait)
    assert "waits until the end of namespace demo has taken what is in it" in step.reason
    outside = deletion_step(planes.right(remains=(SYSTEM_COPY,), namespace_phase="Terminating"))
    assert isinstance(outside, DeleteObjects)


def test_should_give_back_what_was_begun_on_masters_and_keep_the_leave_for_the_whole() -> None:
    grants = (held(Operation.UpgradePlane), held(Operation.DeletePlane))
    step = deletion_step(planes.right(remains=tuple(ORDER), grants=grants))
    assert isinstance(step, SettleGrants)
    assert (step.grants, step.outcome) == (("g-upgradeplane",), Outcome.Cancelled)


def test_should_report_the_end_when_masters_and_volumes_are_gone() -> None:
    step = deletion_step(planes.right(remains=(SECRET,), grants=(held(Operation.DeletePlane),)))
    assert isinstance(step, SettleGrants)
    assert (step.grants, step.outcome) == (("g-deleteplane",), Outcome.Succeeded)
