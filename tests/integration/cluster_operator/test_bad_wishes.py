"""What only the operator can know to be wrong: it stalls in the same words everywhere before anything is touched, and heals when corrected."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from operators.cluster_operator.cluster import kinds
from operators.domain.plane.steps import Done, Stall
from operators.errors import ErrorCode
from operators.ports.kube import Kind, Manifest
from tests.integration.cluster_operator.world_of_planes import SSH_KEY, Stage
from tests.integration.kube_proxies import RecordingKube

pytestmark = pytest.mark.integration

PUBLIC_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBxP7QkzF3Nq2m0F9k0n8mV1y0q8Yl4nXo8tQm0cJd1e me@laptop"


async def says_the_same_everywhere(stage: Stage, step: Stall) -> None:
    """Status, conditions and events hold the step's sentence, with its code as the reason."""
    status = (await stage.cluster())["status"]
    shown = {each["type"]: (each["status"], each["reason"], each["message"]) for each in status["conditions"]}
    assert shown["Stalled"] == ("True", str(step.code), step.reason)
    assert shown["Ready"] == ("False", str(step.code), step.reason)
    assert status["message"] == step.reason
    events = await stage.admin.list(Kind("events.k8s.io/v1", "Event"), namespace=stage.namespace)
    assert {(each["type"], each["reason"]) for each in events.items if each["note"] == step.reason} == {("Warning", str(step.code))}


BAD_WISHES: list[tuple[dict[str, Any], ErrorCode, tuple[str, ...], dict[str, Any]]] = [
    (
        {"flags": {"apiserver": {"etcd-servers": "http://evil"}}},
        ErrorCode.FlagOwned,
        ("etcd-servers of apiserver belongs to kok", "remove spec.flags.apiserver.etcd-servers"),
        {"flags": {"apiserver": {"etcd-servers": None}}},
    ),
    (
        {"flags": {"apiserver": {"audit-log-maxaeg": "7"}}},
        ErrorCode.FlagUnknown,
        ("spec.flags.apiserver.audit-log-maxaeg", "write audit-log-maxage if that is meant"),
        {"flags": {"apiserver": {"audit-log-maxaeg": None, "audit-log-maxage": "7"}}},
    ),
    (
        {"flags": {"etcd": {"quota-backend-bytes": "8GiB"}}},
        ErrorCode.FlagUnknown,
        ("quota-backend-bytes", "'8GiB' is not of type integer"),
        {"flags": {"etcd": {"quota-backend-bytes": "8589934592"}}},
    ),
    (
        {
            "endpoint": {"type": "NodePort", "host": "localhost", "port": 31443},
            "network": {"podCIDR": "127.0.0.0/16", "serviceCIDR": "10.96.0.0/16"},
        },
        ErrorCode.NetworkOverlap,
        ("spec.network.podCIDR 127.0.0.0/16 holds 127.0.0.1", "spec.endpoint.host localhost", "create it with another range"),
        {"endpoint": {"host": "10.89.0.2"}},
    ),
]


@pytest.mark.parametrize(
    ("wrong", "code", "words", "right"), BAD_WISHES, ids=[str(code) + str(n) for n, (_, code, *_) in enumerate(BAD_WISHES)]
)
async def test_should_stall_before_anything_is_touched_and_heal(
    stage: Stage, wrong: dict[str, Any], code: ErrorCode, words: tuple[str, ...], right: dict[str, Any]
) -> None:
    await stage.create(**wrong)
    recorder = RecordingKube(stage.admin)
    operator = stage.operator(recorder)
    step = await stage.stalled(operator)
    assert step.code is code
    assert [word for word in words if word not in step.reason] == []
    assert {write.verb for write in recorder.written()} == {"patch_status"}
    await says_the_same_everywhere(stage, step)
    await stage.admin.patch_json(kinds.CLUSTER.ref("demo", stage.namespace), {"spec": right})
    await stage.until(operator, lambda _: "apply" in {write.verb for write in recorder.written()})  # the test below goes on to the end
    assert not isinstance(operator.last, Stall)
    assert (await stage.condition("Stalled"))["status"] == "False"


async def test_should_wait_for_a_package_version_and_go_on_when_it_is_there(stage: Stage) -> None:
    name = f"kubernetes-1.35.4-{stage.namespace}"
    await stage.create(packageVersion=name)
    recorder = RecordingKube(stage.admin)
    operator = stage.operator(recorder)
    step = await stage.stalled(operator)
    assert step.code is ErrorCode.PackageMissing
    assert f"ClusterPackageVersion {name} does not exist" in step.reason
    assert "kubectl get clusterpackageversions.kok.dev" in step.reason
    assert {write.verb for write in recorder.written()} == {"patch_status"}
    await says_the_same_everywhere(stage, step)
    there = next(each for each in (await stage.admin.list(kinds.PACKAGE)).items if each["metadata"]["name"] == "kubernetes-1.35.4-test")
    package: Manifest = copy.deepcopy({**there, "metadata": {"name": name}})
    await stage.admin.create(package)
    assert isinstance(await stage.settle(operator, 120), Done)


NO_PRIVATE_KEYS = {
    PUBLIC_KEY: "it is a public key; the private one is wanted",
    "hunter2": "it is no private key",
    "": "has nothing under ssh-privatekey",
}


async def test_should_want_a_private_key_and_go_on_when_it_is_one(stage: Stage) -> None:
    await stage.create(machineAccess={"sshKeySecretName": "ssh"})
    operator = stage.operator()
    step = await stage.stalled(operator)
    assert step.code is ErrorCode.SecretMissing
    assert f"Secret {stage.namespace}/ssh does not exist; kubectl -n {stage.namespace} create secret generic ssh" in step.reason
    assert (await stage.condition("ApiserverReady"))["status"] == "True"
    secret = {"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "metadata": {"name": "ssh", "namespace": stage.namespace}}
    await stage.admin.create(secret)
    for content, words in NO_PRIVATE_KEYS.items():
        await stage.admin.patch_json(kinds.SECRET.ref("ssh", stage.namespace), {"stringData": {"ssh-privatekey": content}})
        step = await stage.stalled_with(operator, ErrorCode.SecretInvalid, words)
        await says_the_same_everywhere(stage, step)
    assert await stage.admin.get(kinds.DEPLOYMENT.ref("demo-machine-operator", stage.namespace)) is None
    await stage.admin.patch_json(kinds.SECRET.ref("ssh", stage.namespace), {"stringData": {"ssh-privatekey": SSH_KEY}})
    await stage.settle(operator)
    assert (await stage.condition("MachineOperatorReady"))["status"] == "True"
