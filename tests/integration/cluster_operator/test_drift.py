"""Whatever somebody does to an object of a plane is put back, and the keys survive what is done to them."""

from __future__ import annotations

from typing import Any

import pytest

from operators.cluster_operator.cluster import kinds
from operators.domain.plane.drift import difference, drops
from operators.domain.plane.steps import Done
from operators.errors import ErrorCode
from operators.ports.kube import Kind, Manifest, Ref
from tests.integration.cluster_operator.world_of_planes import SYSTEM, Operator, Stage

pytestmark = pytest.mark.integration
EMPTIED = {"tls.crt": "", "tls.key": "", "ca.crt": ""}


async def _own_objects(stage: Stage) -> list[Manifest]:
    found: list[Manifest] = []
    for kind in kinds.CHILDREN:
        if kind not in (kinds.SECRET, kinds.VOLUME_CLAIM):
            found += (await stage.admin.list(kind, namespace=stage.namespace, selector=f"kok.dev/cluster={stage.name}")).items
    return [each for each in found if "kok.dev/applied-hash" in each["metadata"].get("annotations", {})]


def _spoiled(manifest: Manifest) -> dict[str, Any]:
    """A merge patch that changes something which matters in that kind."""
    match manifest["kind"]:
        case "Deployment" | "StatefulSet":
            return {"spec": {"replicas": 0}}
        case "Service":
            return {"spec": {"selector": {"app.kubernetes.io/component": "nobody"}}}
        case "ConfigMap":
            return {"data": dict.fromkeys(manifest["data"], "{}")}
        case "PodDisruptionBudget":
            return {"spec": {"maxUnavailable": 3}}
        case "NetworkPolicy":
            return {"spec": {"policyTypes": ["Egress"]}, "metadata": {"labels": {"kok.dev/cluster": "other"}}}
        case "Role" | "ClusterRole":
            return {"rules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]}
        case "RoleBinding":
            return {"subjects": [{"kind": "User", "name": "mallory", "apiGroup": "rbac.authorization.k8s.io"}]}
        case _:
            return {"metadata": {"labels": {"app.kubernetes.io/component": "spoiled"}}}


async def at_rest(plane: Stage) -> Operator:
    """A process that has found everything right."""
    operator = plane.operator()
    await plane.settle(operator)
    return operator


async def test_should_put_every_object_back_when_it_was_changed_or_deleted(plane: Stage) -> None:
    operator = await at_rest(plane)
    before = await plane.snapshot()
    objects = await _own_objects(plane)
    assert len(objects) > 20
    for manifest in objects:
        await plane.admin.patch_json(Ref.of(manifest), _spoiled(manifest))
    await plane.settle(operator)
    assert await plane.snapshot() == before
    for manifest in objects:
        await plane.admin.delete(Ref.of(manifest))
    await plane.settle(operator)
    assert await plane.snapshot() == before


async def test_should_take_out_a_container_that_somebody_added(plane: Stage) -> None:
    operator = await at_rest(plane)
    scheduler = kinds.DEPLOYMENT.ref("demo-scheduler", plane.namespace)
    foreign = {"op": "add", "path": "/spec/template/spec/containers/-", "value": {"name": "miner", "image": "miner:1"}}
    await plane.admin.patch_json(scheduler, [foreign])
    await plane.settle(operator)
    found = await plane.admin.get(scheduler)
    assert found
    assert [each["name"] for each in found["spec"]["template"]["spec"]["containers"]] == ["scheduler"]


KEPT = ("Namespace", "CustomResourceDefinition")
"""What is in them goes with them, and takes its time: only changed here."""


def _spoiled_inside(manifest: Manifest) -> dict[str, Any]:
    match manifest["kind"]:
        case "DaemonSet" | "Deployment":
            return {"spec": {"template": {"spec": {"priorityClassName": "nobody", "priority": None}}}}
        case "ValidatingAdmissionPolicy":
            return {"spec": {"failurePolicy": "Ignore"}}
        case "ValidatingAdmissionPolicyBinding":
            return {"spec": {"validationActions": ["Warn"]}}
        case "ClusterRoleBinding":
            return _spoiled({**manifest, "kind": "RoleBinding"})
        case "ConfigMap" if not manifest.get("data"):
            return {"data": {"more": "x"}, "metadata": {"labels": {"app.kubernetes.io/managed-by": "mallory"}}}
        case "CustomResourceDefinition" | "Namespace" | "ServiceAccount" | "StorageClass" | "PriorityClass":
            return {"metadata": {"labels": {"app.kubernetes.io/managed-by": "mallory"}}}
        case _:
            return _spoiled(manifest)


async def test_should_put_every_object_inside_the_business_cluster_back(plane: Stage) -> None:
    port, operator = plane.business.port, await at_rest(plane)
    view = await operator.controller.observe(plane.key)
    assert view
    wanted: tuple[Manifest, ...] = view.plan.inside  # type: ignore[union-attr]
    assert len(wanted) > 30
    for manifest in wanted:
        await port.patch_json(Ref.of(manifest), _spoiled_inside(manifest))
        assert difference(manifest, await port.get(Ref.of(manifest)) or {}), f"{Ref.of(manifest)} is not spoiled"
    await plane.settle(plane.operator())
    for manifest in wanted:
        assert difference(manifest, await port.get(Ref.of(manifest)) or {}) == "", Ref.of(manifest)
    deleted = [each for each in wanted if each["kind"] not in KEPT]
    for manifest in deleted:
        assert await port.delete(Ref.of(manifest))
    await plane.settle(plane.operator())
    for manifest in wanted:
        assert difference(manifest, await port.get(Ref.of(manifest)) or {}) == "", Ref.of(manifest)


async def test_should_put_back_what_was_deleted_inside_the_business_cluster(plane: Stage) -> None:
    port = plane.business.port
    binding = Kind("rbac.authorization.k8s.io/v1", "ClusterRoleBinding").ref("kok:admins")
    dns = Kind("v1", "Service").ref("kube-dns", "kube-system")
    before = await port.get(dns)
    assert await port.delete(binding)
    await port.patch_json(dns, {"spec": {"selector": {"app.kubernetes.io/component": "nobody"}}})
    await plane.settle(plane.operator())
    assert await port.get(binding)
    after = await port.get(dns)
    assert before
    assert after
    assert after["spec"] == before["spec"]


async def test_should_issue_a_leaf_anew_when_it_was_emptied_and_roll_what_uses_it(plane: Stage) -> None:
    operator = await at_rest(plane)
    apiserver = kinds.DEPLOYMENT.ref("demo-apiserver", plane.namespace)
    before, old = await plane.admin.get(apiserver), await plane.secret("demo-apiserver-tls")
    await plane.admin.patch_json(kinds.SECRET.ref("demo-apiserver-tls", plane.namespace), {"data": EMPTIED})
    await plane.settle(operator)
    after, new = await plane.admin.get(apiserver), await plane.secret("demo-apiserver-tls")
    assert before
    assert after
    assert new["ca.crt"] == old["ca.crt"]
    assert new["tls.crt"] != old["tls.crt"]
    assert after["spec"]["template"]["metadata"] != before["spec"]["template"]["metadata"]


@pytest.mark.parametrize("damage", [{"data": {"tls.crt": "", "tls.key": ""}}, {"data": {"tls.key": "AAAA"}}])
async def test_should_bring_a_root_key_back_as_it_was(plane: Stage, damage: dict[str, Any]) -> None:
    operator = await at_rest(plane)
    before = await plane.secret("demo-ca")
    await plane.admin.patch_json(kinds.SECRET.ref("demo-ca", plane.namespace), damage)
    await plane.settle(operator)
    assert before.items() <= (await plane.secret("demo-ca")).items()


async def test_should_bring_all_root_keys_back_when_they_were_deleted(plane: Stage) -> None:
    names = ("demo-ca", "demo-etcd-ca", "demo-front-proxy-ca", "demo-service-account")
    before = [await plane.secret(name) for name in names]
    for name in names:
        await plane.admin.delete(kinds.SECRET.ref(name, plane.namespace))
    await plane.settle(plane.operator())
    assert [await plane.secret(name) for name in names] == before


async def test_should_write_the_sealed_copy_anew_when_it_was_deleted(plane: Stage) -> None:
    operator = await at_rest(plane)
    name = f"root-keys.{plane.namespace}.demo"
    before = await plane.secret(name, SYSTEM)
    await plane.admin.delete(kinds.SECRET.ref(name, SYSTEM))
    await plane.settle(operator)
    assert await plane.secret(name, SYSTEM) == before


async def test_should_stall_rather_than_make_new_root_keys_for_a_living_plane(plane: Stage) -> None:
    operator = await at_rest(plane)
    ca = await plane.admin.get(kinds.SECRET.ref("demo-ca", plane.namespace))
    await plane.admin.delete(kinds.SECRET.ref(f"root-keys.{plane.namespace}.demo", SYSTEM))
    await plane.admin.delete(kinds.SECRET.ref("demo-ca", plane.namespace))
    step = await plane.stalled(operator)
    assert step.code is ErrorCode.KeysLost
    assert (await plane.condition("Stalled"))["message"] == step.reason
    assert await plane.secret("demo-ca") == {}
    assert ca
    await plane.admin.create({**ca, "metadata": {key: ca["metadata"][key] for key in ("name", "namespace", "labels")}})
    assert isinstance(await plane.settle(operator), Done)


async def test_should_find_rendered_text_as_it_was_applied(plane: Stage) -> None:
    """Templates speak the API server's canonical form: what comes back differs nowhere from what was sent."""
    operator = await at_rest(plane)
    view = await operator.controller.observe(plane.key)
    assert view
    live = {(each["kind"], each["metadata"]["name"]): each for each in await _own_objects(plane)}
    for manifests in view.plan.components.values():  # type: ignore[union-attr]
        for manifest in manifests:
            if not manifest["metadata"].get("namespace"):
                continue
            found = live[manifest["kind"], manifest["metadata"]["name"]]
            assert difference(manifest, found) == ""
            if manifest["kind"] == "Deployment":
                there = found["spec"]["template"]
                assert not drops(manifest["spec"]["template"], there), "what the API server adds is no reason to ask for leave"
                there["spec"]["nodeSelector"] = {"kubernetes.io/os": "linux"}
                assert drops(manifest["spec"]["template"], there), "a field that is not rendered any more makes new pods"
