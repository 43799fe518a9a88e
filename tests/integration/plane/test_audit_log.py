"""What the API server of a plane says on stdout of who took what off a node: enough to match kok's acts to its grants, and no more.

KOK_REGENERATE=1 pytest tests/integration/plane/test_audit_log.py  keeps what it wrote for tests/unit/meta_cluster/lab/test_audit.py.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from operators.adapters.kube import KubeClient
from operators.adapters.kube_credentials import kubeconfig_credentials
from operators.adapters.kube_danger import KubeDanger
from operators.api.risk import Operation, Target
from operators.domain.plane.certificates import LeafForm, LeafSpec
from operators.ports.grants import Grant, OpId
from operators.ports.kube import Conflict, Manifest
from operators.services.pki import issue_leaf
from tests.e2e.audit import acts_in, acts_without_leave
from tests.integration.cluster_operator.world_of_planes import GenerousGrants
from tests.integration.plane.rendered_plane import RenderedPlane, documents
from tests.unit.meta_cluster.lab.test_audit import RECORDED
from tests.unit.operators.domain.plane.rendered import a_cluster

pytestmark = pytest.mark.integration
NODE: Manifest = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "w-1"}}
POD: Manifest = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "web", "namespace": "default"},
    "spec": {"nodeName": "w-1", "terminationGracePeriodSeconds": 0, "containers": [{"name": "web", "image": "web"}]},
}


@pytest.fixture(scope="module")
def plane() -> Iterator[RenderedPlane]:
    """etcd and an API server with what goes inside; controllers, so that there are service accounts."""
    running = RenderedPlane(a_cluster())
    try:
        assert running.start_member("demo-etcd-0").returncode == 0
        for component in ("apiserver", "controller-manager"):
            running.start(component)
        running.wait("readiness", lambda: running.probe("apiserver", "readinessProbe", running.address) == 200)
        applied = running.kubectl("demo-operator-kubeconfig", "apply", "--server-side", "-f", "-", given=documents(running.inside()))
        assert applied.returncode == 0, applied.stderr
        yield running
    finally:
        running.close()


@pytest.fixture
async def danger(plane: RenderedPlane) -> AsyncIterator[KubeDanger]:
    """The Machine-Operator's hands, with its own identity."""
    kubeconfig = base64.b64decode(plane.secrets["demo-machine-operator-kubeconfig"].data["kubeconfig"]).decode()
    client = KubeClient(kubeconfig_credentials(kubeconfig), field_manager="kok-machine-operator")
    yield KubeDanger(client, GenerousGrants())
    await client.close()


def audited(plane: RenderedPlane) -> list[str]:
    return [line for line in plane.children["apiserver"].log.read_text().splitlines() if '"apiVersion":"audit.k8s.io/v1"' in line]


def grant(operation: Operation) -> Grant:
    return Grant(OpId(f"{operation.value.lower()}-w-1"), "demo", "uid", operation, Target(kind="Machine", name="w-1", cluster="demo"))


def admin(plane: RenderedPlane, *words: str, given: str = "") -> None:
    done = plane.kubectl("demo-kubeconfig", *words, given=given)
    assert done.returncode == 0, done.stderr


async def cordoned(danger: KubeDanger) -> None:
    """Controllers write to a new Node, too; who meets them comes again, as the operator's next pass does."""
    for _ in range(9):
        with contextlib.suppress(Conflict):
            return await danger.cordon("w-1", grant(Operation.Drain), owner="decommission")
    await danger.cordon("w-1", grant(Operation.Drain), owner="decommission")


async def test_should_write_down_who_took_what_off_a_node_and_nothing_else(plane: RenderedPlane, danger: KubeDanger) -> None:
    plane.wait("a service account", lambda: plane.kubectl("demo-kubeconfig", "get", "serviceaccount", "default").returncode == 0)
    admin(plane, "create", "-f", "-", given=documents((NODE, POD)))
    admin(plane, "create", "secret", "generic", "hidden", "--from-literal=password=hunter2")
    admin(plane, "delete", "secret", "hidden")
    began = datetime.now(UTC)

    await cordoned(danger)
    await danger.evict_pods("w-1", grant(Operation.Drain))
    await danger.delete_node("w-1", grant(Operation.DeleteMachine))

    plane.wait("the last line", lambda: len(acts_in([], began, {"demo": audited(plane)})) == 3)
    lines = audited(plane)
    if os.environ.get("KOK_REGENERATE") == "1":
        RECORDED.write_text("".join(f"{line}\n" for line in lines))
    assert [(act.verb, act.resource, act.name, act.grant) for act in acts_in([], began, {"demo": lines})] == [
        ("patch", "nodes", "w-1", ""),
        ("create", "pods/eviction", "web", "drain-w-1"),
        ("delete", "nodes", "w-1", ""),
    ]
    assert len(acts_without_leave([], began, {"demo": lines})) == 3
    events = [json.loads(line) for line in lines]
    assert {event["objectRef"]["resource"] for event in events} <= {"nodes", "pods", "machines"}
    assert "hunter2" not in plane.children["apiserver"].log.read_text()
    assert all(len(line) < 8192 for line in lines)


def said_of(plane: RenderedPlane, name: str) -> list[dict[str, Any]]:
    events = [json.loads(line) for line in audited(plane)]
    return [event for event in events if event["objectRef"].get("name") == name]


async def test_should_write_down_a_deletion_by_a_person_and_none_by_a_kubelet(plane: RenderedPlane) -> None:
    plane.wait("a service account", lambda: plane.kubectl("demo-kubeconfig", "get", "serviceaccount", "default").returncode == 0)
    url = f"https://{plane.address}:6443"
    spec = LeafSpec("kubelet", LeafForm.Kubeconfig, "", "demo-ca", "system:node:w-1", "system:nodes", server=url, user="kubelet")
    plane.secrets = {**plane.secrets, "kubelet": issue_leaf(spec, plane.secrets["demo-ca"].data, datetime.now(UTC))}
    pod = {**POD, "metadata": {"name": "ends", "namespace": "default"}}
    for whose in ("kubelet", "demo-kubeconfig"):
        admin(plane, "create", "-f", "-", given=documents((pod,)))
        done = plane.kubectl(whose, "delete", "pod", "ends", "--grace-period=0", "--force", "--wait=false")
        assert done.returncode == 0, done.stderr

    plane.wait("its line", lambda: bool(said_of(plane, "ends")))
    (event,) = said_of(plane, "ends")
    assert (event["verb"], event["objectRef"]["resource"]) == ("delete", "pods")
    assert "kok:admin" in json.dumps(event["user"])
    assert "requestObject" not in event
