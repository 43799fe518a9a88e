"""Chains of reasons go from the condition down to the pod event, the SSH error or the differing file, and say nothing twice."""

from dataclasses import replace

import pytest

from meta_cluster.cli.picture import Business
from meta_cluster.cli.reasons import Chain, cluster_chain, machine_chain, missing_machine_chain, object_chain
from tests.unit.meta_cluster.cli import pictures as p

NODE_NOT_READY = {
    "metadata": {"name": "demo-1"},
    "status": {"conditions": [{"type": "Ready", "status": "False", "reason": "KubeletNotReady", "message": "container runtime is down"}]},
}


def test_should_say_that_nothing_is_wrong() -> None:
    chain = cluster_chain(p.WELL, p.NOW)
    assert chain.well
    assert chain.text() == "Cluster demo/demo is as wished; nothing is wrong"


def test_should_not_call_well_what_its_machines_are_still_to_follow() -> None:
    waits = {"component": "kubelet", "from": "kubelet-1", "to": "kubelet-2", "effect": "Drain", "hosts": 2, "waits": "demo-1 goes first"}
    cluster = {**p.WELL.cluster, "status": {**p.WELL.cluster["status"], "pending": [waits]}}
    assert cluster_chain(replace(p.WELL, cluster=cluster), p.NOW).text().splitlines()[:3] == [
        "Cluster demo/demo is ready; of its machines some are still to change",
        "  because kubelet: kubelet-1 -> kubelet-2, drains the node first, 2 hosts, demo-1 goes first",
        "Next: nothing: it goes on by itself; ask again in a minute",
    ]


AHEAD = "rollout try1 brought it to new, past the spec, which still wishes old: commit spec.packageVersion new"


def test_should_not_call_well_what_a_condition_says_is_not_as_wished() -> None:
    conditions = (*p.READY_CONDITIONS[:-1], p.condition("ReleaseMatchesWish", "False", "RolloutAhead", AHEAD))
    chain = cluster_chain(replace(p.WELL, cluster=p.cluster(*conditions)), p.NOW)
    assert not chain.well
    assert chain.text().splitlines()[:2] == ["Cluster demo/demo is ready, but not as wished", f"  because {AHEAD}"]
    assert "commit the version that is authorised" in chain.next


def test_should_not_say_that_a_pool_was_not_looked_at_beside_its_cause() -> None:
    words = "spec.packages.extra: MachinePackageVersion nope does not exist"
    conditions = [p.condition("Ready", "False", "PackageMissing", words, ago=26)]
    head = object_chain({**p.POOL, "status": {"message": words, "conditions": conditions}}, p.NOW).head
    assert head == "MachinePool workers is not ready (PackageMissing, 26s)"


def test_should_not_call_well_what_has_a_pool_that_is_not() -> None:
    words = "spec.packages.extra: MachinePackageVersion nope does not exist"
    conditions = [p.condition("Ready", "False", "PackageMissing", words), p.condition("Stalled", "True", "PackageMissing", words)]
    ill = {**p.POOL, "status": {"message": words, "conditions": conditions}}
    for pools in ([p.POOL, ill], [{**ill, "status": {**ill["status"], "conditions": conditions[:1]}}]):
        chain = cluster_chain(replace(p.WELL, pools=pools), p.NOW)
        assert not chain.well
        assert chain.text().splitlines() == [
            "Cluster demo/demo is ready, but its pool workers is not",
            f"  because {words}",
            "Next: kok why pool workers -n demo",
        ]


def test_should_look_at_the_pod_that_takes_the_place_of_one_that_goes() -> None:
    going = {**p.PENDING, "metadata": {**p.PENDING["metadata"], "name": "demo-apiserver-0old", "deletionTimestamp": "2026-08-01T12:00:00Z"}}
    both = replace(p.broken(p.PENDING), pods=[going, p.PENDING])
    assert cluster_chain(both, p.NOW).next == "kubectl -n demo describe pod demo-apiserver-7c9f"
    alone = cluster_chain(replace(both, pods=[going]), p.NOW)
    assert alone.next == "nothing: it goes on by itself; ask again in a minute"


def test_should_go_down_to_the_scheduler() -> None:
    assert cluster_chain(p.broken(p.PENDING), p.NOW).text().splitlines() == [
        "Cluster demo/demo is not ready (Repairing, 2m)",
        "  because apiserver: 0 of 1 pods are ready",
        f"  because pod demo-apiserver-7c9f cannot be scheduled: {p.PENDING_SENTENCE}",
        "Next: kubectl -n demo describe pod demo-apiserver-7c9f",
    ]


