"""A cluster's and a host's whole life on the real thing: made, interrupted, refused, deleted, used again."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import replace

import pytest

from meta_cluster.demo import fleet as wish
from meta_cluster.demo.kubectl import Kubectl, wait_until
from meta_cluster.demo.stories import is_open, kok, on_host
from operators.errors import KokError
from tests.e2e.ground import Fleet, lab_status

STORY = "story"
PORT = 31455
CHILD_KINDS = "deployments,statefulsets,services,secrets,configmaps,persistentvolumeclaims,poddisruptionbudgets,networkpolicies,serviceaccounts,roles,rolebindings,pods,clusterreleases.kok.dev,operationgrants.kok.dev,leases"


def story_cluster(fleet: Fleet) -> dict:
    cluster = wish.cluster(fleet.lab["packageVersion"], host=fleet.lab["node"], port=PORT)
    cluster["metadata"] |= {"name": STORY, "namespace": STORY}
    del cluster["spec"]["machineAccess"]
    return cluster


def kill_operators(fleet: Fleet) -> None:
    """SIGKILL to every Cluster-Operator process: no graceful end, no lease given back."""
    node = fleet.meta.items("nodes")[0]["metadata"]["name"]
    subprocess.run(["docker", "exec", node, "pkill", "-KILL", "-f", "kok-cluster-operator"], check=True, timeout=20)


def left_of(fleet: Fleet, cluster: str) -> list[str]:
    """Every object in the story's namespace that kok made, and what may lie elsewhere."""
    inside = fleet.meta.items(CHILD_KINDS, "-n", cluster, "-l", f"kok.dev/cluster={cluster}")
    sealed = [one for one in fleet.meta.items("secrets", "-n", "kok-system") if one["metadata"]["name"].endswith(f".{cluster}.{cluster}")]
    volumes = [one for one in fleet.meta.items("persistentvolumes") if (one["spec"].get("claimRef") or {}).get("namespace") == cluster]
    return [f"{one['kind']} {one['metadata']['name']}" for one in [*inside, *sealed, *volumes]]


def test_should_finish_a_creation_after_sigkill_and_leave_nothing_behind_on_delete(fleet: Fleet) -> None:
    fleet.meta.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": STORY}}, story_cluster(fleet))
    wait_until("creation begun", lambda: fleet.meta.items("secrets", "-n", STORY, "-l", f"kok.dev/cluster={STORY}"), timeout=60, every=0.1)
    kill_operators(fleet)
    wait_until("story Ready", lambda: ready(fleet, STORY), timeout=180, tell=lambda: message(fleet, STORY))

    with pytest.raises(KokError, match=r"deletionProtection|protected"):
        fleet.meta.run("delete", "clusters.kok.dev", STORY, "-n", STORY, "--wait=false")
    assert ready(fleet, STORY), "a refused delete must change nothing"

    assert left_of(fleet, STORY), "the check below would pass on an empty list"
    fleet.meta.run("patch", "clusters.kok.dev", STORY, "-n", STORY, "--type=merge", "-p", '{"spec":{"deletionProtection":false}}')
    fleet.meta.run("delete", "clusters.kok.dev", STORY, "-n", STORY, "--timeout=120s", timeout=130)
    wait_until("nothing left", lambda: not left_of(fleet, STORY), timeout=60, tell=lambda: str(left_of(fleet, STORY)))
    fleet.meta.run("delete", "namespace", STORY, timeout=60)


def ready(fleet: Fleet, name: str) -> bool:
    return fleet.meta.condition("clusters.kok.dev", name, "Ready", namespace=name).get("status") == "True"


def message(fleet: Fleet, name: str) -> str:
    return str(((fleet.meta.get("clusters.kok.dev", name, "-n", name) or {}).get("status") or {}).get("message"))


SPARE = "demo-3"
SPARE_POOL = "spares"


