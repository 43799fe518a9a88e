"""When an upgrade would change nobody; in doubt it is asked of the operators."""

from __future__ import annotations

from typing import Any

import pytest

from meta_cluster.cli.rollout_idle import brought_by, left_to_change, unchanged_words, under_way

TO = "kubernetes-1.35.4-r1"


def cluster(name: str) -> dict[str, Any]:
    return {"kind": "Cluster", "metadata": {"namespace": "demo", "name": name}, "spec": {"packageVersion": "whatever Git says"}}


def authorised(version: str) -> dict[str, Any]:
    return {"spec": {"current": {"packageVersion": version}}}


def pool(*hosts: str, **packages: Any) -> dict[str, Any]:
    spec = {"clusterName": "c", "hosts": [{"name": name} for name in hosts], "packages": packages or {"follow": "Cluster"}}
    return {"kind": "MachinePool", "metadata": {"namespace": "demo", "name": "workers"}, "spec": spec}


def given(packages: list[str], *hosts: str, orders: tuple[dict[str, str], ...] = ()) -> dict[str, Any]:
    return {"spec": {"hosts": [{"name": name, "packages": packages} for name in hosts], "orders": list(orders)}}


def test_should_go_by_what_is_authorised_not_by_what_is_wished() -> None:
    members, other = [cluster("a"), cluster("b"), cluster("new")], {"demo/a": authorised(TO), "demo/b": authorised("kubernetes-1.34.4-r1")}
    assert left_to_change(TO, members, other) == ["demo/b", "demo/new"]
    assert left_to_change(TO, members[:1], other) == []


TURNED = ({"component": "runc", "package": "runc-2", "insteadOf": "runc-1"},)


@pytest.mark.parametrize(
    ("wished", "release", "left"),
    [
        (pool("a", "b"), given(["runc-1"], "a", "b"), False),
        (pool("a", "b"), given(["runc-1"], "a"), True),
        (pool("a"), None, True),
        (pool(), given(["runc-1"]), True),
        (pool("a", explicit=["runc-2"]), given(["runc-1"], "a"), True),
        (pool("a", explicit=["runc-1"]), given(["runc-1"], "a"), False),
        (pool("a"), given(["runc-1"], "a", orders=TURNED), True),
    ],
)
def test_should_find_a_pool_changed_when_every_host_is(wished: dict[str, Any], release: dict[str, Any] | None, left: bool) -> None:
    assert bool(left_to_change("runc-1", [wished], {"demo/workers": release} if release else {}, {"demo/c": ["runc-1"]})) is left


@pytest.mark.parametrize(
    ("reached", "hop", "left"), [("old", None, False), ("new", None, True), ("new", "Down", False), ("old", "Up", False)]
)
def test_should_leave_a_pool_to_the_operators_whose_cluster_brings_it_something_else_by_now(reached: str, hop: str, left: bool) -> None:
    moment = "2026-01-01T00:00:00Z"
    under_way = {"lower": "old", "upper": "new", "direction": hop, "startedAt": moment, "stageSince": moment}
    spec = {"current": {"packageVersion": "new", "by": "Spec", "at": moment}, "reached": reached, **({"hop": under_way} if hop else {})}
    release = {"apiVersion": "kok.dev/v1alpha1", "kind": "ClusterRelease", "metadata": {"namespace": "demo", "name": "c"}, "spec": spec}
    packages = [{"metadata": {"name": name}, "spec": {"machinePackages": [runc]}} for name, runc in (("old", "runc-1"), ("new", "runc-2"))]
    brought = brought_by([release], packages)
    assert bool(left_to_change("runc-1", [pool("a")], {"demo/workers": given(["runc-1"], "a")}, brought)) is left


def test_should_say_who_is_there_already() -> None:
    assert unchanged_words(TO, "env=prod", [cluster("a")]).startswith(f"unchanged: the cluster with env=prod is at {TO} already")
    assert unchanged_words("runc-1", "env=prod", [pool("a"), pool("b")]).startswith("unchanged: all 2 pools with env=prod are at runc-1")


@pytest.mark.parametrize(
    ("member", "release", "left"),
    [
        (cluster("a"), {"current": {"packageVersion": TO}, "reached": TO, "hop": None}, False),
        (cluster("a"), {"current": {"packageVersion": TO}}, False),
        (cluster("a"), {"current": {"packageVersion": TO}, "reached": "kubernetes-1.34.4-r1"}, True),
        (cluster("a"), {"current": {"packageVersion": TO}, "reached": TO, "hop": {"stage": "Addons"}}, True),
        (pool("a"), {"hosts": [{"name": "a", "packages": [TO], "openedAt": "2026-01-01T00:00:00Z"}]}, False),
        (pool("a"), {"hosts": [{"name": "a", "packages": [TO]}]}, True),
    ],
)
def test_should_not_say_that_somebody_is_there_who_is_on_the_way(member: dict[str, Any], release: dict[str, Any], left: bool) -> None:
    name = member["metadata"]["name"]
    releases = {f"demo/{name}": {"spec": release}}
    assert left_to_change(TO, [member], releases, {"demo/c": [TO]}) == []
    coming = under_way(TO, [member], releases)
    assert bool(coming) is left
    told = unchanged_words(TO, "env=prod", [member], coming)
    assert ("authorised" in told, f"1 not there yet (kok why {'pool' if name == 'workers' else 'cluster'} {name} -n demo)" in told) == (
        left,
        left,
    )
