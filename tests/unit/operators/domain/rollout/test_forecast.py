"""What a change would do to a cluster, by the same rules that decide later."""

from __future__ import annotations

from typing import Any

from operators.api.packages import ClusterPackageVersion, MachinePackageVersion
from operators.api.pending import Effect
from operators.api.pools import MachinePool
from operators.api.risk import Operation
from operators.domain.machine.effects import PackageChange
from operators.domain.rollout.forecast import Catalogue, PoolForecast, forecast, outlook, pool_words
from tests.integration.cluster_operator.world_of_planes import package_manifest
from tests.unit.operators.domain.rollout.builders import NEW, OLD, frozen, rollout


def plane(name: str, version: str, *machines: str) -> ClusterPackageVersion:
    manifest = package_manifest(name, version)
    manifest["spec"]["machinePackages"] = list(machines)
    return ClusterPackageVersion.parse(manifest)


def package(name: str, component: str, version: str) -> MachinePackageVersion:
    spec = {"component": component, "version": version, "order": 30, "effect": {"install": "None", "version": "Restart"}}
    return MachinePackageVersion.parse({"kind": "MachinePackageVersion", "metadata": {"name": name}, "spec": spec})


def pool(name: str, count: int, **spec: Any) -> MachinePool:
    hosts = [{"name": f"{name}-{number}", "address": f"{name}-{number}.example"} for number in range(count)]
    fields = {"clusterName": "c", "hosts": hosts, "packages": {"follow": "Cluster"}} | spec
    return MachinePool.parse({"kind": "MachinePool", "metadata": {"name": name, "namespace": "n"}, "spec": fields})


CATALOGUE = Catalogue(
    {
        OLD: plane(OLD, "1.34.4", "kubelet-old", "cni-1"),
        NEW: plane(NEW, "1.35.4", "kubelet-new", "cni-1"),
        "mid": plane("mid", "1.36.1"),
        "far": plane("far", "1.38.0"),
    },
    {
        each.metadata.name: each
        for each in (
            package("kubelet-old", "kubelet", "1.34.4"),
            package("kubelet-new", "kubelet", "1.35.4"),
            package("cni-1", "cni", "1"),
            package("kubelet-ancient", "kubelet", "1.31.0"),
        )
    },
)


def test_should_count_machines_and_leave_by_the_worst_effect() -> None:
    seen = forecast(OLD, NEW, (pool("w", 3), pool("x", 2, packages={"explicit": ["kubelet-old"]})), CATALOGUE)
    assert (
        seen.words
        == "1.34.4 -> 1.35.4, one hop: rolls apiserver, controllerManager, scheduler; add-ons kubeProxy; pool w, 3 machines: kubelet (drain first)"
    )
    assert seen.needs == {Operation.UpgradePlane: 1, Operation.ApplyPackage: 3}
    assert seen.machines == 3


def test_should_chain_minors_and_ask_for_each_hop() -> None:
    seen = forecast(OLD, "mid", (), CATALOGUE)
    assert "2 hops by way of kubernetes-1.35.4-r1" in seen.words
    assert seen.needs == {Operation.UpgradePlane: 2}


def test_should_say_what_would_be_refused() -> None:
    assert "one minor at a time" in forecast(OLD, "far", (), CATALOGUE).refused
    assert "does not exist" in forecast(OLD, "nowhere", (), CATALOGUE).refused
    behind = forecast(OLD, NEW, (pool("w", 1, packages={"explicit": ["kubelet-ancient"]}),), CATALOGUE)
    assert "more than 3 minors behind" in behind.refused


def test_should_say_which_pools_would_wait() -> None:
    held = forecast(OLD, NEW, (pool("w", 1, update={"maxEffect": "Restart"}),), CATALOGUE)
    assert "but it waits: " in held.words
    assert not held.refused, "the plane goes; the pool says so itself"


def test_should_sum_the_leave_of_all_members() -> None:
    seen = outlook(frozen(rollout(), 4), {"prod/c0": (pool("w", 2),)}, CATALOGUE)
    assert seen.needs == {Operation.UpgradePlane: 4, Operation.ApplyPackage: 2}


def test_should_count_one_machine_as_one() -> None:
    change = PackageChange("kubelet", "kubelet-1", "kubelet-2", Effect.Drain)
    assert pool_words(PoolForecast("w", 1, (change,))) == "pool w, 1 machine: kubelet (drain first)"