@pytest.fixture
def spare(fleet: Fleet) -> Iterator[wish.LabHost]:
    """A host of the lab that no pool has yet."""
    kok("lab", "host", "add", SPARE)
    yield spare_host()
    fleet.meta.run("delete", "machinepools.kok.dev", SPARE_POOL, "-n", wish.NAMESPACE, "--ignore-not-found", "--timeout=180s", timeout=190)


def spare_host() -> wish.LabHost:
    found = next(one for one in lab_status()["hosts"] if one["name"] == SPARE)
    return wish.LabHost(found["name"], found["address"], tuple(found["hostKeys"]))


def spare_pool(*hosts: wish.LabHost) -> dict:
    pool = wish.pool(hosts)
    pool["metadata"]["name"] = SPARE_POOL
    return pool


FILES_OF_KOK = "find / -xdev ( -path /proc -o -path /sys -o -path /run -o -path /tmp -o -path /var/log -o -path /var/lib/systemd -o -path /var/lib/containerd -o -path /var/lib/dpkg -o -path /var/cache ) -prune -o ! -type d -print"


def files_on(host: str) -> set[str]:
    """Everything but folders on the host's disk outside logs, caches of the distribution and temporary places."""
    return set(on_host(host, *FILES_OF_KOK.split()).splitlines()) | set(
        on_host(host, "sh", "-c", "ls -d /var/cache/kok /etc/kok 2>/dev/null || true").split()
    )


def processes_on(host: str) -> set[str]:
    """Names of what runs there, but for what comes and goes with a look or a login."""
    return set(on_host(host, "ps", "-eo", "comm=").split()) - {"ps", "sshd", "sshd-session", "systemd", "(sd-pam)", "sh", "sleep"}


def test_should_open_a_host_clean_it_and_use_it_again(fleet: Fleet, spare: wish.LabHost) -> None:
    pristine, running = files_on(SPARE), processes_on(SPARE)
    for _ in range(2):
        fleet.meta.apply(spare_pool(spare))
        wait_until(f"{SPARE} open", lambda: is_open(fleet.business, SPARE), timeout=150, tell=lambda: machine_message(fleet.business))
        assert files_on(SPARE) - pristine, "the check below would pass on a host that was never touched"
        assert processes_on(SPARE) - running >= {"kubelet", "containerd"}

        fleet.meta.apply(spare_pool())
        wait_until(f"{SPARE} gone", lambda: gone(fleet, spare), timeout=180, tell=lambda: machine_message(fleet.business))
        assert files_on(SPARE) - pristine == set()
        assert processes_on(SPARE) - running == set()


def machine_message(business: Kubectl) -> str:
    return str(((business.get("machines.kok.dev", SPARE) or {}).get("status") or {}).get("message"))


def gone(fleet: Fleet, host: wish.LabHost) -> bool:
    claims = [one for one in fleet.meta.items("hostclaims.kok.dev") if one["spec"]["address"] == host.address]
    return not claims and not fleet.business.get("machines.kok.dev", SPARE) and not fleet.business.get("node", SPARE)


def test_should_stop_at_a_changed_host_key_and_go_on_when_it_is_pinned_again(fleet: Fleet, spare: wish.LabHost) -> None:
    wrong = replace(spare, host_keys=(fleet.lab["hosts"][0]["hostKeys"][0],))
    fleet.meta.apply(spare_pool(wrong))

    def says() -> str:
        conditions = ((fleet.business.get("machines.kok.dev", SPARE) or {}).get("status") or {}).get("conditions", ())
        return " ".join(f"{one['reason']} {one['message']}" for one in conditions)

    wait_until("HostKeyChanged", lambda: "HostKeyChanged" in says(), timeout=60, tell=says)
    assert not on_host(SPARE, "sh", "-c", "ls -d /etc/kok /var/cache/kok 2>/dev/null || true"), "nothing may be touched"
    assert all(is_open(fleet.business, name) for name in wish.HOSTS), "the others go on"
    fleet.meta.apply(spare_pool(spare))
    wait_until(f"{SPARE} open", lambda: is_open(fleet.business, SPARE), timeout=150, tell=says)
