"""An edit of spec.packageVersion moves a plane to another version and back, stage by stage; what is in between is always one of its stages."""

from __future__ import annotations

from typing import Any

import pytest

from operators.cluster_operator.cluster import kinds
from operators.domain.plane.release_steps import EndHop, MoveHop, WriteRelease
from operators.domain.plane.steps import Done, Stall, Step, Wait
from operators.ports.kube import AlreadyExists, Kind, KubePort, Manifest
from tests.integration.cluster_operator.world_of_planes import PACKAGE, PULLING, Operator, Stage, package_manifest
from tests.integration.kube_proxies import RecordingKube

pytestmark = pytest.mark.integration

OLD, PATCH, OLDEST = "kubernetes-1.34.4-test", "kubernetes-1.35.3-test", "kubernetes-1.33.13-test"
VERSIONS = {OLD: "1.34.4", PATCH: "1.35.3", OLDEST: "1.33.13"}
MASTERS = ("apiserver", "controller-manager", "scheduler")
Seen = tuple[str, str]
"""Version of a component's image, and what it emulates."""


@pytest.fixture
async def upgradable(stage: Stage, meta: KubePort) -> Stage:
    """A stage whose catalogue has four versions."""
    for name, version in VERSIONS.items():
        try:
            await meta.create(package_manifest(name, version))
        except AlreadyExists:
            continue
    return stage


async def wish(stage: Stage, package: str, **spec: Any) -> None:
    await stage.admin.patch_json(kinds.CLUSTER.ref(stage.name, stage.namespace), {"spec": {"packageVersion": package, **spec}})


async def release_of(stage: Stage) -> Manifest:
    found = await stage.admin.get(kinds.RELEASE.ref(stage.name, stage.namespace))
    assert found
    return dict(found["spec"])


async def seen(stage: Stage) -> dict[str, Seen]:
    """What the masters' Deployments say now."""
    found = {}
    for component in MASTERS:
        deployment = await stage.admin.get(kinds.DEPLOYMENT.ref(f"{stage.name}-{component}", stage.namespace))
        assert deployment
        container = deployment["spec"]["template"]["spec"]["containers"][0]
        emulated = [word.partition("=")[2] for word in container["args"] if word.startswith("--emulated-version=")]
        found[component] = (container["image"].rpartition(":v")[2], emulated[0] if emulated else "")
    return found


def stages_walked(operator: Operator) -> list[str]:
    """The stages that the hop entered, in order."""
    return [str(step.spec.hop.stage) for step in operator.steps if isinstance(step, MoveHop) and step.spec.hop]


def at_stage(name: str) -> Any:
    return lambda step: isinstance(step, MoveHop) and step.spec.hop is not None and step.spec.hop.stage == name


async def settled(stage: Stage, operator: Operator, package: str) -> None:
    """Until the plane as a whole is at that package."""

    def reached(step: Step) -> bool:
        return isinstance(step, Done) and package in step.reason

    await stage.until(operator, reached, 240.0)


async def test_should_go_to_another_patch_and_back(upgradable: Stage) -> None:
    await upgradable.create(packageVersion=PATCH)
    operator = upgradable.operator()
    await settled(upgradable, operator, PATCH)
    await wish(upgradable, PACKAGE)
    await settled(upgradable, operator, PACKAGE)
    assert stages_walked(operator) == ["Apiserver", "Controllers", "Addons", "MachineOperator"]
    assert await seen(upgradable) == dict.fromkeys(MASTERS, ("1.35.4", ""))
    release = await release_of(upgradable)
    assert (release["current"]["from"], release["current"]["packageVersion"]) == (PATCH, PACKAGE)
    assert release["history"][0]["packageVersion"] == PATCH
    assert (release["reached"], "hop" in release) == (PACKAGE, False)
    operator.steps.clear()
    await wish(upgradable, PATCH)
    await settled(upgradable, operator, PATCH)
    assert stages_walked(operator) == ["Addons", "Controllers", "Apiserver", "Prepare"]
    assert await seen(upgradable) == dict.fromkeys(MASTERS, ("1.35.3", ""))


