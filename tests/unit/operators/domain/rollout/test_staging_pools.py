"""What a rollout of a machine package wants on hosts before its window, and what it says of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from operators.api.packages import ClusterPackageVersion, MachinePackageVersion
from operators.api.pools import MachinePool, MachinePoolRelease, PoolPackages, PoolStaging
from operators.api.rollout import Order
from operators.domain.risk.identity import stamp
from operators.domain.rollout import staging_pools
from operators.domain.rollout.forecast import Catalogue
from operators.domain.rollout.pools import PoolSeen
from operators.domain.rollout.staging_pools import AT_ONCE, LASTS, PATIENCE, Target, Wishes, targets_of
from operators.domain.rollout.staging_pools import next_wishes as wishes_of_targets
from operators.domain.rollout.staging_pools import words_of as words_of_targets
from operators.domain.rollout.state import next_step
from operators.domain.rollout.view import RolloutView, Self
from operators.domain.rollout.windows import WindowState
from tests.unit.operators.domain.rollout.builders import FAIL, NEW, START, rollout
from tests.unit.operators.domain.rollout.world import OPEN, World

CLOSED = WindowState(False, START + timedelta(hours=2))
OWN = Self("train", "u1")
Pools = dict[str, PoolSeen]


def waiting(count: int = 3) -> World:
    """A rollout whose window is closed."""
    made = World.of(rollout(), count)
    made.window = CLOSED
    made.run()
    return made


def seen(key: str, *wishes: dict[str, Any], hosts: int = 2, **staging: Any) -> PoolSeen:
    namespace, name = key.split("/")
    metadata = {"name": name, "namespace": namespace}
    listed = [{"name": f"m{number}", "address": f"10.0.0.{number}"} for number in range(hosts)]
    spec = {"clusterName": "demo", "hosts": listed, "packages": {"explicit": ["a"]}}
    shown = [PoolStaging(package=NEW, hosts=hosts, **staging).model_dump(by_alias=True)] if staging else []
    pool = MachinePool.parse({"kind": "MachinePool", "metadata": metadata, "spec": spec, "status": {"staging": shown}})
    release = MachinePoolRelease.parse({"kind": "MachinePoolRelease", "metadata": metadata, "spec": {"staging": list(wishes)}})
    return PoolSeen(pool, release, "prod/demo", None, None)


def wish(**changes: Any) -> dict[str, Any]:
    return {"rollout": "train", "rolloutUID": "u1", "packages": [NEW], "until": stamp(START + LASTS), **changes}


def pools(view: RolloutView, *wishes: dict[str, Any], **staging: Any) -> Pools:
    return {member.key: seen(member.key, *wishes, **staging) for member in view.plan.members}


def targets(view: RolloutView, found: Pools) -> list[Target]:
    """As for a rollout of a machine package."""
    return [Target(found[member.key], (NEW,)) for member in view.plan.members if member.key in found]


def next_wishes(own: Self, view: RolloutView, found: Pools) -> Wishes:
    return wishes_of_targets(own, view, targets(view, found), found.values())


def words_of(view: RolloutView, found: Pools) -> str:
    return words_of_targets("train", targets(view, found))


def test_should_wish_it_of_every_pool_while_a_window_is_waited_for_and_keep_what_others_wish() -> None:
    view = waiting().view()
    other = wish(rollout="other", packages=["x"])
    found = next_wishes(OWN, view, pools(view, other))
    assert list(found) == [member.key for member in view.plan.members], "in the order of the plan"
    assert [each.rollout for each in next(iter(found.values()))] == ["other", "train"]
    assert next(iter(found.values()))[1].until == stamp(START + LASTS)


def test_should_write_nothing_where_it_is_wished_already() -> None:
    view = waiting().view()
    assert next_wishes(OWN, view, pools(view, wish())) == {}


def test_should_renew_it_before_it_runs_out_also_when_a_window_is_open() -> None:
    for window in (CLOSED, OPEN):
        made = waiting()
        made.now, made.window = START + LASTS * 0.6, window
        view = made.view()
        found = next_wishes(OWN, view, pools(view, wish()))
        assert {wishes[0].until for wishes in found.values()} == {stamp(made.now + LASTS)}


@pytest.mark.parametrize("window", [OPEN, WindowState(False), WindowState(False, problem="cron 'x'")])
def test_should_begin_nothing_where_no_window_is_waited_for(window: WindowState) -> None:
    made = waiting()
    made.window = window
    assert next_wishes(OWN, made.view(), pools(made.view())) == {}


def test_should_keep_it_while_a_person_pauses_and_begin_nothing() -> None:
    made = waiting()
    made.order = Order.Pause
    view = made.view()
    assert next_wishes(OWN, view, {**pools(view, wish()), "prod/c0": seen("prod/c0")}) == {}


def test_should_take_it_back_when_it_is_over_and_only_its_own() -> None:
    other = wish(rollout="other", packages=["x"])
    for order in (Order.Abort, Order.Undo):
        made = waiting()
        made.order = order
        found = next_wishes(OWN, made.view(), pools(made.view(), wish(), other))
        assert {tuple(each.rollout for each in wishes) for wishes in found.values()} == {("other",)}
        assert len(found) == 3
    view = replace(waiting().view(), bad_versions=frozenset({NEW}))
    assert len(next_wishes(OWN, view, pools(view, wish()))) == 3
    assert next_wishes(OWN, view, pools(view, other)) == {}


def test_should_take_it_back_on_the_way_back_and_at_the_end() -> None:
    made = waiting()
    made.window, made.verdict = OPEN, FAIL
    made.run()
    view = made.view()
    assert view.story.going_back
    assert len(next_wishes(OWN, view, pools(view, wish()))) == 3
    good = waiting()
    good.window = OPEN
    for _ in range(9):
        good.run()
        good.now += timedelta(minutes=2)
    assert good.view().story.ended
    assert len(next_wishes(OWN, good.view(), pools(good.view(), wish()))) == 3


def test_should_take_over_what_an_earlier_rollout_of_its_name_wished() -> None:
    view = waiting().view()
    found = next_wishes(OWN, view, pools(view, wish(rolloutUID="u0")))
    assert {tuple(each.rollout_uid for each in wishes) for wishes in found.values()} == {("u1",)}


def test_should_not_begin_with_more_pools_at_once_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staging_pools, "AT_ONCE", 2)
    view = waiting(6).view()
    keys = [member.key for member in view.plan.members]
    fresh = pools(view)
    assert list(next_wishes(OWN, view, fresh)) == keys[:2]
    busy = fresh | {key: seen(key, wish(), staged=1) for key in keys[:2]}
    assert next_wishes(OWN, view, busy) == {}
    done = busy | {keys[0]: seen(keys[0], wish(), staged=2), keys[1]: seen(keys[1], wish(), staged=1, failed=1)}
    assert list(next_wishes(OWN, view, done)) == keys[2:4], "a host that cannot be staged keeps nobody waiting"
    silent = replace(view, now=START + PATIENCE + timedelta(seconds=1))
    assert list(next_wishes(OWN, silent, busy)) == keys[2:4], "nor does a pool whose operator says nothing"


def test_should_begin_everywhere_without_that_limit() -> None:
    """Positive control."""
    view = waiting(6).view()
    assert AT_ONCE >= 6
    assert len(next_wishes(OWN, view, pools(view))) == 6


def test_should_say_how_far_it_is_in_the_sentence_that_says_what_is_waited_for() -> None:
    view = waiting().view()
    half = pools(view, wish(), staged=1, failed=1, trouble="m1: disk full")
    words = words_of(view, half)
    assert words == "its artifacts are staged before the window: 3 of 6 machines have them (m1: disk full)"
    assert next_step(replace(view, staged=words)).reason.endswith(f"the next opens at 2026-03-01 14:00 UTC; {words}")
    assert words_of(view, pools(view)) == "its artifacts are staged before the window: 0 of 6 machines have them"
    assert words_of(view, pools(view, wish(), staged=2)) == "its artifacts are on 6 of 6 machines"


def machine_package(name: str) -> MachinePackageVersion:
    spec = {"component": name.partition("-")[0], "version": name.rpartition("-")[2]}
    return MachinePackageVersion.parse({"kind": "MachinePackageVersion", "metadata": {"name": name}, "spec": spec})


def following(key: str, cluster: str, *have: str, **packages: Any) -> PoolSeen:
    made = seen(key)
    hosts = [{"name": "m0", "packages": list(have), "at": "2026-03-01T10:00:00Z"}]
    release = MachinePoolRelease.parse({"kind": "MachinePoolRelease", "metadata": {"name": "x"}, "spec": {"hosts": hosts}})
    chosen = PoolPackages.model_validate(packages or {"follow": "Cluster"})
    return replace(
        made,
        cluster=cluster,
        release=release,
        pool=made.pool.model_copy(update={"spec": made.pool.spec.model_copy(update={"packages": chosen})}),
    )


def test_should_want_of_pools_that_follow_a_cluster_what_its_version_brings_to_their_hosts() -> None:
    image = {"image": "registry.kok.dev/x:1"}
    components = dict.fromkeys(("apiserver", "controllerManager", "scheduler", "machineOperator"), image)
    spec = {
        "kubernetesVersion": "1.35.4",
        "planeRevision": "r1",
        "components": {**components, "etcd": {"version": "3.6.8", **image}},
        "addons": {"coredns": image, "kubeProxy": image, "cni": {"name": "flannel", **image}},
        "machinePackages": ["containerd-1", "kubelet-2"],
    }
    plane = ClusterPackageVersion.parse({"kind": "ClusterPackageVersion", "metadata": {"name": NEW}, "spec": spec})
    catalogue = Catalogue({NEW: plane}, {name: machine_package(name) for name in ("containerd-1", "kubelet-1", "kubelet-2", "extra-1")})
    view = waiting().view()
    first = view.plan.members[0].key
    found = {
        "b/late": following("b/late", view.plan.members[1].key, "containerd-1", "kubelet-1"),
        "a/early": following("a/early", first, "containerd-1", "kubelet-1"),
        "a/there": following("a/there", first, "containerd-1", "kubelet-2"),
        "a/own": following("a/own", first, "kubelet-1", explicit=["kubelet-1"]),
        "a/gone": following("a/gone", first, "containerd-1", "kubelet-1", follow="Cluster", extra=["gone-1"]),
        "c/other": following("c/other", "elsewhere/c", "containerd-1", "kubelet-1"),
    }
    wanted = [(target.seen.key, target.packages) for target in targets_of(view, found, catalogue)]
    assert wanted == [("a/early", ("kubelet-2",)), ("b/late", ("kubelet-2",))]
    assert targets_of(view, found, replace(catalogue, planes={})) == ()
    assert words_of_targets("train", ()) == ""
