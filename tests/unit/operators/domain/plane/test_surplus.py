"""Which objects inside a business cluster kok may take away: those it made for this Cluster and nobody wants any more, and no other."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from operators.api.cluster_release import Direction, HopStage
from operators.cluster_operator.main import FIELD_MANAGER
from operators.domain.plane import surplus
from operators.domain.plane.drift import APPLIED_HASH, ObjectId
from operators.domain.plane.inputs import Manifest
from operators.domain.plane.ladder import next_step
from operators.domain.plane.release_steps import EndHop
from operators.domain.plane.steps import DeleteObjects, Done, PruneInside
from operators.domain.plane.surplus import candidates, of_plane, was_applied_by_us
from operators.domain.plane.view import BusinessApi, Plan
from tests.unit.operators.domain.plane.planes import right
from tests.unit.operators.domain.plane.rendered import a_package
from tests.unit.operators.domain.plane.test_upgrading import going

LABELS = {"app.kubernetes.io/managed-by": "kok", "kok.dev/cluster": "demo"}


def made(kind: str = "DaemonSet", name: str = "agent", **metadata: Any) -> Manifest:
    """An object inside that kok made."""
    given = {"name": name, "namespace": "kube-system", "uid": "u", "labels": LABELS, "annotations": {APPLIED_HASH: "abc"}, **metadata}
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": given}


def entry(manager: str = "kok-cluster-operator", operation: str = "Apply", annotation: str = APPLIED_HASH) -> dict[str, Any]:
    fields = {"f:metadata": {"f:annotations": {f"f:{annotation}": {}}}}
    return {"manager": manager, "operation": operation, "fieldsV1": fields}


def test_should_name_the_manager_that_writes() -> None:
    assert surplus.MANAGER == FIELD_MANAGER


def test_should_find_what_no_plan_has_and_leave_what_one_has() -> None:
    assert candidates([made(), made(name="other")], [made()], "demo") == (made(name="other"),)


@pytest.mark.parametrize(
    "foreign",
    [
        made(labels={"kok.dev/cluster": "demo"}),
        made(labels={**LABELS, "app.kubernetes.io/managed-by": "Helm"}),
        made(labels={**LABELS, "kok.dev/cluster": "another"}),
        made(labels=None),
        made(annotations={}),
        made(kind="Namespace"),
        made(kind="CustomResourceDefinition"),
        made(deletionTimestamp="2026-01-01T00:00:00Z"),
        made(ownerReferences=[{"kind": "Deployment"}]),
    ],
)
def test_should_leave_what_is_not_surely_ours(foreign: Manifest) -> None:
    assert candidates([foreign], [], "demo") == ()


def test_should_take_away_last_what_others_stand_on() -> None:
    found = candidates([made("ServiceAccount"), made("ClusterRoleBinding"), made("ClusterRole"), made("DaemonSet")], [], "demo")
    assert [each["kind"] for each in found] == ["ClusterRoleBinding", "DaemonSet", "ClusterRole", "ServiceAccount"]


@pytest.mark.parametrize(
    ("entries", "ours"),
    [
        ([entry()], True),
        ([entry("kubectl"), entry()], True),
        ([], False),
        ([entry("kubectl-client-side-apply", "Update")], False),
        ([entry(operation="Update")], False),
        ([entry(annotation="other")], False),
    ],
)
def test_should_believe_only_the_servers_record_of_who_applied_it(entries: list[dict[str, Any]], ours: bool) -> None:
    assert was_applied_by_us(made(managedFields=entries)) is ours


def test_should_remove_it_and_say_so() -> None:
    step = next_step(right(business=BusinessApi("1.35.4", surplus=(made(),))))
    assert isinstance(step, PruneInside)
    assert "DaemonSet kube-system/agent, which kok made, is not of this package version: removed" in step.reason


@pytest.mark.parametrize(("konnectivity", "expected"), [(True, Done), (False, PruneInside)])
def test_should_not_take_a_part_of_the_plan_that_is_not_known_yet_for_one_that_is_gone(konnectivity: bool, expected: type) -> None:
    """A package without konnectivity waits for no address of it: its Service may be the very thing that was removed."""
    waits = "Service demo-konnectivity-agents has no node port yet"
    seen = right(package=a_package(konnectivity=konnectivity), business=BusinessApi("1.35.4", surplus=(made(),)), tunnel_waits=waits)
    assert isinstance(next_step(seen), expected)


@pytest.mark.parametrize(("direction", "stage"), [(Direction.Down, HopStage.Prepare), (Direction.Up, HopStage.MachineOperator)])
def test_should_end_no_hop_with_something_left(direction: Direction, stage: HopStage) -> None:
    whole = going(direction, stage)
    assert isinstance(next_step(whole), EndHop)
    left = replace(whole, business=BusinessApi("1.35.4", surplus=(made(),)))
    assert isinstance(next_step(left), PruneInside)


def of_component(kind: str, component: str) -> Manifest:
    return made(kind, "x", labels={**LABELS, "app.kubernetes.io/component": component})


def test_should_take_away_a_component_that_the_plan_does_not_have_and_no_data() -> None:
    live = [of_component(kind, "konnectivity") for kind in ("Secret", "Service", "PersistentVolumeClaim", "StatefulSet", "Deployment")]
    live += [of_component("ConfigMap", "etcd-events"), of_component("ConfigMap", "apiserver"), of_component("ConfigMap", "snapshot")]
    found = of_plane(live, {"apiserver": ()}, "demo")
    assert [each["kind"] for each in found] == ["Deployment", "Service"]
    assert of_plane(live, {"apiserver": (), "konnectivity": ()}, "demo") == ()


def test_should_wait_until_the_whole_plan_can_be_said() -> None:
    left = of_component("Deployment", "konnectivity")
    seen = right()
    objects = {**seen.objects, ObjectId.of(left): left}
    assert isinstance(next_step(replace(seen, objects=objects)), DeleteObjects)
    assert isinstance(seen.plan, Plan)
    waiting = replace(seen.plan, waiting={"konnectivity": "its Service has no address yet"})
    assert not isinstance(next_step(replace(seen, objects=objects, plan=waiting)), DeleteObjects)