async def test_should_follow_a_wish_for_a_version_that_came_together_with_it(upgradable: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The catalogue as it was read a moment ago is no reason to call the version missing, and to look again a minute later."""
    monkeypatch.setattr("operators.cluster_operator.cluster.release_look.CATALOGUE_SECONDS", 3600.0)
    await upgradable.create(packageVersion=PATCH)
    operator = upgradable.operator()
    await settled(upgradable, operator, PATCH)
    await wish(upgradable, PACKAGE)
    await settled(upgradable, operator, PACKAGE)
    operator.steps.clear()
    new = f"kubernetes-1.35.3-{upgradable.namespace}"
    await upgradable.admin.create(package_manifest(new, "1.35.3"))
    await wish(upgradable, new)
    await settled(upgradable, operator, new)
    assert [step for step in operator.steps if isinstance(step, Stall)] == []


async def test_should_soak_a_new_minor_under_emulation_before_it_is_let_loose(upgradable: Stage) -> None:
    await upgradable.create(packageVersion=OLD, upgrade={"soakSeconds": 3600})
    operator = upgradable.operator()
    await settled(upgradable, operator, OLD)
    await wish(upgradable, PACKAGE)
    step = await upgradable.until(operator, lambda step: isinstance(step, Wait) and "soaks for" in step.reason)
    assert "emulating 1.34" in step.reason
    assert await seen(upgradable) == dict.fromkeys(MASTERS, ("1.35.4", "1.34"))
    assert (await upgradable.condition("ReleaseMatchesWish"))["reason"] == "Upgrading"
    assert (await upgradable.cluster())["status"]["phase"] == "Upgrading"
    await upgradable.admin.patch_json(kinds.CLUSTER.ref("demo", upgradable.namespace), {"spec": {"upgrade": {"soakSeconds": 0}}})
    await settled(upgradable, operator, PACKAGE)
    assert stages_walked(operator) == [
        "Apiserver", "Controllers", "Soak", "LiftApiserver", "LiftControllers", "Addons", "MachineOperator"
    ]  # fmt: skip
    assert await seen(upgradable) == dict.fromkeys(MASTERS, ("1.35.4", ""))


@pytest.mark.slow
async def test_should_lower_the_emulation_before_it_goes_back_a_minor(upgradable: Stage) -> None:
    await upgradable.create(packageVersion=PACKAGE, upgrade={"soakSeconds": 0})
    operator = upgradable.operator()
    await settled(upgradable, operator, PACKAGE)
    await wish(upgradable, OLD)
    await upgradable.until(operator, at_stage("Controllers"))
    assert await seen(upgradable) == dict.fromkeys(MASTERS, ("1.35.4", "1.34"))
    await settled(upgradable, operator, OLD)
    assert await seen(upgradable) == dict.fromkeys(MASTERS, ("1.34.4", ""))
    assert stages_walked(operator)[-3:] == ["Controllers", "Apiserver", "Prepare"]


@pytest.mark.slow
async def test_should_take_a_snapshot_and_the_images_first_and_keep_only_the_snapshot(upgradable: Stage) -> None:
    await upgradable.create(packageVersion=OLD, upgrade={"soakSeconds": 0})
    operator = upgradable.operator()
    await settled(upgradable, operator, OLD)
    upgradable.pods.broken["snapshot"] = PULLING
    await wish(upgradable, PACKAGE)
    step = await upgradable.until(
        operator, lambda step: isinstance(step, Wait) and "snapshot" in step.reason and "ImagePull" in step.reason
    )
    assert "a snapshot of etcd is taken first" in step.reason
    assert await seen(upgradable) == dict.fromkeys(MASTERS, ("1.34.4", "")), "nothing has moved yet"
    daemon_set = await upgradable.admin.get(kinds.DAEMON_SET.ref("demo-prepull", upgradable.namespace))
    assert daemon_set
    assert "registry.k8s.io/kube-apiserver:v1.35.4" in str(daemon_set["spec"])
    del upgradable.pods.broken["snapshot"]
    await settled(upgradable, operator, PACKAGE)
    assert await upgradable.admin.get(kinds.DAEMON_SET.ref("demo-prepull", upgradable.namespace)) is None
    assert (await upgradable.admin.list(kinds.JOB, namespace=upgradable.namespace)).items == ()
    assert await upgradable.admin.get(kinds.VOLUME_CLAIM.ref("demo-snapshots", upgradable.namespace))


@pytest.mark.slow
async def test_should_chain_several_minors_each_whole_before_the_next(upgradable: Stage) -> None:
    await upgradable.create(packageVersion=OLDEST, upgrade={"soakSeconds": 0})
    operator = upgradable.operator()
    await settled(upgradable, operator, OLDEST)
    await wish(upgradable, PACKAGE)
    await settled(upgradable, operator, PACKAGE)
    ends = [step.spec.reached for step in operator.steps if isinstance(step, EndHop)]
    assert ends == [OLD, PACKAGE]
    assert f"by way of {OLD}" in (await release_of(upgradable))["current"]["reason"]


@pytest.mark.slow
async def test_should_turn_round_in_the_middle_even_when_the_new_version_never_comes_up(upgradable: Stage) -> None:
    await upgradable.create(packageVersion=OLD, upgrade={"soakSeconds": 0})
    operator = upgradable.operator()
    await settled(upgradable, operator, OLD)
    upgradable.pods.of_image["registry.k8s.io/kube-apiserver:v1.35.4"] = PULLING
    await wish(upgradable, PACKAGE)
    await upgradable.until(operator, lambda step: "ImagePullBackOff" in step.reason)
    assert (await seen(upgradable))["apiserver"] == ("1.35.4", "1.34")
    await wish(upgradable, OLD)
    await settled(upgradable, operator, OLD)
    assert await seen(upgradable) == dict.fromkeys(MASTERS, ("1.34.4", ""))
    assert (await upgradable.condition("Ready"))["status"] == "True"


async def test_should_say_that_a_hop_is_stuck_and_turn_round_all_the_same(upgradable: Stage) -> None:
    await upgradable.create(packageVersion=PATCH, upgrade={"stageDeadlineSeconds": 600})
    operator = upgradable.operator()
    await settled(upgradable, operator, PATCH)
    upgradable.pods.of_image["registry.k8s.io/kube-apiserver:v1.35.4"] = PULLING
    await wish(upgradable, PACKAGE)
    await upgradable.until(operator, lambda step: isinstance(step, Wait) and "ImagePullBackOff" in step.reason)
    entered = {"spec": {"hop": {"stageSince": "2026-01-01T00:00:00Z"}}}
    await upgradable.admin.patch_json(kinds.RELEASE.ref(upgradable.name, upgradable.namespace), entered)
    step = await upgradable.stalled(operator)
    assert step.code == "UpgradeOverdue"
    assert f"{PATCH} to {PACKAGE}: stage Apiserver was not done within 600 s" in step.reason
    assert (await upgradable.condition("Stalled"))["message"] == step.reason
    await wish(upgradable, PATCH)
    await settled(upgradable, operator, PATCH)
    assert await seen(upgradable) == dict.fromkeys(MASTERS, ("1.35.3", ""))
    assert (await upgradable.condition("Stalled"))["status"] == "False"


async def test_should_do_nothing_while_paused_and_go_on_afterwards(upgradable: Stage) -> None:
    await upgradable.create(packageVersion=PATCH)
    operator = upgradable.operator()
    await settled(upgradable, operator, PATCH)
    await wish(upgradable, PACKAGE)
    await upgradable.until(operator, at_stage("Controllers"))
    await wish(upgradable, PACKAGE, paused=True)
    recorder = RecordingKube(upgradable.admin)
    fresh = upgradable.operator(recorder)
    for _ in range(3):
        await fresh.one_pass(upgradable.key)
    assert {write.verb for write in recorder.written()} <= {"patch_status"}
    await wish(upgradable, PACKAGE, paused=False)
    await upgradable.until(upgradable.operator(), at_stage("Addons"))
    assert (await seen(upgradable))["scheduler"] == ("1.35.4", "")


async def test_should_refuse_what_has_no_path_and_keep_the_plane(upgradable: Stage) -> None:
    await upgradable.admin.create(package_manifest(f"kubernetes-1.37.1-{upgradable.namespace}", "1.37.1"))
    await upgradable.create(packageVersion=OLD)
    operator = upgradable.operator()
    await settled(upgradable, operator, OLD)
    await wish(upgradable, f"kubernetes-1.37.1-{upgradable.namespace}")
    step = await upgradable.stalled(operator)
    assert step.code == "UpgradeRefused"
    assert "no ClusterPackageVersion of Kubernetes 1.36" in step.reason
    assert "the nearest that is allowed is kubernetes-1.35.4-" in step.reason  # other tests' packages of that version are as near
    assert (await release_of(upgradable))["current"]["packageVersion"] == OLD
    await upgradable.admin.delete(kinds.DEPLOYMENT.ref("demo-scheduler", upgradable.namespace))
    await upgradable.until(operator, lambda step: isinstance(step, Stall))
    assert await seen(upgradable) == dict.fromkeys(MASTERS, ("1.34.4", "")), "it is repaired all the same"
    await wish(upgradable, OLD)
    await settled(upgradable, operator, OLD)


@pytest.mark.parametrize("way", ["deleted", "confirmed"])
async def test_should_refuse_an_older_minor_that_cannot_serve_what_is_stored(upgradable: Stage, business: KubePort, way: str) -> None:
    name = f"gold-{upgradable.namespace}"
    stored = Kind("resource.k8s.io/v1", "DeviceClass")
    await upgradable.create(packageVersion=PACKAGE)
    operator = upgradable.operator()
    await settled(upgradable, operator, PACKAGE)
    before = await upgradable.snapshot()
    metadata = {"apiVersion": stored.api_version, "kind": stored.kind, "metadata": {"name": name}}
    await business.create({**metadata, "spec": {}})
    await wish(upgradable, OLDEST)
    step = await upgradable.stalled(operator)
    assert step.code == "UpgradeRefused"
    assert f"{OLDEST} cannot serve what is stored: 1 deviceclasses.resource.k8s.io ({name})" in step.reason
    assert f"set spec.upgrade.confirmUnserved to {OLDEST}" in step.reason
    assert await upgradable.snapshot() == before, "nothing is touched"
    if way == "confirmed":
        await wish(upgradable, OLDEST, upgrade={"confirmUnserved": OLDEST})
    else:
        await business.delete(stored.ref(name))
    fresh = upgradable.operator()
    await upgradable.until(fresh, lambda step: isinstance(step, WriteRelease))
    assert (await release_of(upgradable))["current"]["packageVersion"] == OLDEST
    await business.delete(stored.ref(name))


async def test_should_wait_for_a_rollout_where_the_policy_says_so(upgradable: Stage) -> None:
    await upgradable.create(packageVersion=OLD, changePolicy="RolloutOnly")
    operator = upgradable.operator()
    await settled(upgradable, operator, OLD)
    await wish(upgradable, PACKAGE)
    await settled(upgradable, operator, OLD)
    assert not any(isinstance(step, WriteRelease) for step in operator.steps)
    condition = await upgradable.condition("ReleaseMatchesWish")
    assert (condition["status"], condition["reason"]) == ("False", "RolloutNeeded")
    assert condition["message"].endswith("only a FleetRollout that covers this Cluster authorises it")
    await wish(upgradable, "kubernetes-0.0.0-r0")
    await settled(upgradable, operator, OLD)
    assert "no ClusterPackageVersion kubernetes-0.0.0-r0 exists" in (await upgradable.condition("ReleaseMatchesWish"))["message"]
