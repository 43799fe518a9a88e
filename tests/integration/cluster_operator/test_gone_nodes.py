"""Meta nodes that are confirmed to be gone: what was on them is made elsewhere. A node that is only silent is never taken for one.

Real: the meta API server, which keeps a pod on a node until its kubelet confirms the end or somebody forces it. Simulated: pods and etcd.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from operators.cluster_operator.cluster import etcd_look, kinds
from operators.domain.plane.member_steps import RemoveMember, RestartPod
from operators.ports.kube import Kind, Manifest, Subresource
from tests.integration.cluster_operator.etcd_pods import EtcdPods, whole
from tests.integration.cluster_operator.world_of_planes import Operator, Stage

pytestmark = pytest.mark.integration
NODE, VOLUME = Kind("v1", "Node"), Kind("v1", "PersistentVolume")


def node_of(stage: Stage) -> str:
    return f"node-{stage.namespace}"


async def delete_node(stage: Stage) -> None:
    await stage.admin.delete(NODE.ref(node_of(stage)))


async def taint_node(stage: Stage) -> None:
    taint = {"key": "node.kubernetes.io/out-of-service", "value": "nodeshutdown", "effect": "NoExecute"}
    await stage.admin.patch_json(NODE.ref(node_of(stage)), {"spec": {"taints": [taint]}})


async def annotate_node(stage: Stage) -> None:
    await stage.admin.patch_json(NODE.ref(node_of(stage)), {"metadata": {"annotations": {"kok.dev/gone": "disk and all"}}})


async def lost(stage: Stage, members: EtcdPods, *pods: str) -> dict[str, str]:
    """Bind these pods to a node whose kubelet then says nothing any more; their uids."""
    await stage.admin.create({"apiVersion": "v1", "kind": "Node", "metadata": {"name": node_of(stage)}})
    uids = {}
    for name in pods:
        pod = await bound(stage, name)
        uids[name] = str(pod["metadata"]["uid"])
        conditions = [{"type": "Ready", "status": "False", "lastTransitionTime": "2026-01-01T00:00:00Z"}]
        await stage.admin.patch_json(
            kinds.POD.ref(name, stage.namespace), {"status": {"conditions": conditions}}, subresource=Subresource.Status
        )
        members.etcd.stop(name)
    members.dead.add(node_of(stage))
    return uids


async def bound(stage: Stage, pod: str) -> Manifest:
    """As the scheduler binds it."""
    target = {"apiVersion": "v1", "kind": "Node", "name": node_of(stage)}
    metadata = {"name": pod, "namespace": stage.namespace}
    await stage.admin.create({"apiVersion": "v1", "kind": "Binding", "metadata": metadata, "target": target})
    found = await stage.admin.get(kinds.POD.ref(pod, stage.namespace))
    assert found
    assert found["spec"]["nodeName"] == node_of(stage)
    return found


async def uid_of(stage: Stage, pod: str) -> str:
    found = await stage.admin.get(kinds.POD.ref(pod, stage.namespace))
    return str(found["metadata"]["uid"]) if found else ""


async def is_left_alone(stage: Stage, operator: Operator, uids: dict[str, str], passes: int = 8) -> bool:
    """Whether the operator does nothing to these pods, neither delete them nor mark them for it."""
    for _ in range(passes):
        await operator.one_pass(stage.key)
        await stage.pods.tick()
    found = [await stage.admin.get(kinds.POD.ref(name, stage.namespace)) for name in uids]
    untouched = [pod for pod in found if pod and "deletionTimestamp" not in pod["metadata"]]
    return [pod["metadata"]["uid"] for pod in untouched] == list(uids.values())


async def three_members(stage: Stage, members: EtcdPods) -> Operator:
    await stage.create(etcd={"members": 3, "storageGiB": 1, "separateEvents": False})
    operator = stage.operator()
    await whole(stage, operator, members, 3)
    return operator


@pytest.mark.parametrize(
    "confirm",
    [delete_node, pytest.param(taint_node, marks=pytest.mark.slow), pytest.param(annotate_node, marks=pytest.mark.slow)],
)
async def test_should_let_a_member_go_on_elsewhere_once_its_node_is_confirmed_to_be_gone(
    stage: Stage, members: EtcdPods, confirm: Callable[[Stage], Awaitable[None]]
) -> None:
    operator = await three_members(stage, members)
    before = set(members.etcd.members)
    uids = await lost(stage, members, "demo-etcd-2")
    assert await is_left_alone(stage, operator, uids), "a node that is only silent is not gone"

    await confirm(stage)
    await whole(stage, stage.operator(), members, 3)
    assert await uid_of(stage, "demo-etcd-2") not in ("", uids["demo-etcd-2"])
    assert set(members.etcd.members) == before, "its volume can be had elsewhere: it stays the member that it was"


async def test_should_replace_a_member_whose_volume_went_with_its_node(stage: Stage, members: EtcdPods) -> None:
    operator = await three_members(stage, members)
    before = set(members.etcd.members)
    await keep_on_node(stage, "data-demo-etcd-1")
    uids = await lost(stage, members, "demo-etcd-1")
    assert await is_left_alone(stage, operator, uids)

    await delete_node(stage)
    operator = stage.operator()
    await whole(stage, operator, members, 3)
    assert [step.pod for step in operator.steps if isinstance(step, RemoveMember)] == ["demo-etcd-1"]
    assert len(before - set(members.etcd.members)) == 1


async def keep_on_node(stage: Stage, claim: str) -> None:
    """As a provisioner of local volumes does: its data is on that node and nowhere else."""
    name = f"volume-{stage.namespace}"
    expression = {"key": "kubernetes.io/hostname", "operator": "In", "values": [node_of(stage)]}
    spec = {
        "capacity": {"storage": "1Gi"},
        "accessModes": ["ReadWriteOnce"],
        "persistentVolumeReclaimPolicy": "Retain",
        "local": {"path": "/data"},
        "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}},
        "claimRef": {"namespace": stage.namespace, "name": claim},
    }
    await stage.admin.create({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": spec})
    await stage.admin.patch_json(kinds.VOLUME_CLAIM.ref(claim, stage.namespace), {"spec": {"volumeName": name}})


async def test_should_make_masters_elsewhere_once_their_node_is_confirmed_to_be_gone(stage: Stage, members: EtcdPods) -> None:
    await stage.create()
    operator = stage.operator()
    await stage.settle(operator)
    pods = (await stage.admin.list(kinds.POD, namespace=stage.namespace)).items
    names = [each["metadata"]["name"] for each in pods]
    masters = [name for name in names if name.startswith(("demo-apiserver", "demo-scheduler"))]
    uids = await lost(stage, members, *masters)
    assert await is_left_alone(stage, operator, uids)

    await delete_node(stage)
    await stage.settle(stage.operator())
    assert [await uid_of(stage, name) for name in masters] == ["", ""]


async def test_should_let_the_only_member_go_on_elsewhere(stage: Stage, members: EtcdPods) -> None:
    await stage.create()
    operator = stage.operator()
    await stage.settle(operator)
    uids = await lost(stage, members, "demo-etcd-0")
    assert await is_left_alone(stage, operator, uids)

    await delete_node(stage)
    await stage.settle(stage.operator())
    assert await uid_of(stage, "demo-etcd-0") not in ("", uids["demo-etcd-0"])


async def test_should_say_that_the_only_member_went_with_its_data(stage: Stage, members: EtcdPods) -> None:
    await stage.create()
    operator = stage.operator()
    await stage.settle(operator)
    await keep_on_node(stage, "data-demo-etcd-0")
    uids = await lost(stage, members, "demo-etcd-0")
    await delete_node(stage)
    assert await is_left_alone(stage, operator, uids, passes=3), "what is left of its data may still be brought back"
    message = (await stage.condition("Ready"))["message"]
    assert message.startswith(f"etcd has lost its quorum: volume data-demo-etcd-0 was on node {node_of(stage)}, which does not exist")


@pytest.mark.slow  # a control
async def test_should_find_an_operator_that_takes_silence_for_an_end(
    stage: Stage, members: EtcdPods, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The positive control."""
    operator = await three_members(stage, members)
    uids = await lost(stage, members, "demo-etcd-2")
    monkeypatch.setattr(etcd_look, "why_gone", lambda name, node: f"node {name}, which does not answer")
    assert not await is_left_alone(stage, operator, uids)
    assert any(isinstance(step, RestartPod) for step in operator.steps)
