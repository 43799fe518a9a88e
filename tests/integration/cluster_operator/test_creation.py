"""A Cluster becomes a plane, and a plane that is right is left alone."""

from __future__ import annotations

import pytest

from operators.cluster_operator.cluster import kinds
from operators.domain.plane.steps import Done
from operators.ports.kube import Subresource
from tests.integration.cluster_operator.world_of_planes import PULLING, SYSTEM, Stage
from tests.integration.kube_proxies import RecordingKube

pytestmark = pytest.mark.integration


async def test_should_bring_a_plane_up_and_say_so(stage: Stage) -> None:
    await stage.create()
    operator = stage.operator()
    step = await stage.settle(operator)
    assert isinstance(step, Done)
    status = (await stage.cluster())["status"]
    assert status["phase"] == "Ready"
    assert status["kubernetesVersion"] == "1.35.4"
    states = {each["type"]: each["status"] for each in status["conditions"]}
    assert states.pop("Reconciling") == "False"
    assert states.pop("Stalled") == "False"
    assert set(states.values()) == {"True"}, states
    assert {each["name"]: (each["ready"], each["wanted"]) for each in status["components"]} == {
        "etcd": (1, 1),
        "apiserver": (1, 1),
        "controller-manager": (1, 1),
        "scheduler": (1, 1),
    }


async def test_should_write_nothing_on_the_second_pass_also_after_a_restart(plane: Stage) -> None:
    recorder = RecordingKube(plane.admin)
    business = RecordingKube(plane.business.port)
    plane.business.port = business
    fresh = plane.operator(recorder)
    for _ in range(3):
        await fresh.one_pass(plane.key)
    assert isinstance(fresh.last, Done)
    assert recorder.writes == []
    assert business.writes == []


async def test_should_keep_root_keys_in_a_sealed_copy_and_note_the_first_quorum(plane: Stage) -> None:
    sealed = await plane.secret(f"root-keys.{plane.namespace}.demo", SYSTEM)
    ca = await plane.secret("demo-ca")
    assert {sealed["ca.tls.crt"], sealed["ca.tls.key"]} == {ca["tls.crt"], ca["tls.key"]}
    record = await plane.admin.get(kinds.CONFIG_MAP.ref("demo-etcd-bootstrap", plane.namespace))
    assert record


async def test_should_name_what_keeps_a_pod_from_starting(stage: Stage) -> None:
    await stage.create()
    stage.pods.broken["apiserver"] = PULLING
    operator = stage.operator()
    step = await stage.until(operator, lambda step: "ImagePullBackOff" in step.reason)
    ready = await stage.condition("Ready")
    assert ready["status"] == "False"
    assert ready["message"] == step.reason
    assert "Back-off pulling image" in (await stage.condition("ApiserverReady"))["message"]
    events = await stage.admin.list(kinds.Kind("events.k8s.io/v1", "Event"), namespace=stage.namespace)
    assert step.reason in [each["note"] for each in events.items]


async def test_should_put_events_into_an_etcd_of_their_own_when_asked(stage: Stage) -> None:
    await stage.create(etcd={"members": 3, "storageGiB": 1, "separateEvents": True})
    await stage.settle(stage.operator())
    components = {each["name"]: each["ready"] for each in (await stage.cluster())["status"]["components"]}
    assert components["etcd"] == components["etcd-events"] == 3
    assert await stage.admin.get(kinds.CONFIG_MAP.ref("demo-etcd-events-bootstrap", stage.namespace))


async def test_should_wait_for_the_load_balancers_address(stage: Stage) -> None:
    await stage.create(endpoint={"type": "LoadBalancer"})
    operator = stage.operator()
    await stage.until(operator, lambda step: "waits until a load balancer" in step.reason)
    assert await stage.secret("demo-kubeconfig") == {}
    service = kinds.SERVICE.ref("demo-apiserver", stage.namespace)
    address = {"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.7"}]}}}
    await stage.admin.patch_json(service, address, subresource=Subresource.Status)
    await stage.settle(operator)
    assert (await stage.cluster())["status"]["endpoint"] == "https://192.0.2.7:6443"


async def test_should_touch_nothing_while_paused(stage: Stage) -> None:
    await stage.create(paused=True)
    recorder = RecordingKube(stage.admin)
    operator = stage.operator(recorder)
    for _ in range(3):
        await operator.one_pass(stage.key)
    assert {write.verb for write in recorder.written()} == {"patch_status"}
    assert (await stage.condition("Ready"))["reason"] == "Paused"


async def test_should_say_why_a_volume_does_not_come(stage: Stage) -> None:
    await stage.create()
    stage.pods.broken["etcd"] = {"phase": "Pending", "conditions": [{"type": "Ready", "status": "False"}]}
    operator = stage.operator()
    await stage.until(operator, lambda step: "etcd has 0 of 1" in step.reason)
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "name": "data-demo-etcd-0", "namespace": stage.namespace}
    event = {"apiVersion": "v1", "kind": "Event", "metadata": {"name": "refused", "namespace": stage.namespace}, "type": "Warning"}
    words = "failed to provision volume with StorageClass fast: no space"
    await stage.admin.create({**event, "involvedObject": claim, "reason": "ProvisioningFailed", "message": words})
    step = await stage.until(operator, lambda step: "volume claim" in step.reason)
    assert step.reason.endswith(f"volume claim data-demo-etcd-0 is Pending: {words}")
    assert (await stage.condition("EtcdReady"))["message"] == step.reason
