"""Holders that never report, grants that are deleted, and history: what frees a slot, and what is forgotten. And the whole as one process.

The shared API server is the business cluster, too: its Machine and Node of a host are real objects there.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator

import pytest
import structlog

from operators.adapters.grants_kube import GRANTS, KubeGrants, manifest_of
from operators.adapters.kopf_watch import KopfWatch
from operators.adapters.kube import KubeClient
from operators.adapters.kube_connector import BusinessClusters
from operators.adapters.kube_credentials import kubeconfig_credentials
from operators.adapters.lease_kube import KubeLease
from operators.api.base import API_VERSION
from operators.api.risk import Decision, Outcome
from operators.cluster_operator.risk import RiskCentre
from operators.cluster_operator.risk.keeper import FORGOTTEN_GRANT
from operators.domain.risk.ladder import UNKNOWN_GRACE
from operators.domain.risk.retention import KEPT_PER_NAMESPACE
from operators.engine.elector import ElectorConfig
from operators.engine.process import Process, ProcessConfig, Servers
from operators.engine.reconcile import LoopTools
from operators.engine.recorder import EventRecorder
from operators.ports.grants import Grant, Waiting
from operators.ports.kube import AlreadyExists, Kind, Manifest, Subresource
from operators.services.ledger import SYSTEM_NAMESPACE
from tests.integration.api_server import ApiServer
from tests.integration.risk.risk_centres import Centre, Clock, denied, empty_ledger, granted, request, stored_grant
from tests.unit.operators.domain.risk.builders import budget

pytestmark = pytest.mark.integration
NODE = Kind("v1", "Node")
TTL = 60


@pytest.fixture
async def host(centre: Centre, api_server: ApiServer) -> AsyncIterator[str]:
    """A host of Cluster `demo`, with its Machine and a Ready Node, and the Cluster-Operator's way in."""
    name = f"h-{centre.namespace}"
    cluster = {"packageVersion": "kubernetes-1.35.4-r1", "endpoint": {"type": "ClusterIP"}, "machineAccess": {"sshKeySecretName": "ssh"}}
    await centre.kube.create(
        {"apiVersion": API_VERSION, "kind": "Cluster", "metadata": {"name": "demo", "namespace": centre.namespace}, "spec": cluster}
    )
    kubeconfig = base64.b64encode(api_server.admin_kubeconfig.read_bytes()).decode()
    secret = {"name": "demo-operator-kubeconfig", "namespace": centre.namespace}
    await centre.kube.create({"apiVersion": "v1", "kind": "Secret", "metadata": secret, "data": {"kubeconfig": kubeconfig}})
    await centre.kube.create({"apiVersion": API_VERSION, "kind": "Machine", "metadata": {"name": name}, "spec": {"pool": "workers"}})
    await centre.kube.create({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "spec": {"unschedulable": True}})
    ready = {"status": {"conditions": [{"type": "Ready", "status": "True", "reason": "Test", "message": ""}]}}
    await centre.kube.patch_json(NODE.ref(name), ready, subresource=Subresource.Status)
    await centre.kube.patch_json(NODE.ref(name), {"spec": {"taints": None}})
    yield name
    await centre.kube.delete(NODE.ref(name))
    await centre.connector.close()


async def vanished(grants: KubeGrants, centre: Centre, host: str) -> Grant:
    """Granted, and its holder never comes back; marked Unknown, and past the grace."""
    grant = await granted(grants, centre, request(centre.namespace, host, ttl_seconds=TTL))
    centre.clock.ahead += TTL + UNKNOWN_GRACE + 1
    await centre.settle_down()
    status = (await stored_grant(centre.kube, grant)).status
    assert status is not None
    assert (status.decision, status.settled_at) == (Decision.Unknown, None), status
    return grant


async def is_settled(centre: Centre, grant: Grant) -> str:
    """The sentence of a settled grant; empty while it counts."""
    await centre.settle_down()
    status = (await stored_grant(centre.kube, grant)).status
    assert status is not None
    assert bool(status.settled_at) == ((await centre.stored()).spec.in_flight == ())
    return status.message if status.settled_at else ""


async def test_should_count_a_vanished_holder_until_its_node_is_seen_in_order(centre: Centre, grants: KubeGrants, host: str) -> None:
    grant = await vanished(grants, centre, host)
    assert (await denied(grants, centre, request(centre.namespace, "other"))).denied
    assert await is_settled(centre, grant) == "", "its Node is cordoned"
    await centre.kube.patch_json(NODE.ref(host), {"spec": {"unschedulable": None}})
    assert await is_settled(centre, grant) == (
        f"its holder never reported; Machine {host} was seen healthy: its Node is Ready and schedulable"
    )
    centre.clock.ahead += 120
    await granted(grants, centre, request(centre.namespace, "other"))


