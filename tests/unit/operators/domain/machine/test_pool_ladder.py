"""The pool ladder and what makes a pool wrong."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from operators.api.cluster import Network
from operators.api.hosts import Host
from operators.api.machines import MachineStatus
from operators.api.packages import MachinePackageVersion
from operators.api.pools import HostRelease
from operators.domain.machine import steps
from operators.domain.machine.pool_ladder import batch_of, next_pool_step
from operators.domain.machine.pool_status import pool_status_of
from operators.domain.machine.pool_view import PoolView
from operators.domain.machine.release import TakenBack, Verdict
from operators.domain.machine.view import ClusterState
from operators.domain.machine.wish import wished_packages
from operators.errors import ErrorCode, KokError
from tests.unit.operators.domain.machine import builders as b

NAMES = ("containerd-1", "kubelet-1")


def mpv(name: str, component: str, order: int) -> MachinePackageVersion:
    spec = {"component": component, "version": "1", "order": order}
    return MachinePackageVersion.parse(
        {"apiVersion": "kok.dev/v1alpha1", "kind": "MachinePackageVersion", "metadata": {"name": name}, "spec": spec}
    )


CATALOGUE = {
    m.metadata.name: m
    for m in (
        mpv("containerd-1", "containerd", 10),
        mpv("kubelet-1", "kubelet", 30),
        mpv("kubelet-2", "kubelet", 30),
        mpv("sysctl-1", "sysctl", 5),
    )
}
RELEASED = (HostRelease(name="m1", packages=NAMES, at="2026-01-01T00:00:00Z", reason="new host", opened_at="2026-01-01T00:01:00Z"),)
SHOWN = b.machine()
SHOWN = SHOWN.model_copy(
    update={"metadata": SHOWN.metadata.model_copy(update={"labels": {"kok.dev/pool": "workers", "kok.dev/cluster": "demo"}})}
)
OPEN = {"m1": Verdict(NAMES, True, False, "fine")}


def view(**changes: Any) -> PoolView:
    base = PoolView(b.NOW, b.pool(b.HOST), (), ClusterState("demo"), NAMES, CATALOGUE, RELEASED, None, (b.claim(),), {"m1": SHOWN}, OPEN)
    return replace(base, **changes)


def unfinalized() -> Any:
    pool = b.pool(b.HOST)
    return pool.model_copy(update={"metadata": pool.metadata.model_copy(update={"finalizers": ()})})


def older(*hosts: Host) -> Any:
    pool = b.pool(*hosts)
    return pool.model_copy(update={"metadata": pool.metadata.model_copy(update={"name": "older", "uid": "pool-0"})})


SAME_PLACE = Host(name="x", address="10.0.0.1", host_keys=b.HOST.host_keys)
FOREIGN = b.claim(namespace="other", pool="blue", host="b1")
TABLE: list[tuple[str, PoolView, type[steps.Step], str]] = [
    ("right", view(), steps.Done, "1 of 1 hosts are open"),
    ("paused", view(cluster=ClusterState("demo", paused=True)), steps.Wait, "is paused"),
    ("no finalizer", view(pool=unfinalized()), steps.AddFinalizer, "cleans its hosts"),
    ("not released", view(cluster_packages=None), steps.Wait, "has a released package version"),
    ("nothing authorised", view(released=()), steps.WriteRelease, "authorises packages: m1"),
    (
        "came into service",
        view(released=(RELEASED[0].model_copy(update={"opened_at": None}),)),
        steps.WriteRelease,
        "notes that m1 came into service",
    ),
    ("no Machine", view(machines={}), steps.ApplyMachines, "m1"),
    ("Machine edited", view(machines={"m1": b.machine(packages=["sysctl-1"])}), steps.ApplyMachines, "m1"),
    ("host of another pool object", view(machines={}, claims=(b.claim(poolUid="pool-0"),)), steps.Done, "open"),
    ("claimed by another", view(claims=(FOREIGN,), verdicts={}), steps.Wait, "claimed by pool other/blue (host b1)"),
    ("host failing", view(verdicts={"m1": Verdict(NAMES, False, True, "no sudo")}), steps.Wait, "m1: no sudo"),
    ("host on its way", view(verdicts={}), steps.Wait, "m1: not looked at yet"),
    (
        "open with what it had before",
        view(verdicts={"m1": Verdict(("containerd-1", "kubelet-0"), True, False, "")}),
        steps.Wait,
        "m1: not looked at yet with its new packages",
    ),
    ("no key", view(pool=b.pool(b.HOST.model_copy(update={"host_keys": ()}))), steps.Wait, "has no hostKeys"),
    (
        "address in an older pool",
        view(others=(older(SAME_PLACE),), pool=b.pool(b.HOST)),
        steps.Wait,
        "x of pool older and m1 have the same address",
    ),
    (
        "name in an older pool",
        view(others=(older(b.HOST.model_copy(update={"address": "10.0.0.9"})),)),
        steps.Wait,
        "is also in pool older",
    ),
    (
        "address inside the pods' range",
        view(cluster=ClusterState("demo", network=Network(pod_cidr="10.0.0.0/16"))),
        steps.Wait,
        "spec.hosts[0].address: 10.0.0.1 of host m1 lies in spec.network.podCIDR 10.0.0.0/16 of Cluster demo",
    ),
    (
        "address inside the Services' range",
        view(cluster=ClusterState("demo", network=Network(service_cidr="10.0.0.0/30"))),
        steps.Wait,
        "lies in spec.network.serviceCIDR 10.0.0.0/30",
    ),
    ("address beside the ranges", view(cluster=ClusterState("demo", network=Network(pod_cidr="10.1.0.0/16"))), steps.Done, "open"),
    (
        "a name is not an address",
        view(
            cluster=ClusterState("demo", network=Network(pod_cidr="10.0.0.0/16")),
            pool=b.pool(b.HOST.model_copy(update={"address": "m1.example"})),
        ),
        steps.Done,
        "open",
    ),
    ("package missing", view(pool=b.pool(b.HOST, packages={"explicit": ["nonesuch"]})), steps.Wait, "nonesuch is not in the meta cluster"),
    ("one component twice", view(pool=b.pool(b.HOST, packages={"explicit": ["kubelet-1", "kubelet-2"]})), steps.Wait, "are both kubelet"),
    ("release unreadable", view(release_problem=KokError(ErrorCode.InvalidObject, "bad", "x")), steps.Wait, "bad"),
    ("deleting", view(pool=b.pool(b.HOST, deleting=True)), steps.Wait, "1 hosts are still to be drained"),
    (
        "deleting, and what holds it up",
        view(
            pool=b.pool(b.HOST, deleting=True),
            machines={"m1": SHOWN.model_copy(update={"status": MachineStatus(message="drains m1: web")})},
        ),
        steps.Wait,
        "1 hosts are still to be drained and cleaned: m1 (drains m1: web)",
    ),
    ("deleting, all gone", view(pool=b.pool(b.HOST, deleting=True), claims=(), machines={}), steps.RemoveFinalizer, "given back"),
]


@pytest.mark.parametrize(("seen", "step", "words"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_should_choose_this_step_for_these_words(seen: PoolView, step: type[steps.Step], words: str) -> None:
    chosen = next_pool_step(seen)
    assert isinstance(chosen, step), chosen
    assert words in chosen.reason


@pytest.mark.parametrize(
    ("packages", "wished"),
    [
        ({"follow": "Cluster"}, NAMES),
        ({"follow": "Cluster", "extra": ["sysctl-1"]}, ("sysctl-1", *NAMES)),
        ({"follow": "Cluster", "extra": ["kubelet-2"]}, ("containerd-1", "kubelet-2")),
        ({"explicit": ["kubelet-2", "containerd-1"]}, ("containerd-1", "kubelet-2")),
        ({"explicit": ["kubelet-1"], "extra": ["sysctl-1"]}, ("sysctl-1", "kubelet-1")),
    ],
)
def test_should_resolve_packages_in_the_order_of_installation(packages: dict[str, Any], wished: tuple[str, ...]) -> None:
    assert wished_packages(b.pool(b.HOST, packages=packages), NAMES, CATALOGUE) == wished


def test_should_refuse_an_extra_package_beside_an_explicit_one_of_its_component() -> None:
    with pytest.raises(KokError, match="kubelet-1 and kubelet-2 are both kubelet"):
        wished_packages(b.pool(b.HOST, packages={"explicit": ["kubelet-1"], "extra": ["kubelet-2"]}), (), CATALOGUE)


def test_should_show_the_same_status_again() -> None:
    seen = view()
    first = pool_status_of(seen, next_pool_step(seen), "")
    later = replace(seen, pool=seen.pool.model_copy(update={"status": first}), now=b.NOW.replace(hour=13))
    assert pool_status_of(later, next_pool_step(later), "") == first
    assert (first.machines, first.ready) == (1, 1)


@pytest.mark.parametrize(("packages", "goes_back"), [({"follow": "Cluster"}, True), ({"explicit": list(NAMES)}, False)])
def test_should_take_hosts_back_with_the_version_that_they_follow_and_no_others(packages: dict[str, Any], goes_back: bool) -> None:
    changed = (*NAMES[:1], "kubelet-2")
    released = (RELEASED[0].model_copy(update={"packages": changed, "before": NAMES, "at": "2026-01-01T00:10:00Z"}),)
    undone = TakenBack(datetime(2026, 1, 1, 0, 5, tzinfo=UTC), datetime(2026, 1, 1, 0, 20, tzinfo=UTC))
    seen = view(released=released, verdicts={"m1": Verdict(changed, True, False, "fine")}, taken_back=undone)
    batch = batch_of(replace(seen, pool=b.pool(b.HOST, packages=packages)))
    assert [(host.packages, host.going_back) for host in batch.hosts] == [(NAMES, goes_back)]
