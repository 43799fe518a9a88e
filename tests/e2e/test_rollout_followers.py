"""A version of planes that brings another kubelet, on real hosts: a Cluster counts with its hosts, forward and back, and goes back with a breaker open.

Nothing is waited for after the end is told: what has to be true then is true.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from uuid import uuid4

import pytest

from meta_cluster.demo import fleet as wish
from meta_cluster.demo.kubectl import wait_until
from meta_cluster.demo.stories import kok
from tests.e2e.breakers import close_breaker, phase_of_breaker
from tests.e2e.ground import Fleet
from tests.e2e.test_machine_packages import followed
from tests.e2e.test_rollout import OF_ONE_PLANE, reaches, status
from tests.e2e.test_rollout_of_machines import MEMBER, all_open, kubelet, kubelets, pods, written

pytestmark = pytest.mark.slow

DEMO = f"{wish.NAMESPACE}/{wish.CLUSTER}"
LABEL = "follows"


@pytest.fixture
def labelled(fleet: Fleet) -> Iterator[Fleet]:
    """The demo's Cluster alone is selected."""
    fleet.meta.run("label", "clusters.kok.dev", wish.CLUSTER, "-n", wish.NAMESPACE, f"{LABEL}=yes", "--overwrite")
    yield fleet
    fleet.meta.run("label", "clusters.kok.dev", wish.CLUSTER, "-n", wish.NAMESPACE, f"{LABEL}-")


def version_with(fleet: Fleet, package: str) -> str:
    """The lab's package version with that kubelet in place of its own, under a new name."""
    base = fleet.meta.get("clusterpackageversions.kok.dev", fleet.lab["packageVersion"]) or {}
    spec, own = json.loads(json.dumps(base["spec"])), followed(fleet, "kubelet")["metadata"]["name"]
    spec["machinePackages"] = [package if name == own else name for name in spec["machinePackages"]]
    name = f"follows-{uuid4().hex[:6]}"
    fleet.meta.apply({"apiVersion": "kok.dev/v1alpha1", "kind": "ClusterPackageVersion", "metadata": {"name": name}, "spec": spec})
    return name


def rollout(fleet: Fleet, version: str) -> str:
    spec = {
        "change": {"clusterPackageVersion": version},
        "selector": {"matchLabels": {LABEL: "yes"}},
        "stages": [{"name": "canary", "clusters": [DEMO], "soakSeconds": 30, "memberDeadlineSeconds": 300}],
        "analysis": {"windowSeconds": 60},
    }
    fleet.meta.apply({"apiVersion": "kok.dev/v1alpha1", "kind": "FleetRollout", "metadata": {"name": version}, "spec": spec})
    return version


def test_should_tell_good_and_undone_when_the_hosts_have_it(labelled: Fleet) -> None:
    before, running = kubelets(labelled), pods(labelled)
    good = kubelet(labelled, "follows", "nodeStatusReportFrequency: 4m0s")
    name = rollout(labelled, version_with(labelled, good))
    wait_until(
        "its hosts are waited for", lambda: "brings it to its hosts" in status(labelled, name).get("message", ""), timeout=300, every=0.5
    )
    reaches(labelled, name, "Good")
    assert set(kubelets(labelled).values()) == {good}
    print(kok("rollout", "undo", name, "--reason", "the story goes back", f"--kubeconfig={labelled.lab['kubeconfig']}"))
    reaches(labelled, name, "Undone")
    assert kubelets(labelled) == before
    assert all_open(labelled)
    assert pods(labelled) == running, "no container was restarted"


def test_should_stop_a_version_whose_kubelet_does_not_start_at_the_first_host_and_tell_bad_when_it_is_back(labelled: Fleet) -> None:
    before, running, settings = kubelets(labelled), pods(labelled), {host: written(host) for host in wish.HOSTS}
    bad = kubelet(labelled, "stays-down", "cpuManagerPolicy: nonsense")
    name = rollout(labelled, version_with(labelled, bad))
    shown = reaches(labelled, name, "Bad")
    print(json.dumps(shown["stages"], indent=1))
    assert kubelets(labelled) == before, "an end is told when the hosts are back"
    assert all_open(labelled)
    assert phase_of_breaker(labelled, OF_ONE_PLANE, f"cluster {DEMO}") != "Closed", "it went back although a breaker was open"
    touched = {host for host in wish.HOSTS if written(host) != settings[host]}
    assert len(touched) == 1, "one machine was changed and put back; nobody came near the other"
    assert pods(labelled) == running, "pods on both machines never noticed"
    close_breaker(labelled, OF_ONE_PLANE, f"cluster {DEMO}")
    if phase_of_breaker(labelled, "machines-per-pool", f"pool {MEMBER}") != "Closed":
        close_breaker(labelled, "machines-per-pool", f"pool {MEMBER}")