async def test_should_count_a_vanished_holder_until_its_target_is_gone(centre: Centre, grants: KubeGrants, host: str) -> None:
    grant = await vanished(grants, centre, host)
    await centre.kube.delete(Kind(API_VERSION, "Machine").ref(host))
    assert await is_settled(centre, grant) == "", "its Node is there"
    await centre.kube.delete(NODE.ref(host))
    assert "seen gone: neither Machine nor Node exists" in await is_settled(centre, grant)


async def test_should_count_a_vanished_holder_while_nothing_can_be_seen(centre: Centre, grants: KubeGrants, host: str) -> None:
    grant = await vanished(grants, centre, host)
    await centre.kube.patch_json(NODE.ref(host), {"spec": {"unschedulable": None}})
    secret = Kind("v1", "Secret").ref("demo-operator-kubeconfig", centre.namespace)
    found = await centre.kube.get(secret)
    assert found is not None
    await centre.kube.patch_json(secret, {"data": {"kubeconfig": None}})
    assert await is_settled(centre, grant) == ""
    unreachable = base64.b64encode(b"not a kubeconfig").decode()
    await centre.kube.patch_json(secret, {"data": {"kubeconfig": unreachable}})
    assert await is_settled(centre, grant) == ""
    await centre.kube.patch_json(secret, {"data": found["data"]})
    assert "seen healthy" in await is_settled(centre, grant)


async def test_should_take_a_late_report(centre: Centre, grants: KubeGrants, host: str) -> None:
    grant = await vanished(grants, centre, host)
    await grants.settle(grant, Outcome.Failed)
    assert await is_settled(centre, grant) == "its holder reported Failed"


async def test_should_free_everything_of_a_cluster_that_is_gone(centre: Centre, grants: KubeGrants, host: str) -> None:
    grant = await granted(grants, centre, request(centre.namespace, host, ttl_seconds=TTL))
    await centre.kube.delete(GRANTS.ref(grant.op_id, grant.namespace))
    centre.clock.ahead += 31
    await centre.tidy_up()
    assert len((await centre.stored()).spec.in_flight) == 1, "its Cluster is there, and its time is not over"
    await centre.kube.delete(Kind(API_VERSION, "Cluster").ref("demo", centre.namespace))
    centre.clock.ahead += 31
    await centre.tidy_up()
    assert (await centre.stored()).spec.in_flight == ()


async def test_should_give_back_what_another_risk_centre_took_for_a_denied_request(centre: Centre, grants: KubeGrants, host: str) -> None:
    grant = await granted(grants, centre, request(centre.namespace, host))
    await centre.kube.patch_json(
        GRANTS.ref(grant.op_id, grant.namespace), {"status": {"decision": "Denied"}}, subresource=Subresource.Status
    )
    centre.clock.ahead += 31
    await centre.tidy_up()
    assert (await centre.stored()).spec.in_flight == ()


async def test_should_forget_what_is_history(centre: Centre, grants: KubeGrants, host: str) -> None:
    """The last of a namespace stay for a day; what is live stays."""
    live = await granted(grants, centre, request(centre.namespace, host))
    extra = 5
    for first in range(0, KEPT_PER_NAMESPACE + extra, 16):  # some at a time: a busy machine answers in time then
        numbers = range(first, min(first + 16, KEPT_PER_NAMESPACE + extra))
        await asyncio.gather(*(_denied_object(centre, number) for number in numbers))
    assert await _count(centre) == KEPT_PER_NAMESPACE + extra + 1
    centre.clock.ahead += 3600
    there = {item["metadata"]["name"] for item in (await centre.kube.list(GRANTS, namespace=centre.namespace)).items}
    with structlog.testing.capture_logs() as logged:
        await centre.tidy_up()
    assert await _count(centre) == KEPT_PER_NAMESPACE + 1
    left = {item["metadata"]["name"] for item in (await centre.kube.list(GRANTS, namespace=centre.namespace)).items}
    told = {
        each["grant"]["name"]: each["grant"]
        for each in logged
        if each["event"] == FORGOTTEN_GRANT and each["grant"]["namespace"] == centre.namespace
    }
    assert set(told) == there - left, "what is forgotten was said in full"
    one = next(iter(told.values()))
    assert (one["spec"]["operation"], one["status"]["decision"]) == ("Drain", "Denied")
    json.dumps(one)
    centre.clock.ahead += 24 * 3600
    await centre.tidy_up()  # a pass deletes a bounded number, of every namespace with a Cluster
    centre.clock.ahead += 31
    await centre.tidy_up()
    assert [item["metadata"]["name"] for item in (await centre.kube.list(GRANTS, namespace=centre.namespace)).items] == [live.op_id]