def test_should_go_down_to_the_last_event() -> None:
    older = p.event("demo-apiserver-7c9f", "FailedScheduling", "no nodes", ago=300)
    other = p.event("demo-etcd-0", "Unhealthy", "not about it", ago=1)
    chain = cluster_chain(p.broken(p.WAITING_FOR_SECRET, events=(older, p.FAILED_MOUNT, other)), p.NOW)
    assert chain.last_event == 'FailedMount: MountVolume.SetUp failed for volume "tls": secret "demo-apiserver-tls" not found (x22)'
    assert chain.next == "kubectl -n demo describe pod demo-apiserver-7c9f"


def test_should_show_the_log_of_what_crashes() -> None:
    chain = cluster_chain(p.broken(p.CRASHING), p.NOW)
    assert "container apiserver waits: CrashLoopBackOff" in chain.because[-1]
    assert "it ended with exit code 1 (Error)" in chain.because[-1]
    assert chain.next == "kubectl -n demo logs demo-apiserver-7c9f -c apiserver --previous"


def test_should_ask_the_workload_when_there_is_no_pod() -> None:
    quota = p.event("demo-apiserver-5d4f", "FailedCreate", "exceeded quota: compute")
    chain = cluster_chain(p.broken(events=(quota,)), p.NOW)
    assert chain.because[-1] == "apiserver has no pod"
    assert chain.last_event == "FailedCreate: exceeded quota: compute"


def test_should_end_with_the_remedy_of_the_code() -> None:
    stalled = p.cluster(
        p.condition("Ready", "False", "KeysLost", "demo-ca is gone, and its sealed copy, too"),
        p.condition("Stalled", "True", "KeysLost", "demo-ca is gone, and its sealed copy, too"),
        phase="Stalled",
        message="demo-ca is gone, and its sealed copy, too",
    )
    chain = cluster_chain(replace(p.WELL, cluster=stalled), p.NOW)
    assert "restore the Secret from a backup" in chain.next
    assert "(kok explain KeysLost)" in chain.next


@pytest.mark.parametrize("reason", ["Missing", "NotRead"])
def test_should_not_call_a_cause_what_the_stall_kept_from_being(reason: str) -> None:
    unread = p.condition("KeysReady", "Unknown" if reason == "NotRead" else "False", reason, "the keys have not been looked at")
    words = "ClusterPackageVersion v9 does not exist"
    ready = p.condition("Ready", "False", "PackageMissing", words)
    stalled = p.cluster(ready, p.condition("Stalled", "True", "PackageMissing", words), unread, phase="Stalled", message=words)
    assert cluster_chain(replace(p.WELL, cluster=stalled), p.NOW).because == (words,)
    waiting = p.cluster(ready, unread, phase="Creating", message=words)
    assert len(cluster_chain(replace(p.WELL, cluster=waiting), p.NOW).because) == 2, "the control: nothing else explains it"


def test_should_lead_on_to_the_machine_that_is_not_open() -> None:
    chain = cluster_chain(replace(p.WELL, business=Business(machines=(p.OPEN, p.UNREACHABLE))), p.NOW)
    assert chain.text().splitlines() == [
        "Cluster demo/demo is ready, but 1 of 2 machines are not open",
        "Next: kok why machine demo-2 --cluster demo -n demo",
    ]


def test_should_say_when_no_operator_looks_at_a_cluster() -> None:
    chain = cluster_chain(replace(p.WELL, cluster={**p.cluster(), "status": {}}), p.NOW)
    assert chain.because == ("no Cluster-Operator has looked at it yet",)
    assert "kok meta status" in chain.next


def test_should_go_down_to_the_ssh_error_and_stop_there() -> None:
    lines = machine_chain(p.UNREACHABLE, Business(), "demo/demo", p.NOW).text().splitlines()
    assert lines[:2] == ["demo-2 takes no new pods (Unreachable, 3m)", f"  because {p.KEY_CHANGED}"]
    assert len(lines) == 3
    assert "kok host scan" in lines[2]


