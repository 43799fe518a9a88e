"""Somebody who applies Git all the time, a Cluster controller that follows wishes, and a rollout: nobody fights, whoever goes on or back.

Real: the API server, the rollout's operator, and what the Cluster controller decides (`authorised_wish`). Git is applied as Flux does it: server-side,
by force, again and again.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from operators.adapters.kube import KubeClient
from operators.api.cluster import Cluster
from operators.api.cluster_release import ClusterRelease
from operators.api.packages import ClusterPackageVersion
from operators.cluster_operator.cluster import kinds as cluster_kinds
from operators.cluster_operator.rollout import kinds
from operators.domain.plane import release as release_rungs
from operators.domain.plane.release import release_manifest
from operators.domain.plane.release_steps import AuthoriseVersion
from operators.domain.plane.release_words import release_verdict
from operators.domain.plane.steps import Done
from operators.domain.plane.upgrade_view import UpgradeFacts
from operators.domain.plane.view import PlaneView
from operators.ports.kube import Manifest
from tests.integration.cluster_operator.world_of_planes import cluster_manifest
from tests.integration.rollout.fleet import NEW, OLD, Fleet, RolloutOperator

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("crds")]


@dataclass
class Git:
    """What is committed, for every cluster of a fleet, and who applies it."""

    fleet: Fleet
    flux: KubeClient
    policy: str
    version: str = OLD
    every: float = 1.0
    applied: int = 0
    once: asyncio.Event = field(default_factory=asyncio.Event)

    async def applied_for_ever(self) -> None:
        while True:
            for key in self.fleet.clusters:
                namespace, name = key.split("/")
                manifest = cluster_manifest(namespace, name, packageVersion=self.version, changePolicy=self.policy)
                manifest["metadata"]["labels"] = {"fleet": self.fleet.name}
                await self.flux.apply(manifest)
            self.applied += 1
            self.once.set()
            await asyncio.sleep(self.every)


async def view_of(fleet: Fleet, key: str) -> PlaneView:
    """What the Cluster controller needs to judge a wish."""
    namespace, name = key.split("/")
    cluster = await fleet.kube.get(cluster_kinds.CLUSTER.ref(name, namespace))
    release = await fleet.kube.get(cluster_kinds.RELEASE.ref(name, namespace))
    assert cluster
    assert release
    packages = {
        each["metadata"]["name"]: ClusterPackageVersion.parse(each) for each in (await fleet.kube.list(cluster_kinds.PACKAGE)).items
    }
    return PlaneView(datetime.now(UTC), Cluster.parse(cluster), {}, release=ClusterRelease.parse(release), upgrade=UpgradeFacts(packages))


async def wishes_followed(fleet: Fleet) -> None:
    """One pass of the Cluster controller over every cluster, as far as authorising goes."""
    for key in fleet.clusters:
        step = release_rungs.authorised_wish(await view_of(fleet, key))
        if isinstance(step, AuthoriseVersion):
            namespace, name = key.split("/")
            await fleet.kube.patch_json(cluster_kinds.RELEASE.ref(name, namespace), {"spec": release_manifest(step.spec)})


async def line_of(fleet: Fleet, key: str) -> list[tuple[str, str]]:
    """Everything that was ever authorised for a cluster, oldest first: version and by whom."""
    namespace, name = key.split("/")
    release = await fleet.kube.get(cluster_kinds.RELEASE.ref(name, namespace))
    assert release
    every = (*reversed(release["spec"].get("history", ())), release["spec"]["current"])
    return [(each["packageVersion"], each["by"]) for each in every]


class Scene:
    """A fleet of two, Git applied every second, both controllers at work."""

    def __init__(self, fleet: Fleet, git: Git) -> None:
        self.fleet, self.git, self.operator = fleet, git, RolloutOperator(fleet)
        follow = fleet.planes_follow

        async def everybody() -> None:
            await follow()
            await wishes_followed(fleet)

        fleet.planes_follow = everybody  # type: ignore[method-assign]

    async def at_rest(self, seconds: float = 2.0) -> dict[str, int]:
        """Go on for a while after the end; how often each release was written in all."""
        ends = asyncio.get_running_loop().time() + seconds
        applied = self.git.applied
        while asyncio.get_running_loop().time() < ends or self.git.applied < applied + 2:
            await self.fleet.planes_follow()
            await asyncio.sleep(0.2)
        found = {}
        for key in self.fleet.clusters:
            namespace, name = key.split("/")
            release = await self.fleet.kube.get(cluster_kinds.RELEASE.ref(name, namespace))
            assert release
            found[key] = int(release["metadata"]["generation"])
        return found

    async def verdict(self, key: str) -> tuple[str, str]:
        """What the condition ReleaseMatchesWish would say."""
        _, reason, words = release_verdict(await view_of(self.fleet, key), Done("as wished"))
        return reason, words


@pytest.fixture
async def scene(request: pytest.FixtureRequest, kube: KubeClient, kube_as: object) -> object:
    """`policy` and what Git wishes come by indirect parameters."""
    policy, version = request.param
    fleet = await Fleet.of(kube, 2)
    flux = kube_as("flux", "system:masters", field_manager="kustomize-controller")  # type: ignore[operator]
    git = Git(fleet, flux, policy, version)
    made = Scene(fleet, git)
    applier = asyncio.create_task(git.applied_for_ever())
    await asyncio.wait_for(git.once.wait(), 30)
    yield made
    applier.cancel()
    await asyncio.wait({applier})
    assert applier.cancelled(), "Git was applied to the end"


async def started(scene: Scene, *stages: Manifest) -> str:
    name = f"git-{uuid4().hex[:8]}"
    await scene.fleet.kube.create(scene.fleet.manifest(name, *stages))
    return name


SHORT = {"soakSeconds": 1}


@pytest.mark.parametrize("scene", [("Direct", OLD), pytest.param(("RolloutOnly", OLD), marks=pytest.mark.slow)], indirect=True)
async def test_should_go_past_git_once_and_say_what_to_commit(scene: Scene) -> None:
    name = await started(scene)
    await scene.operator.until(name, "Good")
    before = await scene.at_rest(0.0)
    assert await scene.at_rest() == before, "Git is applied on, and nobody writes"
    for key in scene.fleet.clusters:
        assert await line_of(scene.fleet, key) == [(OLD, "Spec"), (NEW, "Rollout")]
        reason, words = await scene.verdict(key)
        assert reason == "RolloutAhead"
        assert words.endswith(f"commit spec.packageVersion {NEW}")
    scene.git.version = NEW
    await scene.at_rest()
    for key in scene.fleet.clusters:
        assert await line_of(scene.fleet, key) == [(OLD, "Spec"), (NEW, "Rollout")], "the commit is no new change"
        assert (await scene.verdict(key))[0] == "Same"


@pytest.mark.parametrize("scene", [("Direct", OLD), pytest.param(("RolloutOnly", OLD), marks=pytest.mark.slow)], indirect=True)
async def test_should_be_taken_back_by_itself_and_stay_back(scene: Scene) -> None:
    scene.fleet.no_pods.add(NEW)
    name = await started(scene)
    await scene.operator.until(name, "Bad")
    before = await scene.at_rest(0.0)
    assert await scene.at_rest() == before
    canary, other = scene.fleet.clusters
    assert await line_of(scene.fleet, canary) == [(OLD, "Spec"), (NEW, "Rollout"), (OLD, "Undo")]
    assert await line_of(scene.fleet, other) == [(OLD, "Spec")]
    assert (await scene.verdict(canary))[0] == "Same"


@pytest.mark.parametrize("scene", [("RolloutOnly", NEW)], indirect=True)
async def test_should_change_nothing_by_a_commit_alone_nor_after_it_was_taken_back(scene: Scene) -> None:
    await scene.at_rest()
    for key in scene.fleet.clusters:
        assert await line_of(scene.fleet, key) == [(OLD, "Spec")]
        assert (await scene.verdict(key))[0] == "RolloutNeeded"
    scene.fleet.no_pods.add(NEW)
    name = await started(scene)
    await scene.operator.until(name, "Bad")
    await scene.at_rest()
    canary, other = scene.fleet.clusters
    assert await line_of(scene.fleet, canary) == [(OLD, "Spec"), (NEW, "Rollout"), (OLD, "Undo")]
    assert await line_of(scene.fleet, other) == [(OLD, "Spec")]
    reason, words = await scene.verdict(canary)
    assert (reason, f"took it back to {OLD}" in words) == ("RolloutAhead", True)


@pytest.mark.parametrize("scene", [("Direct", OLD)], indirect=True)
async def test_should_take_a_commit_after_an_undo_for_a_new_wish_only_when_it_says_something_new(scene: Scene) -> None:
    name = await started(scene)
    await scene.operator.until(name, "Good")
    scene.git.version = NEW
    await scene.at_rest(1.0)
    await scene.fleet.kube.patch_json(kinds.ROLLOUT.ref(name), {"spec": {"order": "Undo"}})
    await scene.operator.until(name, "Undone")
    await scene.at_rest()
    for key in scene.fleet.clusters:
        assert (await line_of(scene.fleet, key))[-1] == (OLD, "Undo"), "Git says NEW on and on, which is no new wish"


@pytest.mark.parametrize("scene", [("Direct", OLD)], indirect=True)
async def test_should_see_the_fight_if_an_overruled_wish_counted_as_a_new_one(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """The positive control: without the memory of what was overruled, both write against each other."""

    def forgetful(view: PlaneView) -> object:
        assert isinstance(view.release, ClusterRelease)
        differs = view.release.spec.current.package_version != view.cluster.spec.package_version
        return view.release.spec if differs else None

    monkeypatch.setattr(release_rungs, "differing_release", forgetful)
    name = await started(scene)
    canary = scene.fleet.clusters[0]
    for _ in range(60):
        await scene.fleet.planes_follow()
        await scene.operator.one_round(name)
        if len(await line_of(scene.fleet, canary)) > 3:
            return
    raise AssertionError(await line_of(scene.fleet, canary))
