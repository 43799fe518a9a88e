"""A node package by rollout, on real hosts: one whose kubelet does not start stops after its first machine and is taken back; a good one goes on.

The other machine's pods are watched the whole time: the same container of the same process.
"""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import pytest

from meta_cluster.demo import fleet as wish
from meta_cluster.demo.kubectl import wait_until
from meta_cluster.demo.stories import is_open, kok, on_host
from tests.e2e.breakers import close_breaker
from tests.e2e.ground import Fleet
from tests.e2e.test_machine_packages import followed
from tests.e2e.test_rollout import reaches

pytestmark = pytest.mark.slow

SETTINGS = "/etc/kubernetes/kubelet.yaml"
MEMBER = f"{wish.NAMESPACE}/{wish.POOL}"


def kubelet(fleet: Fleet, word: str, setting: str) -> str:
    """The kubelet package that the cluster's version names, with one more setting, under a new name."""
    package = followed(fleet, "kubelet")
    spec = json.loads(json.dumps(package["spec"]))
    next(each for each in spec["files"] if each["path"] == SETTINGS)["content"] += f"{setting}\n"
    name = f"kubelet-{spec['version']}-{word}-{uuid4().hex[:6]}"
    fleet.meta.apply({"apiVersion": package["apiVersion"], "kind": package["kind"], "metadata": {"name": name}, "spec": spec})
    return name


def rollout(fleet: Fleet, package: str) -> str:
    spec = {
        "change": {"machinePackageVersion": package},
        "selector": {"pools": [MEMBER]},
        "machines": {"maxUnavailable": 1},
        "stages": [{"name": "all", "pools": [MEMBER], "soakSeconds": 60, "memberDeadlineSeconds": 300}],
        "analysis": {"windowSeconds": 60},
    }
    fleet.meta.apply({"apiVersion": "kok.dev/v1alpha1", "kind": "FleetRollout", "metadata": {"name": package}, "spec": spec})
    return package


def kubelets(fleet: Fleet) -> dict[str, str]:
    """Host -> the kubelet package that it has and that matches."""
    found = {}
    for host in wish.HOSTS:
        packages = (fleet.business.get("machines.kok.dev", host) or {})["status"]["packages"]
        found[host] = next((str(one["wanted"]) for one in packages if one["component"] == "kubelet" and one["matches"]), "")
    return found


def pods(fleet: Fleet) -> dict[str, Any]:
    """Every pod's containers: which, since when, how often restarted; by node."""
    found: dict[str, Any] = {}
    for pod in fleet.business.items("pods", "-A"):
        if pod["metadata"]["namespace"] == "kok-probe":
            continue
        states = [(one.get("containerID"), one.get("restartCount")) for one in pod["status"].get("containerStatuses", ())]
        found.setdefault(pod["spec"].get("nodeName", ""), {})[pod["metadata"]["name"]] = states
    return found


def written(host: str) -> str:
    """When the kubelet's settings were written on the host."""
    return on_host(host, "stat", "-c", "%y", SETTINGS)


def all_open(fleet: Fleet) -> bool:
    return all(is_open(fleet.business, host) for host in wish.HOSTS)


def test_should_stop_a_kubelet_that_does_not_start_after_one_machine_and_take_it_back(fleet: Fleet) -> None:
    before, running, settings = kubelets(fleet), pods(fleet), {host: written(host) for host in wish.HOSTS}
    bad = kubelet(fleet, "bad", "cpuManagerPolicy: nonsense")
    shown = reaches(fleet, rollout(fleet, bad), "Bad")
    print(json.dumps(shown["stages"], indent=1))
    wait_until("all are back", lambda: kubelets(fleet) == before and all_open(fleet), timeout=300, tell=lambda: str(kubelets(fleet)))
    touched = {host for host in wish.HOSTS if written(host) != settings[host]}
    assert len(touched) == 1, "one machine was changed and put back; nobody came near the other"
    assert pods(fleet) == running, "pods on both machines never noticed"
    marked = fleet.meta.get("machinepackageversions.kok.dev", bad) or {}
    assert "bad" in json.dumps(marked["metadata"].get("annotations", {})), "nobody takes it by mistake afterwards"
    close_breaker(fleet, "machines-per-pool", f"pool {MEMBER}")


def test_should_bring_a_good_kubelet_to_all_machines_and_take_it_back(fleet: Fleet) -> None:
    before, running = kubelets(fleet), pods(fleet)
    good = kubelet(fleet, "good", "nodeStatusReportFrequency: 4m0s")
    shown = reaches(fleet, rollout(fleet, good), "Good")
    print(json.dumps(shown["stages"], indent=1))
    assert set(kubelets(fleet).values()) == {good}
    kok("rollout", "undo", good, "--reason", "the story goes back", f"--kubeconfig={fleet.lab['kubeconfig']}")
    wait_until("all are back", lambda: kubelets(fleet) == before and all_open(fleet), timeout=300, tell=lambda: str(kubelets(fleet)))
    assert pods(fleet) == running, "no container was restarted"
