"""What `make demo` promises: a fleet that runs, heals, comes to rest, and is not disturbed by being asked for again."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from meta_cluster.demo import fleet as wish
from meta_cluster.demo.kubectl import Kubectl
from meta_cluster.demo.stories import is_open, kok
from tests.e2e.ground import ROOT, Fleet

KOK_KINDS_META = (
    "clusters", "clusterpackageversions", "clusterreleases", "fleetrollouts", "hostclaims", "ledgers", "machinepackageversions",
    "machinepools", "machinepoolreleases", "operationbudgets", "operationgrants",
)  # fmt: skip
PLANE_KINDS = (
    "deployments", "statefulsets", "daemonsets", "replicasets", "pods", "jobs", "services", "secrets", "configmaps", "persistentvolumeclaims",
    "poddisruptionbudgets", "networkpolicies", "serviceaccounts", "roles", "rolebindings", "controllerrevisions",
)  # fmt: skip
INSIDE_KINDS = (*PLANE_KINDS, "machines.kok.dev", "nodes", "persistentvolumes", "storageclasses")
EVERYWHERE = (
    "namespaces", "clusterroles", "clusterrolebindings", "customresourcedefinitions", "validatingadmissionpolicies",
    "validatingadmissionpolicybindings",
)  # fmt: skip
PROBES = "kok-probe"
"""Namespace of kok's own probe pods: one comes and goes every ten minutes, by design (ADR 0012)."""
BUDGETING = ("Ledger ", "OperationBudget ")
IDLE_SECONDS = 60


def versions(kubectl: Kubectl, kinds: tuple[str, ...], *scope: str) -> dict[str, Any]:
    """What a write would change, per object; one kubectl for all kinds. Left out: Leases, which are renewed all the time, as they are no kind
    of these; of Nodes the heartbeats of their kubelets (spec and metadata are compared); probe pods.
    """
    found: dict[str, Any] = {}
    for item in kubectl.items(",".join(kinds), *scope):
        meta = item["metadata"]
        if meta.get("namespace") == PROBES:
            continue
        name = f"{item['kind']} {meta.get('namespace', '')}/{meta['name']}"
        exempt = item["kind"] == "Node"
        found[name] = (meta.get("annotations"), meta.get("labels"), item["spec"]) if exempt else meta["resourceVersion"]
    return found


def events_of_ours(kubectl: Kubectl) -> dict[str, Any]:
    """Events that kok recorded, and how often."""
    found = kubectl.items("events.events.k8s.io", "-A")
    ours = [each for each in found if str(each.get("reportingController") or "").startswith("kok")]
    return {f"Event {each['metadata']['name']}": each["metadata"]["resourceVersion"] for each in ours}


def everything(fleet: Fleet) -> dict[str, Any]:
    kok_kinds = tuple(f"{kind}.kok.dev" for kind in KOK_KINDS_META)
    return {
        "kinds": versions(fleet.meta, kok_kinds, "-A"),
        "plane": versions(fleet.meta, PLANE_KINDS, "-n", wish.NAMESPACE),
        "system": versions(fleet.meta, PLANE_KINDS, "-n", "kok-system"),
        "everywhere": versions(fleet.meta, EVERYWHERE),
        "inside": versions(fleet.business, INSIDE_KINDS, "-A"),
        "everywhere inside": versions(fleet.business, EVERYWHERE),
        "events": events_of_ours(fleet.meta),
        "events inside": events_of_ours(fleet.business),
    }


def test_should_leave_two_open_nodes_and_a_web_pod_that_answers(fleet: Fleet) -> None:
    assert all(is_open(fleet.business, name) for name in wish.HOSTS)
    assert "answered demo-2 as web.default.svc" in fleet.transcript
    for broken in ("apiserver pod deleted", "demo-apiserver-tls emptied", "containerd stopped on demo-1", "edited on demo-2"):
        assert broken in fleet.transcript


