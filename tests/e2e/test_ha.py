"""A plane of three etcd members and two API servers, and what it survives while a client writes all the time: nothing acknowledged is ever lost.

The gap of each story is the longest time between two acknowledged writes of one client, as it sees it through the endpoint; it is printed.
"""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from meta_cluster.demo.kubectl import Kubectl, Manifest, wait_until
from operators.errors import KokError
from tests.e2e.ground import Fleet
from tests.e2e.writer import Writer

NAME = "ha"
PORT = 31466
PATIENCE = 300.0


def cluster(fleet: Fleet) -> Manifest:
    return {
        "apiVersion": "kok.dev/v1alpha1",
        "kind": "Cluster",
        "metadata": {"name": NAME, "namespace": NAME},
        "spec": {
            "packageVersion": fleet.lab["packageVersion"],
            "deletionProtection": False,
            "masters": {"replicas": 2},
            "etcd": {"members": 3, "storageGiB": 1},
            "network": {"podCIDR": "10.246.0.0/16", "serviceCIDR": "10.98.0.0/16"},
            "endpoint": {"type": "NodePort", "host": fleet.lab["node"], "port": PORT},
        },
    }


@dataclass(frozen=True, slots=True)
class Plane:
    """The plane under test, and ways to hurt it."""

    meta: Kubectl
    kubeconfig: Path

    def ready(self) -> bool:
        return self.meta.condition("clusters.kok.dev", NAME, "Ready", namespace=NAME).get("status") == "True"

    def message(self) -> str:
        return str(((self.meta.get("clusters.kok.dev", NAME, "-n", NAME) or {}).get("status") or {}).get("message"))

    def record(self) -> dict[str, str]:
        return dict((self.meta.get("configmap", f"{NAME}-etcd-bootstrap", "-n", NAME) or {}).get("data") or {})

    def members(self) -> int:
        return len(json.loads(self.record().get("members", "[]")))

    def pods(self, component: str) -> list[dict]:
        return self.meta.items("pods", "-n", NAME, "-l", f"app.kubernetes.io/component={component}")

    def whole(self, members: int) -> bool:
        """Ready, with so many members, and no volume besides theirs."""
        claims = self.meta.items("persistentvolumeclaims", "-n", NAME)
        return self.ready() and self.members() == members == len(claims) and json.loads(self.record()["added"]) == []

    def etcd_process(self, pod: dict) -> tuple[str, str]:
        """Node and process id of a member's etcd."""
        node, uid = pod["spec"]["nodeName"], pod["metadata"]["uid"].replace("-", "[-_]")
        script = f"for p in $(pgrep -x etcd); do grep -q 'pod{uid}' /proc/$p/cgroup && echo $p; done"
        found = subprocess.run(["docker", "exec", node, "sh", "-c", script], capture_output=True, text=True, timeout=60, check=False)
        return node, found.stdout.split()[0]

    def leader(self) -> dict:
        """The pod whose member leads, by its own metrics; empty while none says so. One that was just killed says nothing."""
        for pod in self.pods("etcd"):
            url = f"/api/v1/namespaces/{NAME}/pods/{pod['metadata']['name']}:2381/proxy/metrics"
            with suppress(KokError):
                if "\netcd_server_is_leader 1" in self.meta.run("get", "--raw", url, timeout=30):
                    return pod
        return {}

    def delete(self, kind: str, name: str) -> None:
        self.meta.run("delete", kind, name, "-n", NAME, "--wait=false")

    def wish(self, **etcd: object) -> None:
        self.meta.run("patch", "clusters.kok.dev", NAME, "-n", NAME, "--type=merge", "-p", json.dumps({"spec": {"etcd": etcd}}))


@pytest.fixture(scope="module")
def plane(fleet: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    with a_plane(fleet, cluster(fleet), tmp_path_factory.mktemp("ha") / "kubeconfig") as made:
        yield made


@contextmanager
def a_plane(fleet: Fleet, wish: Manifest, path: Path) -> Iterator[Plane]:
    """The plane of that wish (its name and namespace are NAME), whole; its admin's kubeconfig at that path. Removed afterwards."""
    fleet.meta.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAME}}, wish)
    made = Plane(fleet.meta, path)
    wait_until("ha Ready", made.ready, timeout=PATIENCE, tell=made.message)
    secret = fleet.meta.get("secret", f"{NAME}-kubeconfig", "-n", NAME)
    assert secret
    path.touch(mode=0o600)
    path.write_bytes(base64.b64decode(secret["data"]["kubeconfig"]))
    yield made
    fleet.meta.run("delete", "clusters.kok.dev", NAME, "-n", NAME, "--timeout=180s", timeout=190)
    fleet.meta.run("delete", "namespace", NAME, "--timeout=60s", timeout=70)


@contextmanager
def story(plane: Plane, what: str) -> Iterator[Writer]:
    """A writer while the body runs; nothing that was acknowledged may be missing afterwards."""
    with Writer(plane.kubeconfig) as writer:
        yield writer
        writer.until_more(10)
    lost = writer.lost()
    print(
        f"{what}: longest gap {writer.longest_gap:.1f} s, {len(writer.acknowledged)} writes acknowledged, {writer.failed} tries failed, {len(lost)} lost"
    )
    assert lost == []


def whole_again(plane: Plane, members: int = 3) -> None:
    wait_until(f"{members} members again", lambda: plane.whole(members), timeout=PATIENCE, tell=plane.message)


@pytest.mark.slow
def test_should_go_on_when_the_leader_of_etcd_is_killed(plane: Plane) -> None:
    with story(plane, "etcd leader SIGKILL"):
        leader = plane.leader()
        assert leader, "no member says that it leads"
        node, process = plane.etcd_process(leader)
        subprocess.run(["docker", "exec", node, "kill", "-KILL", process], check=True, timeout=30)
        wait_until("another leader", plane.leader, timeout=60)
        whole_again(plane)


@pytest.mark.slow
@pytest.mark.parametrize("component", ["etcd", "apiserver", "controller-manager"])
def test_should_get_a_deleted_pod_back(plane: Plane, component: str) -> None:
    with story(plane, f"pod of {component} deleted"):
        gone = plane.pods(component)[0]
        plane.delete("pod", gone["metadata"]["name"])
        wait_until(
            "it is gone", lambda: gone["metadata"]["uid"] not in {each["metadata"]["uid"] for each in plane.pods(component)}, timeout=120
        )
        whole_again(plane)


@pytest.mark.slow
def test_should_replace_a_member_that_lost_its_disk(plane: Plane) -> None:
    with story(plane, "volume and pod of a member deleted"):
        before = (plane.meta.get("persistentvolumeclaim", f"data-{NAME}-etcd-1", "-n", NAME) or {})["metadata"]["uid"]
        plane.delete("persistentvolumeclaim", f"data-{NAME}-etcd-1")
        plane.delete("pod", f"{NAME}-etcd-1")

        def is_new() -> bool:
            claim = plane.meta.get("persistentvolumeclaim", f"data-{NAME}-etcd-1", "-n", NAME)
            return bool(claim) and claim["metadata"]["uid"] != before

        wait_until("a new volume", is_new, timeout=120)
        whole_again(plane)


@pytest.mark.slow
def test_should_grow_and_shrink_while_it_is_used(plane: Plane) -> None:
    for members in (5, 3):
        with story(plane, f"to {members} members"):
            plane.wish(members=members)
            whole_again(plane, members)
    with story(plane, "3 -> 1, confirmed, and 1 -> 3"):
        plane.wish(members=1, confirmSingleMember=True)
        whole_again(plane, 1)
        plane.wish(members=3)
        whole_again(plane, 3)