def test_should_go_down_to_the_differing_file() -> None:
    difference = "/etc/containerd/config.toml differs"
    machine = p.machine(
        "demo-1",
        p.condition("Ready", "False", "AnsibleFailed", "the play failed"),
        p.condition("PackagesReady", "False", "AnsibleFailed", "containerd: apt: no space left on device"),
        phase="Packages",
        message="the play failed",
        packages=({"component": "containerd", "matches": False, "difference": difference},),
    )
    chain = machine_chain(machine, Business(), "demo/demo", p.NOW)
    assert chain.because == ("the play failed", "containerd: apt: no space left on device", f"containerd: {difference}")
    assert "kok explain AnsibleFailed" in chain.next


def test_should_go_down_to_the_node() -> None:
    machine = p.machine(
        "demo-1", p.condition("Ready", "False", "Node", "waits"), p.condition("NodeReady", "False", "KubeletNotReady"), message="waits"
    )
    chain = machine_chain(machine, Business(nodes=(NODE_NOT_READY,)), "demo/demo", p.NOW)
    assert chain.because[-1] == "Node demo-1: KubeletNotReady: container runtime is down"
    missing = machine_chain(machine, Business(), "demo/demo", p.NOW)
    assert missing.because[-1] == "there is no Node demo-1: its kubelet has not registered"


def test_should_name_the_gate() -> None:
    gate = "gate LogAgentReady: ConfigMap kok-conditions/logging.demo-1 was last written 14m ago (maxAge 10m)"
    machine = p.machine(
        "demo-1",
        p.condition("Ready", "False", "Gates", "a gate is closed"),
        p.condition("GatesOpen", "False", "Stale", gate),
        message="a gate is closed",
    )
    assert machine_chain(machine, Business(), "demo/demo", p.NOW).because == ("a gate is closed", gate)


def test_should_explain_a_host_without_a_machine_by_its_pool() -> None:
    chain = missing_machine_chain("demo-3", p.WELL)
    assert chain is not None
    assert chain.because[0] == "it stands in pool workers, and no Machine was made for it yet"
    assert missing_machine_chain("stranger", p.WELL) is None


def test_should_explain_a_pool() -> None:
    pool = {
        **p.POOL,
        "status": {
            "message": "host demo-2 is claimed by pool x/y",
            "conditions": [p.condition("Ready", "False", "HostClaimed", "host demo-2 is claimed by pool x/y")],
        },
    }
    chain = object_chain(pool, p.NOW)
    assert chain.because == ("host demo-2 is claimed by pool x/y",)
    assert "kok explain HostClaimed" in chain.next


def test_should_wrap_long_reasons_under_their_words() -> None:
    chain = Chain("head", ("word " * 40 + "x" * 120,), "event", "kubectl -n demo describe pod p")
    lines = chain.text(100).splitlines()
    assert lines[0] == "head"
    assert [line for line in lines if len(line) > 100] == [" " * 10 + "x" * 120], "a word is never broken"
    assert all(line.startswith(" " * 10) for line in lines[2:-2])
    assert " ".join(" ".join(lines).split()) == " ".join(chain.text().split())
    assert lines[-1] == "Next: kubectl -n demo describe pod p"


def test_should_not_say_that_it_goes_on_by_itself_where_the_sentence_asks_for_a_command() -> None:
    def next_of(reason: str, message: str) -> str:
        conditions = (p.condition("Ready", "False", reason, message), p.condition("Reconciling", "True", reason, message))
        return cluster_chain(replace(p.WELL, cluster=p.cluster(*conditions)), p.NOW).next

    asks = "waits: MachinePool workers still exists; kubectl -n demo delete machinepools.kok.dev workers"
    assert next_of("PoolsRemain", asks).startswith("give the command above: it waits for you")
    offers = "waits until host demo-1 is cleaned; to give it up as it is: kubectl delete its HostClaim"
    assert next_of("Deleting", offers).startswith("nothing: it goes on by itself")


def test_should_fill_into_a_remedy_what_is_known() -> None:
    overdue = p.machine("demo-2", p.condition("Ready", "False", "DrainOverdue", "pod x stays"), phase="Draining", message="pod x stays")
    machine = {**overdue, "spec": {**overdue.get("spec", {}), "pool": "workers"}}
    remedy = machine_chain(machine, Business(machines=(machine,)), "demo/demo", p.NOW).next
    assert "machinepools.kok.dev workers -n demo kok.dev/force-drain=demo-2" in remedy
    assert "POOL" not in remedy