def test_should_write_nothing_while_idle(fleet: Fleet) -> None:
    wait_for_rest(fleet)
    before, counted = everything(fleet), operations_in_windows(fleet)
    assert all(before.values()), "nothing was compared"
    time.sleep(IDLE_SECONDS)
    after = everything(fleet)
    if operations_in_windows(fleet) < counted:  # an older lab: what was done an hour ago is free again, and budgets say so
        for found in (before, after):
            found["kinds"] = {name: version for name, version in found["kinds"].items() if not name.startswith(BUDGETING)}
    for events in ("events", "events inside"):  # the API server forgets them after an hour; that is nothing of ours
        before[events] = {name: version for name, version in before[events].items() if name in after[events]}
    assert after == before


def operations_in_windows(fleet: Fleet) -> set[str]:
    """What the Ledger counts against rates: it leaves when its window is over."""
    ledger = fleet.meta.get("ledgers.kok.dev", "ledger", "-n", "kok-system") or {}
    return {each["opId"] for each in ledger["spec"]["log"]}


def wait_for_rest(fleet: Fleet, quiet: float = 10.0) -> None:
    """The healing of the last breakage may still be settling when the demo ends: wait until so many seconds pass without a change, bounded."""
    deadline = time.monotonic() + 120
    seen = everything(fleet)
    while time.monotonic() < deadline:
        time.sleep(quiet)
        now = everything(fleet)
        if now == seen:
            return
        seen = now


TOUCHED = {
    "kinds": ("meta", "operationbudgets.kok.dev", "all-changes", ""),
    "plane": ("meta", "persistentvolumeclaims", "data-demo-etcd-0", wish.NAMESPACE),
    "system": ("meta", "services", "kok-artifacts", "kok-system"),
    "everywhere": ("meta", "clusterroles", "kok-cluster-operator", ""),
    "inside": ("business", "daemonsets", "kube-proxy", "kube-system"),
    "everywhere inside": ("business", "customresourcedefinitions", "machines.kok.dev", ""),
}


@pytest.mark.parametrize("group", TOUCHED)
def test_should_notice_a_write_of_ours_if_there_were_one(fleet: Fleet, group: str) -> None:
    """Positive control of the test above: one annotation is enough to be seen, in every group."""
    server, kind, name, namespace = TOUCHED[group]
    kubectl, scope = getattr(fleet, server), ("-n", namespace) if namespace else ()
    before = everything(fleet)
    kubectl.run("annotate", kind, name, *scope, "probe=1")
    assert everything(fleet)[group] != before[group]
    kubectl.run("annotate", kind, name, *scope, "probe-")


def test_should_notice_an_event_of_ours_if_there_were_one(fleet: Fleet) -> None:
    """Also a part of the control: the demo's healing was told in events."""
    assert events_of_ours(fleet.meta)
    assert events_of_ours(fleet.business)


def running_version(fleet: Fleet) -> str:
    return str((fleet.meta.get("clusters.kok.dev", wish.CLUSTER, "-n", wish.NAMESPACE) or {})["spec"]["packageVersion"])


def test_should_change_no_resource_version_when_everything_is_applied_again(fleet: Fleet) -> None:
    """What a person commits, and the installation: CRDs, rights, admission, package versions, budgets, operators."""
    hosts = [wish.LabHost(h["name"], h["address"], tuple(h["hostKeys"])) for h in fleet.lab["hosts"] if h["name"] in wish.HOSTS]
    key = wish.ssh_secret(Path(fleet.lab["sshKey"]).read_text())
    wishes = (wish.namespace(), key, wish.cluster(running_version(fleet), host=fleet.lab["node"], port=31443), wish.pool(hosts))
    wait_for_rest(fleet, 4.0)  # from what the test above wrote
    before = everything(fleet)
    fleet.meta.apply(*wishes)
    fleet.business.apply(*wish.web())
    said = kok("lab", "up")
    time.sleep(5)
    assert everything(fleet) == before, said


def test_should_run_again_and_find_everything_done(fleet: Fleet) -> None:
    done = subprocess.run(["make", "demo"], cwd=ROOT, stdout=subprocess.PIPE, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout
    assert all(is_open(fleet.business, name) for name in wish.HOSTS)