async def _denied_object(centre: Centre, number: int) -> None:
    manifest = manifest_of(request(centre.namespace, f"d{number}"), 0)
    await centre.kube.create(manifest)
    status = {"decision": "Denied", "decidedAt": centre.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ"), "retryAfterSeconds": 10}
    ref = GRANTS.ref(manifest["metadata"]["name"], centre.namespace)
    await centre.kube.patch_json(ref, {"status": status}, subresource=Subresource.Status)


async def _count(centre: Centre) -> int:
    return len((await centre.kube.list(GRANTS, namespace=centre.namespace)).items)


async def test_should_deny_what_it_does_not_understand(centre: Centre) -> None:
    """Stored by a newer version, with an operation that this one does not know."""
    manifest = manifest_of(request(centre.namespace, "a"), 0)
    await centre.kube.create(manifest)
    newer = Centre(_Newer(centre.kube), centre.namespace, centre.clock)  # type: ignore[arg-type]
    await newer.until_quiet(manifest["metadata"]["name"])
    stored = await centre.kube.get(GRANTS.ref(manifest["metadata"]["name"], centre.namespace))
    assert stored is not None
    assert stored["status"]["decision"] == "Denied"
    assert "spec.operation" in stored["status"]["message"]
    assert "'FormatDisk'" in stored["status"]["message"]
    assert (await centre.stored()).spec.in_flight == ()


class _Newer:
    """Shows every grant as one for an operation that is not on the list."""

    def __init__(self, kube: KubeClient) -> None:
        self._kube = kube

    def __getattr__(self, name: str) -> object:
        return getattr(self._kube, name)

    async def get(self, *arguments: object, **rest: object) -> Manifest | None:
        manifest = await self._kube.get(*arguments, **rest)  # type: ignore[arg-type]
        return {**manifest, "spec": manifest["spec"] | {"operation": "FormatDisk"}} if manifest else None


@pytest.fixture
async def process(crds: None, api_server: ApiServer, kube: KubeClient, clock: Clock) -> AsyncIterator[Process]:
    """What cluster_operator/main.py does with a RiskCentre. A long lease: who loses it exits hard, which would end pytest."""
    for manifest in ({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM_NAMESPACE}}, empty_ledger(SYSTEM_NAMESPACE)):
        try:
            await kube.create(manifest)
        except AlreadyExists:
            continue
    credentials = kubeconfig_credentials(api_server.admin_kubeconfig.read_text())
    elector = ElectorConfig("risk-test", lease_seconds=600, renew_deadline=400.0, retry=0.4)
    servers = Servers(
        {"meta": kube}, [KopfWatch(credentials, RiskCentre.WATCHED)], KubeLease(kube, namespace=SYSTEM_NAMESPACE, name="risk-test")
    )
    process = Process(ProcessConfig(elector, host="127.0.0.1", port=0), servers)
    process.watch(*RiskCentre.WATCHED)
    tools = LoopTools(kube, EventRecorder(kube, "risk", "test"), process.metrics)
    for controller in RiskCentre(tools, BusinessClusters(field_manager="test"), process.leadership, now=clock.now).controllers:
        process.add(controller, tools)
    task = asyncio.create_task(process.run())
    yield process
    process.stop()
    assert await task == 0


async def test_should_answer_and_settle_as_a_process(
    process: Process, kube: KubeClient, namespace: str, grants: KubeGrants, host: str
) -> None:
    """Everything real: the budget, the Cluster, the way into it; without a budget the answer is no."""
    refused = await _answered(grants, namespace, "z")
    assert isinstance(refused, Waiting)
    assert "no OperationBudget is about Drain of Machine z" in refused.message
    limit = budget(f"one.{namespace}", clusters={"names": [f"{namespace}/demo"]}).manifest()
    await kube.create(limit)
    first = await _answered(grants, namespace, "a")
    assert isinstance(first, Grant)
    second = await _answered(grants, namespace, "b")
    assert isinstance(second, Waiting)
    assert first.op_id in second.message
    await grants.settle(first, Outcome.Succeeded)
    for _ in range(300):
        status = (await stored_grant(kube, first)).status
        if status and status.settled_at:
            break
        await asyncio.sleep(0.1)
    assert status is not None
    assert status.message == "its holder reported Succeeded"
    events = await kube.list(Kind("events.k8s.io/v1", "Event"), namespace=namespace)
    assert {(event["reason"], event["note"]) for event in events.items} >= {
        ("BudgetDenied", second.message),
        ("Settled", "its holder reported Succeeded"),
    }
    assert process.cache.get(GRANTS.ref(first.op_id, namespace)) is None, "finished grants are not kept in memory"


async def _answered(grants: KubeGrants, namespace: str, host: str) -> Grant | Waiting:
    for _ in range(300):
        answer = await grants.ask(request(namespace, host))
        if isinstance(answer, Grant) or answer.denied:
            return answer
        await asyncio.sleep(0.1)
    raise AssertionError(f"never answered: {answer.message}")
