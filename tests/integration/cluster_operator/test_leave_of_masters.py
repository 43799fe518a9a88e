"""The dangerous verbs on masters, on a real API server: nothing is written unless the grant holds at that moment, for that act, on that target."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from operators.api.base import LABEL_CLUSTER, ObjectMeta
from operators.api.cluster_release import Authorisation, AuthorisedBy, ClusterRelease, ClusterReleaseSpec
from operators.api.risk import Operation, Outcome, Target
from operators.errors import ErrorCode, KokError
from operators.ports.grants import Grant, GrantRequest, Waiting
from operators.ports.kube import Kind, KubePort, Manifest, Ref
from operators.services.plane_danger import RELEASE, PlaneDanger
from tests.contract.leave import Leave

pytestmark = pytest.mark.integration
NAME, CLUSTER = "demo-apiserver", "demo"
DEPLOYMENT, POD, CLAIM = Kind("apps/v1", "Deployment"), Kind("v1", "Pod"), Kind("v1", "PersistentVolumeClaim")
FROM, TO = "kubernetes-1-r1", "kubernetes-2-r1"


class Careless(Leave):
    """The positive control: nothing is verified."""

    async def verify(self, grant: Grant, *, operation: Operation, target: str, left: float = 0.0) -> None:
        return None


@dataclass(frozen=True)
class Verb:
    """One verb, what leave it takes, and whether it has been done."""

    operation: Operation
    target: str
    kind: str
    do: Callable[[PlaneDanger, Grant], Awaitable[Any]]
    is_done: Callable[[], Awaitable[bool]]


def deployment(namespace: str, image: str) -> Manifest:
    labels = {"app": NAME}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": image}]}}
    spec = {"replicas": 0, "selector": {"matchLabels": labels}, "template": pod}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": NAME, "namespace": namespace}, "spec": spec}


def authorisation(package: str) -> Authorisation:
    return Authorisation(package_version=package, by=AuthorisedBy.Spec, at="2026-03-01T12:00:00Z", reason="a test")


async def release_in(kube: KubePort, namespace: str) -> ClusterRelease:
    spec = ClusterReleaseSpec(current=authorisation(FROM))
    release = ClusterRelease(metadata=ObjectMeta(name=CLUSTER, namespace=namespace), spec=spec)
    manifest = release.model_dump(mode="json", by_alias=True, exclude_none=True, include={"api_version", "kind", "spec"})
    labels = {LABEL_CLUSTER: CLUSTER}
    stored = await kube.create({**manifest, "metadata": {"name": CLUSTER, "namespace": namespace, "labels": labels}})
    return ClusterRelease.parse(stored)


async def roll(kube: KubePort, namespace: str) -> Verb:
    await kube.apply(deployment(namespace, "old"))

    async def is_done() -> bool:
        found = await kube.get(DEPLOYMENT.ref(NAME, namespace))
        return bool(found and found["spec"]["template"]["spec"]["containers"][0]["image"] == "new")

    wanted = deployment(namespace, "new")
    return Verb(Operation.RestartMaster, NAME, "Deployment", lambda danger, grant: danger.roll(wanted, CLUSTER, grant), is_done)


async def roll_in_a_hop(kube: KubePort, namespace: str) -> Verb:
    return replace(await roll(kube, namespace), operation=Operation.UpgradePlane, target=CLUSTER, kind="Cluster")


async def end_pod(kube: KubePort, namespace: str) -> Verb:
    pod = {"metadata": {"name": "demo-etcd-0", "namespace": namespace}, "spec": {"containers": [{"name": "c", "image": "c"}]}}
    made = await kube.create({"apiVersion": "v1", "kind": "Pod", **pod})
    ref, uid = Ref.of(made), str(made["metadata"]["uid"])
    return Verb(
        Operation.RestartMaster, ref.name, "Pod", lambda danger, grant: danger.end_pod(ref, uid, CLUSTER, grant), gone(kube, ref)
    )  # fmt: skip


async def end_part(kube: KubePort, namespace: str) -> Verb:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    made = await kube.create(
        {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data", "namespace": namespace}, "spec": spec}
    )
    return Verb(
        Operation.DeletePlane, CLUSTER, "Cluster", lambda danger, grant: danger.end_part(made, CLUSTER, grant), gone(kube, Ref.of(made))
    )  # fmt: skip


async def move(kube: KubePort, namespace: str) -> Verb:
    release = await release_in(kube, namespace)
    spec = release.spec.model_copy(update={"current": authorisation(TO)})

    async def is_done() -> bool:
        found = await kube.get(RELEASE.ref(CLUSTER, namespace))
        return bool(found and found["spec"]["current"]["packageVersion"] == TO)

    return Verb(Operation.UpgradePlane, CLUSTER, "Cluster", lambda danger, grant: danger.move(release, spec, grant), is_done)


def gone(kube: KubePort, ref: Ref) -> Callable[[], Awaitable[bool]]:
    async def is_done() -> bool:
        found = await kube.get(ref)
        return found is None or bool(found["metadata"].get("deletionTimestamp"))

    return is_done


VERBS = (roll, roll_in_a_hop, end_pod, end_part, move)
WRONG = ("settled", "another target", "another operation", "unknown")


async def leave_for(verb: Verb, grants: Leave, wrong: str) -> Grant:
    """Leave that was given; with what is wrong about it by the time it is used."""
    target = "another" if wrong == "another target" else verb.target
    others = Operation.Cordon if wrong == "another operation" else verb.operation
    asked = GrantRequest("ns", others, Target(kind=verb.kind, name=target, cluster=CLUSTER), "u", "r", "w", "s", 0, "a test")
    grant = await grants.ask(asked)
    assert not isinstance(grant, Waiting)
    if wrong == "settled":
        await grants.settle(grant, Outcome.Succeeded)
    return replace(grant, op_id="never-given") if wrong == "unknown" else grant  # type: ignore[arg-type]


@pytest.mark.parametrize("make", VERBS)
async def test_should_act_with_leave(meta: KubePort, namespace: str, make: Callable[[KubePort, str], Awaitable[Verb]]) -> None:
    verb, grants = await make(meta, namespace), Leave()
    assert not await verb.is_done()
    await verb.do(PlaneDanger(meta, grants), await leave_for(verb, grants, ""))
    assert await verb.is_done()


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("make", VERBS)
async def test_should_write_nothing_without_leave_that_holds(
    meta: KubePort, namespace: str, make: Callable[[KubePort, str], Awaitable[Verb]], wrong: str
) -> None:
    verb, grants = await make(meta, namespace), Leave()
    with pytest.raises(KokError) as refusal:
        await verb.do(PlaneDanger(meta, grants), await leave_for(verb, grants, wrong))
    assert refusal.value.code is ErrorCode.GrantInvalid
    assert not await verb.is_done()


@pytest.mark.parametrize("make", VERBS)
async def test_should_write_where_nobody_verifies(meta: KubePort, namespace: str, make: Callable[[KubePort, str], Awaitable[Verb]]) -> None:
    """The positive control of the test above."""
    verb, grants = await make(meta, namespace), Careless()
    await verb.do(PlaneDanger(meta, grants), await leave_for(verb, grants, "settled"))
    assert await verb.is_done()
