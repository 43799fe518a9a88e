"""What a Cluster is refused for, in the same words everywhere, and how it goes without leaving anything."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest

from operators.api.risk import Operation
from operators.cluster_operator.cluster import kinds
from operators.cluster_operator.rollout.records import read_history
from operators.domain.plane.steps import DeleteObjects, Done, EndPlane, Stall, Wait
from operators.errors import ErrorCode, KokError
from operators.ports.grants import Grant, Waiting
from operators.ports.kube import KubePort, Manifest, Preconditions, Ref, Unreachable
from operators.services.plane_danger import PlaneDanger
from tests.integration.cluster_operator.world_of_planes import PACKAGE, SSH_KEY, SYSTEM, Stage, cluster_manifest
from tests.integration.kube_proxies import Killed, RecordingKube

pytestmark = pytest.mark.integration


async def test_should_refuse_a_second_cluster_in_a_namespace_and_leave_the_first_alone(plane: Stage) -> None:
    stage, before = plane, await plane.snapshot()
    second = Stage(stage.admin, stage.business, stage.namespace, "second")
    await stage.admin.create(cluster_manifest(stage.namespace, "second"))
    operator = second.operator()
    step = await second.stalled(operator)
    assert step.code is ErrorCode.ClusterConflict
    assert "demo" in step.reason
    assert (await second.condition("Stalled"))["message"] == step.reason
    await stage.admin.delete(kinds.CLUSTER.ref("second", stage.namespace))
    await second.until_gone(operator)
    assert await stage.snapshot() == before
    assert isinstance(await stage.settle(stage.operator()), Done)


async def history_of(stage: Stage) -> list[dict[str, Any]]:
    """What `kok history` tells of this Cluster after its end."""
    return [each for each in await read_history(stage.admin, SYSTEM) if each["subject"] == f"{stage.namespace}/demo"]


async def test_should_write_a_deletion_down_once_wherever_it_is_killed_and_not_end_it_unwritten(plane: Stage) -> None:
    stage = plane
    await stage.admin.delete(kinds.CLUSTER.ref("demo", stage.namespace))
    deaf = NoRecords(stage.admin)
    operator = stage.operator(deaf)
    with pytest.raises(Killed, match="three times"):
        await stage.until_gone(operator)
    assert (await stage.cluster())["metadata"]["finalizers"], "it does not go without it"
    for _ in range(2):
        dying = NoRecords(stage.admin, refuses=False)
        with suppress(Killed):
            await stage.until_gone(stage.operator(dying))
    await stage.until_gone(stage.operator())
    assert [each["outcome"] for each in await history_of(stage)] == ["Deleted"]


class NoRecords(RecordingKube):
    """An API server that takes no records, until it was asked three times; or a process that dies right after it wrote one."""

    def __init__(self, kube: KubePort, *, refuses: bool = True) -> None:
        super().__init__(kube)
        self._refuses, self.refused = refuses, 0

    def _before(self, verb: str, ref: Ref) -> None:
        if self._refuses and verb == "create" and ref.name.startswith("record."):
            self.refused += 1
            if self.refused > 3:
                raise Killed("asked three times in vain")
            raise Unreachable("the API server answers 503")
        if not self._refuses and any(write.ref.name.startswith("record.") for write in self.writes):
            raise Killed("dead")


async def test_should_end_what_acts_on_hosts_first_and_leave_nothing_but_the_namespace(stage: Stage) -> None:
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/ssh-auth",
        "metadata": {"name": "ssh", "namespace": stage.namespace},
    }
    await stage.admin.create({**secret, "stringData": {"ssh-privatekey": SSH_KEY}})
    await stage.create(machineAccess={"sshKeySecretName": "ssh"}, etcd={"members": 1, "storageGiB": 1, "separateEvents": True})
    operator = stage.operator()
    await stage.settle(operator)
    operator.steps.clear()
    await stage.admin.delete(kinds.CLUSTER.ref("demo", stage.namespace))
    await stage.until_gone(operator)
    assert_in_order([step.reason for step in operator.steps if step.reason.startswith("deleting")])
    left = []
    for kind in (*kinds.CHILDREN, kinds.POD, *kinds.UNLABELLED):
        left += [str(each["metadata"]["name"]) for each in (await stage.admin.list(kind, namespace=stage.namespace)).items]
    assert sorted(set(left) - {"ssh", "kube-root-ca.crt", "default"}) == []
    for kind in kinds.OUTSIDE_CHILDREN:
        assert [each for each in (await stage.admin.list(kind)).items if stage.namespace in each["metadata"]["name"]] == []
    assert await stage.secret(f"root-keys.{stage.namespace}.demo", SYSTEM) == {}
    namespace = await stage.admin.get(kinds.NAMESPACE.ref(stage.namespace))
    assert namespace
    assert set(namespace["metadata"]["labels"]) == {"kubernetes.io/metadata.name"}
    (told,) = await history_of(stage)
    assert (told["outcome"], told["from"], told["why"]) == ("Deleted", PACKAGE, "it was deleted; its protection had been taken off")
    assert told["at"] <= told["ended"]
    assert told["who"], "who wrote its protection last"


def assert_in_order(said: list[str]) -> None:
    """Every stage of a deletion, each after the one before it."""
    order = [next(place for place, word in enumerate(STAGES) if f"deleting {word}" in reason) for reason in said]
    assert order == sorted(order)
    assert set(order) == set(range(len(STAGES)))


async def test_should_delete_a_plane_only_with_leave_for_the_whole_of_it(stage: Stage) -> None:
    await stage.create()
    operator = stage.operator()
    await stage.settle(operator)
    before = await stage.snapshot()
    answer = Waiting("denied by budget planes-deleted: 60 in the last hour", 300.0, denied=True, attempt=1)
    operator.grants.denies = {Operation.DeletePlane: answer}
    await stage.admin.delete(kinds.CLUSTER.ref("demo", stage.namespace))
    for _ in range(5):
        await operator.one_pass(stage.key)
    assert await stage.snapshot() == before
    assert (await stage.condition("Ready"))["message"] == f"waits for leave: {answer.message}"

    operator.grants.denies = {}
    await stage.until_gone(operator)
    asked = [request for request in operator.grants.asked if request.operation is Operation.DeletePlane]
    assert {(request.target.kind, request.target.name, request.step) for request in asked} == {("Cluster", "demo", "plane")}
    assert len(asked) >= 4, "before each stage"


async def _end_unseen(danger: PlaneDanger, part: Manifest, cluster: str, grant: Grant) -> None:
    """No second look."""
    await danger.kube.delete(Ref.of(part), preconditions=Preconditions(uid=part["metadata"]["uid"]))


@pytest.mark.parametrize("second_look", [True, False])
async def test_should_end_no_part_of_a_plane_whose_leave_is_over_by_then(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, second_look: bool
) -> None:
    """The control: without the look before each part the plane goes, although its leave was settled right after it was given."""
    await stage.create()
    operator = stage.operator()
    await stage.settle(operator)
    before = await stage.snapshot()
    operator.grants.is_over = True
    await stage.admin.delete(kinds.CLUSTER.ref("demo", stage.namespace))
    if not second_look:
        monkeypatch.setattr(PlaneDanger, "end_part", _end_unseen)
        await stage.until_gone(operator)
        return
    for _ in range(5):
        with suppress(KokError):
            await operator.one_pass(stage.key)
    assert [request.operation for request in operator.grants.asked].count(Operation.DeletePlane) > 1
    assert await stage.snapshot() == before
    operator.grants.is_over = False
    await stage.until_gone(operator)


async def test_should_follow_a_namespace_that_ends_and_clean_up_outside_of_it(stage: Stage) -> None:
    """Nothing can be asked there any more, and nothing is deleted without leave: the namespace's end takes what is in it."""
    await stage.create()
    operator = stage.operator()
    await stage.settle(operator)
    operator.steps.clear()
    await stage.admin.delete(kinds.NAMESPACE.ref(stage.namespace))
    await stage.until_gone(operator)
    deleted = [each for step in operator.steps if isinstance(step, DeleteObjects | EndPlane) for each in step.objects]
    assert {each["metadata"].get("namespace") for each in deleted} <= {None, SYSTEM}
    assert [request for request in operator.grants.asked if request.operation is Operation.DeletePlane] == []
    assert await stage.secret(f"root-keys.{stage.namespace}.demo", SYSTEM) == {}


