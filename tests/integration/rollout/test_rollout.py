"""Fleet rollouts on a real API server: good, bad, sick, stopped, undone, killed at every write."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from operators.adapters.kube import KubeClient
from operators.cluster_operator.cluster import kinds as cluster_kinds
from operators.cluster_operator.rollout import kinds
from operators.cluster_operator.rollout.act import Refuse
from operators.ports.kube import Invalid, Ref
from tests.integration.rollout.fleet import NEW, OLD, PAUSE, Fleet, RolloutOperator

pytestmark = pytest.mark.usefixtures("crds")


def fresh() -> str:
    return f"train-{uuid4().hex[:8]}"


async def begun(kube: KubeClient, count: int = 3, **spec: object) -> tuple[Fleet, RolloutOperator, str]:
    fleet, name = await Fleet.of(kube, count), fresh()
    await fleet.planes_follow()
    await kube.create(fleet.manifest(name, **spec))
    return fleet, RolloutOperator(fleet), name


async def said(operator: RolloutOperator, name: str, words: str) -> dict[str, Any]:
    """The status once its message has these words."""
    for _ in range(100):
        await operator.fleet.planes_follow()
        await operator.one_round(name)
        shown: dict[str, Any] = (await operator.fleet.kube.get(kinds.ROLLOUT.ref(name)) or {}).get("status") or {}
        if words in shown.get("message", ""):
            return shown
        await asyncio.sleep(PAUSE)
    raise AssertionError(f"{words!r} was never said: {shown} {operator.failed}")


async def order(kube: KubeClient, name: str, word: str) -> None:
    await kube.patch_json(kinds.ROLLOUT.ref(name), {"spec": {"order": word}})


async def test_should_change_the_canary_then_the_rest_and_end_good_without_touching_what_people_wrote(kube: KubeClient) -> None:
    fleet, operator, name = await begun(kube)
    shown = await operator.until(name, "Good")
    assert await fleet.versions() == dict.fromkeys(fleet.clusters, NEW)
    assert [stage["verdict"] for stage in shown["stages"]] == ["PASS", "PASS"]
    assert "pod creation 100.00% -> 100.00%" in shown["stages"][0]["message"]
    cluster = await kube.get(kinds.ROLLOUT.ref(name))
    assert cluster
    resting = cluster["metadata"]["resourceVersion"]
    await operator.one_round(name)
    again = await kube.get(kinds.ROLLOUT.ref(name))
    assert again
    assert again["metadata"]["resourceVersion"] == resting, "a pass over what has ended writes nothing"


async def test_should_stop_at_a_canary_that_does_not_come_up_take_it_back_and_refuse_the_version_for_ever(kube: KubeClient) -> None:
    fleet, operator, name = await begun(kube)
    fleet.broken.add(NEW)
    short = {"name": "canary", "clusters": [fleet.clusters[0]], "soakSeconds": 1, "memberDeadlineSeconds": 30}
    await kube.delete(kinds.ROLLOUT.ref(name))
    name = fresh()
    await kube.create(fleet.manifest(name, short, {"name": "rest", "rest": True}))
    await said(operator, name, "in hand")
    operator = RolloutOperator(fleet)
    operator.ahead(40)
    shown = await operator.until(name, "Bad")
    assert await fleet.versions() == dict.fromkeys(fleet.clusters, OLD)
    assert await fleet.touched() == [fleet.clusters[0]]
    assert "CrashLoopBackOff" in shown["message"]
    second = fresh()
    await kube.create(fleet.manifest(second))
    refused = await operator.until(second, "Refused")
    assert f"was found bad by rollout {name}" in refused["message"]
    annotations = {"kok.dev/not-bad": f"{name}: the disk was full, it was not the version"}
    await kube.patch_json(cluster_kinds.PACKAGE.ref(NEW), {"metadata": {"annotations": annotations}})
    fleet.broken.clear()
    for process in (operator, RolloutOperator(fleet)):
        await process.one_round(second)
        assert isinstance(process.steps[-1], Refuse), "who was told no went away: it does not start by itself later"
    who = {"by": "jane", "reason": "the disk is free again"}
    await kube.patch_json(kinds.ROLLOUT.ref(second), {"spec": {"order": "Go", "said": who}})
    await operator.until(second, "Changing")


async def test_should_take_back_what_comes_up_but_makes_no_pods(kube: KubeClient) -> None:
    fleet, operator, name = await begun(kube)
    fleet.no_pods.add(NEW)
    shown = await operator.until(name, "Bad")
    assert await fleet.versions() == dict.fromkeys(fleet.clusters, OLD)
    assert await fleet.touched() == [fleet.clusters[0]]
    assert "pod creation 100.00% -> " in shown["message"]
    assert "below its floor" in shown["message"]


async def test_should_hold_when_pods_fail_everywhere_alike(kube: KubeClient) -> None:
    fleet, operator, name = await begun(kube)

    await operator.until(name, "Soaking")
    fleet.all_fail = True
    shown = await operator.until(name, "Holding")
    assert "this is not the change" in shown["message"]
    assert await fleet.touched() == [fleet.clusters[0]]
    assert NEW in (await fleet.versions()).values()


async def test_should_abort_and_undo_from_where_it_stands(kube: KubeClient) -> None:
    fleet, operator, name = await begun(kube)
    await operator.until(name, "Soaking")
    await order(kube, name, "Abort")
    await operator.until(name, "Aborted")
    assert await fleet.versions() == dict.fromkeys(fleet.clusters, OLD)

    second = fresh()
    await kube.create(fleet.manifest(second))
    await operator.until(second, "Good")
    await order(kube, second, "Undo")
    await operator.until(second, "Undone")
    assert await fleet.versions() == dict.fromkeys(fleet.clusters, OLD)


async def test_should_start_nobody_while_the_breaker_is_open_and_still_take_back(kube: KubeClient) -> None:
    fleet, operator, name = await begun(kube)
    await operator.until(name, "Soaking")
    await fleet.set_breaker("Open")
    shown = await said(operator, name, "says no by its breaker in the fleet: open since")
    assert shown["phase"] == "Changing"
    assert await fleet.touched() == [fleet.clusters[0]]
    await order(kube, name, "Abort")
    await operator.until(name, "Aborted")
    assert await fleet.versions() == dict.fromkeys(fleet.clusters, OLD)


async def test_should_go_on_by_itself_when_the_breaker_has_closed(kube: KubeClient) -> None:
    """The control: the same fleet, and only the breaker is another."""
    fleet, operator, name = await begun(kube)
    await fleet.set_breaker("Open")
    await said(operator, name, "says no by its breaker")
    assert await fleet.touched() == []
    await fleet.set_breaker("Closed")
    await operator.until(name, "Good")
    assert len(await fleet.touched()) == 3


async def test_should_start_nobody_when_the_ledger_cannot_be_read(kube: KubeClient) -> None:
    fleet, operator, name = await begun(kube)
    await kube.delete(Ref("kok.dev/v1alpha1", "Ledger", fleet.system, "ledger"))
    await said(operator, name, "the Ledger")
    assert await fleet.touched() == []


async def test_should_only_answer_in_mode_plan(kube: KubeClient) -> None:
    fleet, operator, name = await begun(kube, mode="Plan")
    shown = await operator.until(name, "Planned")
    assert [stage["members"] for stage in shown["stages"]] == [1, 2]
    assert [member["stage"] for member in shown["members"]] == ["canary", "rest", "rest"]
    assert {member["message"].partition(":")[0] for member in shown["members"]} == {"1.34.4 -> 1.35.4, one hop"}
    assert shown["needs"] == [{"operation": "UpgradePlane", "count": 3}]
    assert await fleet.touched() == []


LIMIT = {"label": "zone", "maxParallel": 1}


@pytest.mark.parametrize(
    ("made", "edit"),
    [
        ({}, {"change": {"clusterPackageVersion": OLD}}),
        ({}, {"selector": {"matchLabels": {"env": "prod"}}}),
        ({}, {"stages": [{"name": "rest", "rest": True, "maxParallel": 100}]}),
        ({}, {"analysis": {"holdDeadlineSeconds": 1}}),
        ({}, {"onFail": "Pause"}),
        ({}, {"mode": "Plan"}),
        ({}, {"machines": {"maxUnavailable": 100}}),
        ({"perDomain": LIMIT}, {"perDomain": {"maxParallel": 100}}),
        ({"perDomain": LIMIT}, {"perDomain": {"atOnce": 100}}),
        ({"perDomain": LIMIT}, {"perDomain": None}),
        ({}, {"perDomain": LIMIT}),
    ],
    ids=lambda each: ", ".join(f"{key} {value}" for key, value in each.items())[:40],
)
async def test_should_refuse_every_edit_that_could_widen_a_rollout(kube: KubeClient, made: dict[str, Any], edit: dict[str, Any]) -> None:
    name = fresh()
    stages = [{"name": "rest", "rest": True}]
    spec = {"change": {"clusterPackageVersion": NEW}, "selector": {"matchLabels": {"fleet": name}}, "stages": stages, **made}
    await kube.create({"apiVersion": "kok.dev/v1alpha1", "kind": "FleetRollout", "metadata": {"name": name}, "spec": spec})
    with pytest.raises(Invalid, match="a rollout is frozen when it is made"):
        await kube.patch_json(kinds.ROLLOUT.ref(name), {"spec": edit})
    await kube.patch_json(
        kinds.ROLLOUT.ref(name), {"spec": {"order": "Pause", "windows": [{"cron": "0 22 * * *", "durationSeconds": 3600}]}}
    )


@pytest.mark.slow  # its short twin is in test_crash.py
async def test_should_go_on_exactly_where_it_was_when_a_new_process_takes_over_at_every_pass(kube: KubeClient) -> None:
    fleet, _, name = await begun(kube)
    phase, passes = "", 0
    while phase != "Good" and passes < 400:
        await fleet.planes_follow()
        heir = RolloutOperator(fleet)
        await heir.one_round(name)  # asks for probes
        await heir.one_round(name)  # has their results, makes one step, and dies
        passes += 1
        phase = ((await kube.get(kinds.ROLLOUT.ref(name)) or {}).get("status") or {}).get("phase", "")
    assert phase == "Good"
    for key in fleet.clusters:
        namespace, cluster = key.split("/")
        release = await kube.get(kinds.Kind("kok.dev/v1alpha1", "ClusterRelease").ref(cluster, namespace))
        assert release
        assert len(release["spec"].get("history", ())) == 1, f"{key} was acted on once"


METRIC = {"name": "orders", "good": "sum(a[{{window}}])", "total": "sum(b[{{window}}])"}
REST = {"name": "all", "rest": True}


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (
            {"change": {"clusterPackageVersion": NEW, "machinePackageVersion": "kubelet-1"}},
            "either clusterPackageVersion or machinePackageVersion",
        ),
        ({"change": {}}, "either clusterPackageVersion or machinePackageVersion"),
        (
            {"change": {"machinePackageVersion": "kubelet-1"}, "stages": [{"name": "c", "clusters": ["a/b"]}, REST]},
            "names pools in its stages",
        ),
        ({"stages": [{"name": "c", "pools": ["a/b"]}, REST]}, "a change of clusters names clusters"),
        ({"stages": [{"name": "c", "pools": ["a/b"], "percent": 5}, REST]}, "exactly one of clusters, pools, percent and rest"),
        ({"analysis": {"metrics": [METRIC | {"good": "sum(a)"}]}}, "good"),
    ],
    ids=["both", "neither", "clusters of machines", "pools of clusters", "two sorts of a stage", "no window"],
)
async def test_should_refuse_what_no_rollout_can_be(kube: KubeClient, spec: dict[str, Any], words: str) -> None:
    base = {"change": {"clusterPackageVersion": NEW}, "selector": {"matchLabels": {"a": "b"}}, "stages": [REST]}
    manifest = {"apiVersion": "kok.dev/v1alpha1", "kind": "FleetRollout", "metadata": {"name": fresh()}}
    with pytest.raises(Invalid, match=words):
        await kube.create({**manifest, "spec": base | spec})
    right = {
        "change": {"machinePackageVersion": "kubelet-1"},
        "stages": [{"name": "c", "pools": ["a/b"]}, REST],
        "analysis": {"metrics": [METRIC]},
    }
    made = await kube.create({**manifest, "spec": base | right})
    await kube.delete(Ref.of(made))
