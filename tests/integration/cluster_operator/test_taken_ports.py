"""Two Clusters, or a Cluster and any other Service, that wish one node port: who came second is told who has it, runs nothing, and goes on when it is free."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from itertools import count
from typing import Any
from uuid import uuid4

import pytest

from operators.cluster_operator.cluster import kinds
from operators.domain.plane.steps import Done
from operators.errors import ErrorCode
from operators.ports.kube import DEFAULT_DEADLINE, Forbidden, Kind, Listing, Manifest
from tests.integration.cluster_operator.world_of_planes import Stage
from tests.integration.kube_proxies import RecordingKube

pytestmark = pytest.mark.integration
PORTS: Iterator[int] = count(32100)


def at_port(port: int) -> dict[str, Any]:
    return {"endpoint": {"type": "NodePort", "host": "10.89.0.2", "port": port}}


def other_service(namespace: str, port: int) -> Manifest:
    ports = [{"name": "http", "port": 80, "nodePort": port}]
    metadata = {"name": "shop", "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"type": "NodePort", "ports": ports}}


@pytest.fixture
async def second(stage: Stage) -> AsyncIterator[Stage]:
    """Another namespace for a Cluster that comes later."""
    made = Stage(stage.admin, stage.business, f"test-{uuid4().hex[:10]}")
    await stage.admin.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": made.namespace}})
    yield made
    await made.clear()


async def says(stage: Stage, words: str) -> None:
    """The sentence stands in status, conditions and an event, and no address is shown that is not its own."""
    status = (await stage.cluster())["status"]
    shown = {each["type"]: (each["status"], each["reason"]) for each in status["conditions"] if words in each["message"]}
    assert shown == {"Ready": ("False", "PortTaken"), "Reconciling": ("False", "PortTaken"), "Stalled": ("True", "PortTaken")}
    assert (status["phase"], status.get("endpoint", "")) == ("Stalled", "")
    events = await stage.admin.list(Kind("events.k8s.io/v1", "Event"), namespace=stage.namespace)
    assert [each["reason"] for each in events.items if words in each["note"]] == ["PortTaken"]


async def test_should_name_the_cluster_that_has_the_port_write_nothing_and_go_on_when_it_goes(stage: Stage, second: Stage) -> None:
    port = next(PORTS)
    await stage.create(**at_port(port))
    await stage.settle(stage.operator())
    await second.create(**at_port(port))
    recorder = RecordingKube(stage.admin)
    operator = second.operator(recorder)
    holder = f"Cluster {stage.namespace}/demo (Service {stage.namespace}/demo-apiserver)"
    step = await second.stalled_with(operator, ErrorCode.PortTaken, f"spec.endpoint.port: node port {port} is taken by {holder}")
    await says(second, step.reason)
    for kind in (kinds.STATEFUL_SET, kinds.DEPLOYMENT, kinds.SERVICE):
        assert (await stage.admin.list(kind, namespace=second.namespace)).items == ()
    written, attempted = len(recorder.writes), len(operator.steps)
    attempts: list[str] = []
    recorder._before = lambda verb, ref: attempts.append(verb)  # type: ignore[method-assign]
    for _ in range(5):
        assert await operator.one_pass(second.key) == step.after
    assert (len(recorder.writes), set(attempts)) == (written, {"read"}), "it waits without trying"
    assert len(operator.steps) == attempted + 5
    afresh = RecordingKube(stage.admin)
    await second.stalled_with(second.operator(afresh), ErrorCode.PortTaken, holder)
    assert afresh.writes == [], "a new process says the same, so it writes nothing"
    await stage.admin.delete(kinds.CLUSTER.ref("demo", stage.namespace))
    await stage.until_gone(stage.operator())
    assert isinstance(await second.settle(operator), Done)
    assert (await second.cluster())["status"]["endpoint"] == f"https://10.89.0.2:{port}"


async def test_should_name_any_other_service_and_take_another_port(stage: Stage, second: Stage) -> None:
    taken, free = next(PORTS), next(PORTS)
    await stage.admin.create(other_service(second.namespace, taken))
    await stage.create(**at_port(taken))
    operator = stage.operator()
    step = await stage.stalled_with(operator, ErrorCode.PortTaken, f"is taken by Service {second.namespace}/shop;")
    await says(stage, step.reason)
    await stage.admin.patch_json(kinds.CLUSTER.ref("demo", stage.namespace), {"spec": {"endpoint": {"port": free}}})
    assert isinstance(await stage.settle(operator), Done)
    await stage.admin.patch_json(kinds.CLUSTER.ref("demo", stage.namespace), {"spec": {"endpoint": {"port": taken}}})
    await stage.stalled_with(operator, ErrorCode.PortTaken, f"is taken by Service {second.namespace}/shop;")
    await stage.admin.delete(kinds.DEPLOYMENT.ref("demo-scheduler", stage.namespace))
    scheduler = kinds.DEPLOYMENT.ref("demo-scheduler", stage.namespace)
    for _ in range(3):
        await operator.one_pass(stage.key)
    assert await stage.admin.get(scheduler), "a plane that lives is kept well meanwhile"
    await stage.admin.delete(kinds.SERVICE.ref("shop", second.namespace))
    assert isinstance(await stage.settle(operator), Done)


class WithoutServices(RecordingKube):
    """Whose holder of a port is, nobody may see: only Services of Clusters can be listed."""

    async def list(self, kind: Kind, *, namespace: str = "", selector: str = "", deadline: float = DEFAULT_DEADLINE) -> Listing:
        if kind == kinds.SERVICE and not selector:
            raise Forbidden("services is forbidden")
        return await super().list(kind, namespace=namespace, selector=selector, deadline=deadline)


async def test_should_keep_a_plane_well_though_nobody_is_seen_to_have_its_new_port(stage: Stage, second: Stage) -> None:
    had, taken = next(PORTS), next(PORTS)
    await stage.create(**at_port(had))
    operator = stage.operator(WithoutServices(stage.admin))
    assert isinstance(await stage.settle(operator), Done)
    await stage.admin.create(other_service(second.namespace, taken))
    await stage.admin.patch_json(kinds.CLUSTER.ref("demo", stage.namespace), {"spec": {"endpoint": {"port": taken}}})
    step = await stage.stalled_with(operator, ErrorCode.PortTaken, "Services cannot be listed")
    await says(stage, step.reason)
    scheduler = kinds.DEPLOYMENT.ref("demo-scheduler", stage.namespace)
    await stage.admin.delete(scheduler)
    for _ in range(3):
        await operator.one_pass(stage.key)
    assert await stage.admin.get(scheduler), "a plane that lives is kept well meanwhile"
