"""A meta cluster of three nodes: a plane spreads over them, and what was on a node that is confirmed to be gone is made anew elsewhere."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from meta_cluster.demo.kubectl import wait_until
from meta_cluster.demo.stories import kok
from operators.errors import KokError
from tests.e2e.ground import Fleet
from tests.e2e.test_ha import Plane, a_plane, story, whole_again

pytestmark = pytest.mark.slow

NODES = 3
OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"


@pytest.fixture(scope="module")
def plane(fleet: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    """Made after the lab has its three meta nodes; they stay, as a second `kok lab up` would leave them."""
    kok("lab", "up", "--meta-nodes", str(NODES))
    with a_plane(fleet, tmp_path_factory.mktemp("spread") / "kubeconfig") as made:
        yield made


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


def test_should_make_anew_what_was_on_a_node_only_when_it_is_confirmed_to_be_gone(plane: Plane) -> None:
    """Its member was on a volume of that node, so it is replaced; the other masters are made elsewhere."""
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
