"""A meta cluster of three nodes: a plane spreads over them, and what was on a node that is confirmed to be gone is made anew elsewhere."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest

from meta_cluster.demo import fleet as wish
from meta_cluster.demo.kubectl import Kubectl, wait_until
from meta_cluster.demo.stories import is_open, kok, on_host
from operators.errors import KokError
from tests.e2e.ground import Fleet, lab_status
from tests.e2e.test_ha import NAME, PORT, Plane, a_plane, cluster, story, whole_again

pytestmark = pytest.mark.slow

NODES = 3
HOST = "proxied"
SILENCE = 90.0
"""Seconds; longer than GRACE."""
GRACE = 40.0
"""Seconds; a node whose kubelet is not heard for so long is NotReady."""
OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"


@pytest.fixture(scope="module")
def host(fleet: Fleet) -> Iterator[wish.LabHost]:
    """A host that stays until the plane is gone."""
    kok("lab", "host", "add", HOST)
    found = next(one for one in lab_status()["hosts"] if one["name"] == HOST)
    yield wish.LabHost(HOST, found["address"], tuple(found["hostKeys"]))
    kok("lab", "host", "remove", HOST)


@pytest.fixture(scope="module")
def plane(fleet: Fleet, host: wish.LabHost, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    """Made after the lab has its three meta nodes; they stay, as a second `kok lab up` would leave them. Nodes reach it by all three."""
    kok("lab", "up", "--meta-nodes", str(NODES))
    first, *others = sorted(addresses(fleet), key=lambda address: address != fleet.lab["node"])
    wanted = cluster(fleet)
    wanted["spec"]["endpoint"] |= {"host": first, "additionalHosts": others, "konnectivityPort": PORT + 1}
    wanted["spec"]["machineAccess"] = {"sshKeySecretName": wish.SSH_SECRET}
    secret = wish.ssh_secret(Path(fleet.lab["sshKey"]).read_text())
    secret["metadata"]["namespace"] = NAME
    fleet.meta.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAME}}, secret)
    with a_plane(fleet, wanted, tmp_path_factory.mktemp("spread") / "kubeconfig") as made:
        yield made


def addresses(fleet: Fleet) -> list[str]:
    """Where each meta node is reached."""
    found = [each["status"]["addresses"] for each in fleet.meta.items("nodes")]
    return [one["address"] for each in found for one in each if one["type"] == "InternalIP"]


def test_should_spread_members_and_api_servers_over_the_nodes(plane: Plane) -> None:
    assert len({pod["spec"]["nodeName"] for pod in plane.pods("etcd")}) == NODES
    assert len({pod["spec"]["nodeName"] for pod in plane.pods("apiserver")}) == 2


@contextmanager
def node_off(plane: Plane, node: str) -> Iterator[None]:
    """That meta node is switched off; afterwards it is back, and nothing says of it that it is gone."""
    subprocess.run(["docker", "stop", "--time=1", node], check=True, timeout=60)
    try:
        yield
    finally:
        with suppress(KokError):  # it was not tainted
            plane.meta.run("taint", "node", node, f"{OUT_OF_SERVICE}-")
        subprocess.run(["docker", "start", node], check=True, timeout=60)
        plane.meta.run("wait", "--for=condition=Ready", "node", node, "--timeout=180s", timeout=190)


@pytest.fixture
def node(fleet: Fleet, plane: Plane, host: wish.LabHost) -> Iterator[Kubectl]:
    """The host as a node of the plane, through its own proxy; kubectl against the plane. The only one, so it also leaves as such."""
    pool = wish.pool([host])
    pool["metadata"]["namespace"], pool["spec"]["clusterName"] = NAME, NAME
    fleet.meta.apply(pool)
    business = Kubectl(fleet.meta.binary, plane.kubeconfig)
    wait_until("the node is open", lambda: is_open(business, HOST), timeout=300, tell=plane.message)
    yield business
    fleet.meta.run("delete", "machinepools.kok.dev", wish.POOL, "-n", NAME, "--timeout=180s", timeout=190)


def test_should_keep_kubelets_ready_when_a_meta_node_that_they_talk_to_dies(plane: Plane, node: Kubectl) -> None:
    """The node's proxy holds connections to a meta node; that one is switched off for longer than a node may be silent.

    This test asks through one address, so some of its own questions go to the API server that is gone: what counts is that Ready never changed.
    """
    workers = {each["status"]["addresses"][0]["address"]: each["metadata"]["name"] for each in plane.meta.items("nodes")}
    talked_to = [address for address in workers if address != kept(plane) and connections(address)]
    assert talked_to, "the proxy talks to more than the first meta node"
    before = ready_since(plane, node)
    with story(plane, f"meta node {workers[talked_to[0]]} off, which {HOST} talked to"), node_off(plane, workers[talked_to[0]]):
        time.sleep(SILENCE)
        assert ready_since(plane, node) == before
        assert silence(node) < GRACE, "whoever judges nodes may have been on that meta node, so the kubelet's own word is asked for, too"
        assert not connections(talked_to[0])
        assert node.run("get", "--raw", f"/api/v1/nodes/{HOST}/proxy/healthz", timeout=30) == "ok", "konnectivity goes on, too"
    whole_again(plane)


def test_should_make_anew_what_was_on_a_node_only_when_it_is_confirmed_to_be_gone(plane: Plane) -> None:
    """Its member was on a volume of that node, so it is replaced; the other masters are made elsewhere.

    The last story of this file: on what is left two members may share a node, and nothing moves them when the third is back.
    """
    workers = [name for each in plane.meta.items("nodes") if "control-plane" not in (name := each["metadata"]["name"])]
    on = {pod["spec"]["nodeName"]: pod["metadata"]["name"] for pod in plane.pods("etcd") if pod["spec"]["nodeName"] in workers}
    assert on, "three members on three nodes"
    node, member = next(iter(on.items()))
    old = {pod["metadata"]["uid"] for pod in plane.pods("etcd") if pod["metadata"]["name"] == member}
    with story(plane, f"meta node {node} off and confirmed to be gone"), node_off(plane, node):
        wait_until("the member is missed", lambda: not plane.ready(), timeout=120, tell=plane.message)
        time.sleep(60)
        assert old <= {pod["metadata"]["uid"] for pod in plane.pods("etcd")}, "a node that is only silent may come back with its data"
        plane.meta.run("taint", "node", node, f"{OUT_OF_SERVICE}=nodeshutdown:NoExecute")
        whole_again(plane)
        assert not old & {pod["metadata"]["uid"] for pod in plane.pods("etcd")}
        assert all(pod["spec"]["nodeName"] != node for component in ("etcd", "apiserver") for pod in plane.pods(component))


def ready_since(plane: Plane, node: Kubectl) -> str:
    """Since when the node is Ready without a break."""
    wait_until("the node is read", lambda: bool(node.condition("node", HOST, "Ready")), timeout=60, tell=plane.message)
    found = node.condition("node", HOST, "Ready")
    assert found["status"] == "True"
    return str(found["lastTransitionTime"])


def silence(node: Kubectl) -> float:
    """Seconds since the kubelet renewed its lease."""
    renewed = node.run("get", "lease", HOST, "-n", "kube-node-lease", "-o", "jsonpath={.spec.renewTime}", timeout=30)
    return (datetime.now(UTC) - datetime.fromisoformat(renewed)).total_seconds()


def kept(plane: Plane) -> str:
    """The address that clients outside (this test) use; it stays."""
    return str((plane.meta.get("clusters.kok.dev", NAME, "-n", NAME) or {})["spec"]["endpoint"]["host"])


def connections(address: str) -> int:
    """Established connections of the host's proxy to the API servers' port at that meta node."""
    return on_host(HOST, "cat", "/proc/net/tcp").upper().count(f"{wire(address)}:{PORT:04X} 01")


def wire(address: str) -> str:
    """As /proc/net/tcp writes it: hexadecimal, the last byte first."""
    return "".join(f"{int(part):02X}" for part in reversed(address.split(".")))