STAGES = ("machine-operator", "controller-manager", "apiserver", "etcd", "the volumes", "what is left", "what lies outside")


async def test_should_keep_a_protected_plane_and_say_how_to_go_on(stage: Stage) -> None:
    await stage.create(deletionProtection=True)
    operator = stage.operator()
    await stage.settle(operator)
    before = await stage.snapshot()
    await stage.admin.delete(kinds.CLUSTER.ref("demo", stage.namespace))
    step = await stage.stalled(operator)
    assert step.code is ErrorCode.DeletionProtected
    assert await stage.snapshot() == before
    await stage.admin.patch_json(kinds.CLUSTER.ref("demo", stage.namespace), {"spec": {"deletionProtection": False}})
    await stage.until_gone(operator)


async def test_should_keep_the_plane_whole_while_a_pool_still_needs_it(stage: Stage) -> None:
    await stage.create()
    operator = stage.operator()
    await stage.settle(operator)
    pool = {"apiVersion": "kok.dev/v1alpha1", "kind": "MachinePool", "metadata": {"name": "workers", "namespace": stage.namespace}}
    await stage.admin.create({**pool, "spec": {"clusterName": "demo", "hosts": [], "packages": {"follow": "Cluster"}}})
    await stage.admin.delete(kinds.CLUSTER.ref("demo", stage.namespace))
    step = await stage.until(operator, lambda step: isinstance(step, Wait) and "MachinePool workers still exists" in step.reason)
    assert "kubectl" in step.reason
    await stage.admin.delete(kinds.DEPLOYMENT.ref("demo-apiserver", stage.namespace))
    await stage.until(operator, lambda step: isinstance(step, Wait) and "MachinePool workers still exists" in step.reason)
    assert await stage.admin.get(kinds.DEPLOYMENT.ref("demo-apiserver", stage.namespace))
    await stage.admin.delete(kinds.POOL.ref("workers", stage.namespace))
    await stage.until_gone(operator)


async def test_should_obey_the_release_and_show_a_wish_that_differs(stage: Stage) -> None:
    await stage.create(changePolicy="RolloutOnly")
    operator = stage.operator()
    await stage.settle(operator)
    release = await stage.admin.get(kinds.RELEASE.ref("demo", stage.namespace))
    assert release
    assert release["spec"]["current"]["by"] == "Spec"
    other = {**release["spec"]["current"], "packageVersion": "kubernetes-1.35.3-r1"}
    await stage.admin.patch_json(kinds.RELEASE.ref("demo", stage.namespace), {"spec": {"current": other}})
    step = await stage.until(operator, lambda step: isinstance(step, Stall))
    assert "kubernetes-1.35.3-r1" in step.reason
    condition = await stage.condition("ReleaseMatchesWish")
    assert condition["status"] == "False"
    assert "the spec wishes kubernetes-1.35.4-test, authorised is kubernetes-1.35.3-r1" in condition["message"]
