"""The ladder by tables: one view, one step, its words."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from operators.domain.plane import steps
from operators.domain.plane.drift import ObjectId
from operators.domain.plane.ladder import next_step
from operators.domain.plane.view import BusinessApi, Plan, PlaneView, Pool, RootKeys, Unknown, Workload
from operators.errors import ErrorCode, KokError
from tests.unit.operators.domain.plane import planes
from tests.unit.operators.domain.plane.planes import COMPONENTS, INSIDE, ROOTS, SEALED, right

DELETING = {"deletionTimestamp": "2026-03-01T11:00:00Z"}
LOST = {"demo-ca": "it is missing"}
IN_HAND = {"cluster": planes.cluster(), "namespace_label": "demo"}


def deleting(**changes: Any) -> PlaneView:
    return right(**{"cluster": planes.cluster(metadata=DELETING), **changes})


def workload(component: str, **changes: Any) -> dict[str, Workload]:
    return {**right().workloads, component: replace(planes.up(component), **changes)}


TABLE = [
    ("paused", right(cluster=planes.cluster(paused=True)), steps.Paused, "spec.paused is true"),
    ("paused before anything else", planes.never_lived(cluster=planes.cluster(paused=True)), steps.Paused, "nothing is changed"),
    ("right", right(), steps.Done, "all components match kubernetes-1.35.4-r1"),
    ("release unreadable", right(release=Unknown("ClusterRelease demo: spec is broken")), steps.Wait, "spec is broken"),
    ("second of its namespace", planes.never_lived(older="first"), steps.Stall, "holds Cluster first already"),
    ("package missing", planes.never_lived(package=None), steps.Stall, "ClusterPackageVersion kubernetes-1.35.4-r1 does not exist"),
    (
        "flag refused",
        planes.never_lived(plan=KokError(ErrorCode.FlagOwned, "flag x is kok's", "remove it")),
        steps.Stall,
        "flag x is kok's; remove it",
    ),
    ("new", planes.never_lived(), steps.Admit, "in hand"),
    ("no label on the namespace", right(namespace_label=""), steps.Admit, "in hand"),
    ("admitted", planes.never_lived(**IN_HAND), steps.Authorise, "changePolicy is Direct"),
    (
        "first version under RolloutOnly",
        planes.never_lived(cluster=planes.cluster(changePolicy="RolloutOnly"), namespace_label="demo"),
        steps.Authorise,
        "needs no rollout",
    ),
    ("no keys", planes.never_lived(**IN_HAND, release=planes.release()), steps.NewRootKeys, "root keys are made"),
    (
        "keys seem lost in the cache",
        planes.never_lived(**IN_HAND, release=planes.release(), roots=RootKeys(ROOTS, LOST, None)),
        steps.Wait,
        "read again",
    ),
    ("root emptied", right(roots=RootKeys(ROOTS, LOST, SEALED, live=True)), steps.RestoreRootKeys, "comes back from the sealed copy"),
    ("root emptied, copy gone, lived", right(roots=RootKeys(ROOTS, LOST, None, live=True)), steps.Stall, "no sound sealed copy"),
    (
        "root emptied, copy of it damaged",
        right(roots=RootKeys(ROOTS, LOST, SEALED, {"demo-ca": "unparsable"}, live=True)),
        steps.Stall,
        "put the Secret back from a backup",
    ),
    (
        "root emptied, copy unreadable",
        right(roots=RootKeys(ROOTS, LOST, Unknown("kok-system cannot be read"), live=True)),
        steps.Wait,
        "kok-system cannot be read",
    ),
    ("copy gone", right(roots=RootKeys(ROOTS, {}, None, live=True)), steps.SealRootKeys, "written anew from the Secrets"),
    (
        "other keys than sealed",
        right(roots=RootKeys(ROOTS, {}, SEALED, {}, ("demo-ca",), live=True)),
        steps.RestoreRootKeys,
        "which is the authority",
    ),
    (
        "copy of a former Cluster",
        planes.never_lived(
            **IN_HAND,
            release=planes.release(),
            roots=RootKeys(ROOTS, LOST, {"metadata": {"uid": "old", "annotations": {planes.CLUSTER_UID: "u-0"}}}, live=True),
        ),
        steps.NewRootKeys,
        "root keys are made",
    ),
    ("no address yet", right(endpoint=None, endpoint_waits="waits for a load balancer"), steps.Wait, "waits for a load balancer"),
    (
        "no address, no Service",
        right(endpoint=None, objects={}),
        steps.ApplyObjects,
        "NetworkPolicy demo/demo-default-deny and 1 more does not exist",
    ),
    ("leaf emptied", right(leaves=planes.missing_leaf()), steps.IssueLeaves, "demo-apiserver-tls: it is missing; issued anew"),
    (
        "Service deleted",
        right(objects=planes.without(("Service", "demo-etcd"))),
        steps.ApplyObjects,
        "Service demo/demo-etcd does not exist",
    ),
    (
        "Service edited",
        right(objects=planes.with_changed("Service", "demo-etcd", ports=[2])),
        steps.ApplyObjects,
        "differs at /spec/ports/0",
    ),
    (
        "etcd scaled to 0",
        right(objects=planes.with_changed("StatefulSet", "demo-etcd", replicas=0)),
        steps.ApplyObjects,
        "differs at /spec/replicas",
    ),
    (
        "etcd outdated",
        right(workloads=workload("etcd", outdated=("demo-etcd-0",))),
        steps.RollMember,
        "demo-etcd-0 comes back with the last spec",
    ),
    (
        "etcd outdated while another is missing",
        right(workloads=workload("etcd", wanted=3, ready=2, unready=("demo-etcd-1",), outdated=("demo-etcd-2",))),
        steps.Wait,
        "etcd has 2 of 3 pods ready",
    ),
    (
        "etcd outdated and itself the missing one",
        right(workloads=workload("etcd", wanted=3, ready=2, unready=("demo-etcd-1",), outdated=("demo-etcd-1", "demo-etcd-2"))),
        steps.RollMember,
        "demo-etcd-1",
    ),
    ("first quorum", right(unrecorded=("etcd",)), steps.RecordBootstrap, "etcd has its first quorum"),
    (
        "apiserver differs on a broken etcd",
        right(objects=planes.with_changed("Deployment", "demo-apiserver", replicas=0), workloads=workload("etcd", ready=0)),
        steps.Wait,
        "apiserver is changed when what it stands on is whole: etcd has 0 of 1",
    ),
    (
        "apiserver differs, serves nobody, etcd broken",
        right(
            objects=planes.with_changed("Deployment", "demo-apiserver", replicas=0),
            workloads={**workload("etcd", ready=0), "apiserver": Workload("apiserver", 1, 0, True)},
        ),
        steps.ApplyObjects,
        "Deployment demo/demo-apiserver differs",
    ),
    (
        "apiserver deleted on a broken etcd",
        right(objects=planes.without(("Deployment", "demo-apiserver")), workloads=workload("etcd", ready=0)),
        steps.ApplyObjects,
        "Deployment demo/demo-apiserver does not exist",
    ),
    (
        "controllers wait for the apiserver",
        right(objects=planes.with_changed("Deployment", "demo-scheduler", replicas=3), workloads=workload("apiserver", settled=False)),
        steps.Wait,
        "scheduler is changed when what it stands on is whole: apiserver is rolling",
    ),
    ("API silent", right(business=Unknown("the API server does not answer: refused")), steps.Wait, "does not answer: refused"),
    (
        "inside differs",
        right(business=BusinessApi("1.35.4", (ObjectId.of(INSIDE[1]),), "ConfigMap demo/inside-2 is missing")),
        steps.ApplyInside,
        "ConfigMap demo/inside-2 is missing is put in place",
    ),
    (
        "no SSH key",
        right(cluster=planes.cluster(machineAccess={"sshKeySecretName": "ssh"}), ssh_secret="Secret demo/ssh does not exist"),
        steps.Stall,
        "Secret demo/ssh",
    ),
    (
        "scheduler not up",
        right(workloads=workload("scheduler", ready=0, trouble="pod x is Pending: no memory")),
        steps.Wait,
        "pod x is Pending: no memory",
    ),
    (
        "deleting",
        deleting(remains=(COMPONENTS["apiserver"][0],)),
        steps.EndPlane,
        "deleting apiserver: Deployment demo/demo-apiserver",
    ),
    ("all gone", deleting(), steps.Release, "everything of this Cluster is gone"),
    (
        "protected",
        deleting(cluster=planes.cluster(metadata=DELETING, deletionProtection=True)),
        steps.Stall,
        "spec.deletionProtection is true",
    ),
    ("pool left", deleting(pools=(Pool("workers", "demo", False, 1, 1, ""),)), steps.Wait, "MachinePool workers still exists; kubectl"),
    ("pool going", deleting(pools=(Pool("workers", "demo", True, 1, 1, "cleaning demo-1"),)), steps.Wait, "cleaning demo-1"),
    ("host claimed", deleting(claims=("demo-1 (HostClaim x)",)), steps.Wait, "until host demo-1 (HostClaim x) is cleaned"),
    (
        "pool left, plane broken",
        deleting(pools=(Pool("workers", "demo", True, 1, 1, ""),), objects=planes.without(("Deployment", "demo-apiserver"))),
        steps.ApplyObjects,
        "Deployment demo/demo-apiserver does not exist",
    ),
]


@pytest.mark.parametrize(("view", "step", "words"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_should_choose_the_first_rung_with_something_to_do(view: PlaneView, step: type[steps.Step], words: str) -> None:
    chosen = next_step(view)
    assert (type(chosen).__name__, chosen.reason) == (step.__name__, chosen.reason)
    assert words in chosen.reason


def made_by(chosen: steps.Step) -> set[str]:
    assert isinstance(chosen, steps.ApplyObjects)
    return {each["metadata"]["name"] for each in chosen.objects if each["kind"] in ("StatefulSet", "Deployment")}


def test_should_make_what_asks_an_api_server_when_one_answers() -> None:
    born = right(objects={}, workloads={}, unrecorded=("etcd",), business=Unknown("not there"))
    assert made_by(next_step(born)) == {"demo-etcd", "demo-apiserver"}
    controllers = ("Deployment", "demo-controller-manager"), ("Deployment", "demo-scheduler")
    coming = right(objects=planes.without(*controllers), workloads=workload("apiserver", ready=0), business=Unknown("not there"))
    assert isinstance(next_step(coming), steps.Wait)
    assert made_by(next_step(right(objects=planes.without(*controllers)))) == {"demo-controller-manager", "demo-scheduler"}


def test_should_not_make_root_keys_when_a_volume_shows_that_the_plane_lived() -> None:
    volume = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data-demo-etcd-0", "namespace": "demo"}}
    view = planes.never_lived(**IN_HAND, release=planes.release(), objects={ObjectId.of(volume): volume})
    chosen = next_step(view)
    assert isinstance(chosen, steps.Stall)
    assert chosen.code is ErrorCode.KeysLost


def test_should_not_record_a_quorum_that_is_not_whole() -> None:
    assert not isinstance(next_step(right(unrecorded=("etcd",), workloads=workload("etcd", ready=0))), steps.RecordBootstrap)


def test_should_bring_the_machine_operator_up_last() -> None:
    deployment = planes.manifest("Deployment", "demo-machine-operator", "machine-operator", replicas=1)
    plan = Plan({**COMPONENTS, "machine-operator": (deployment,)}, {}, INSIDE)
    asked = planes.cluster(machineAccess={"sshKeySecretName": "ssh"})
    waiting = next_step(right(cluster=asked, plan=plan, business=Unknown("silent")))
    assert isinstance(waiting, steps.Wait)
    ready = next_step(right(cluster=asked, plan=plan))
    assert isinstance(ready, steps.ApplyObjects)
    assert ready.objects == (deployment,)


def test_should_spread_polls_of_a_fleet_over_ten_seconds() -> None:
    waits = {next_step(right(cluster=planes.cluster(metadata={"uid": str(number)}))).after for number in range(50)}
    assert len(waits) > 25
    assert all(after and 54.9 < after < 65.1 for after in waits)


@pytest.mark.parametrize(("fleet", "seconds"), [(1, 60), (300, 60), (1000, 200), (3000, 600)])
def test_should_look_at_a_large_fleet_more_slowly(fleet: int, seconds: float) -> None:
    """So that as many looks are due in a minute as in a fleet of 300, whatever the size."""
    waits = [next_step(right(fleet=fleet, cluster=planes.cluster(metadata={"uid": str(number)}))).after for number in range(50)]
    assert all(wait and 0.9 * seconds < wait < 1.1 * seconds for wait in waits)
