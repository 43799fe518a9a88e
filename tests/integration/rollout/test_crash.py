"""A rollout whose operator is killed after its n-th accepted write: the next process goes on exactly there, and no member is acted on twice."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterable
from uuid import uuid4

import pytest

from operators.adapters.kube import KubeClient
from operators.cluster_operator.cluster import kinds as cluster_kinds
from operators.cluster_operator.rollout import kinds
from operators.ports.kube import Manifest
from tests.integration.kube_proxies import CrashingKube, Killed, RecordingKube
from tests.integration.rollout.fleet import NEW, OLD, Fleet, RolloutOperator

pytestmark = pytest.mark.usefixtures("crds")
POINTS = 20


async def begun(kube: KubeClient) -> tuple[Fleet, str]:
    """A canary and two others at once; every change is a write of its own."""
    fleet, name = await Fleet.of(kube, 3), f"train-{uuid4().hex[:8]}"
    await fleet.planes_follow()
    stages: list[Manifest] = [
        {"name": "canary", "clusters": [fleet.clusters[0]], "soakSeconds": 0},
        {"name": "rest", "rest": True, "maxParallel": 2, "soakSeconds": 0},
    ]
    await kube.create(fleet.manifest(name, *stages))
    return fleet, name


async def history(fleet: Fleet) -> dict[str, list[tuple[str, str]]]:
    """Cluster -> what was authorised by rollouts, newest first: by whom, to what."""
    found = {}
    for key in fleet.clusters:
        namespace, name = key.split("/")
        release = await fleet.kube.get(cluster_kinds.RELEASE.ref(name, namespace))
        assert release
        every = (release["spec"]["current"], *release["spec"].get("history", ()))
        found[key] = [(each["by"], each["packageVersion"]) for each in every if each["by"] != "Spec"]
    return found


async def recorded(kube: KubeClient) -> int:
    """How many writes a whole rollout is."""
    fleet, name = await begun(kube)
    record = RecordingKube(kube)
    await RolloutOperator(fleet, record).until(name, "Good")
    assert sum(write.ref.kind == "ClusterRelease" for write in record.writes) == 3
    return len(record.written())


async def killed_after(kube: KubeClient, points: Iterable[int]) -> None:
    for number in points:
        fleet, name = await begun(kube)
        try:
            await RolloutOperator(fleet, CrashingKube(kube, after=number)).until(name, "Good")
        except Killed:
            pass
        else:
            raise AssertionError(f"it was not killed after write {number}")
        await RolloutOperator(fleet).until(name, "Good")
        assert await history(fleet) == {key: [("Rollout", NEW)] for key in fleet.clusters}, f"killed after write {number}"


async def test_should_end_alike_when_killed_at_a_few_writes(kube: KubeClient) -> None:
    await killed_after(kube, (2, 6))


@pytest.mark.slow  # its short twin is above
async def test_should_end_alike_when_killed_at_twenty_writes(kube: KubeClient) -> None:
    total = await recorded(kube)
    points = sorted(random.Random(total).sample(range(1, total), min(POINTS, total - 1)))
    print(f"killed after writes {points} of {total}")
    await killed_after(kube, points)


@pytest.mark.slow  # its short twin is the first of this file
async def test_should_take_back_once_when_killed_on_the_way_back(kube: KubeClient) -> None:
    for number in range(1, 9):
        fleet, name = await begun(kube)
        operator = RolloutOperator(fleet)
        await operator.until(name, "Good")
        await kube.patch_json(kinds.ROLLOUT.ref(name), {"spec": {"order": "Undo"}})
        with contextlib.suppress(Killed):
            await RolloutOperator(fleet, CrashingKube(kube, after=number)).until(name, "Undone")
        await RolloutOperator(fleet).until(name, "Undone")
        assert await history(fleet) == {key: [("Undo", OLD), ("Rollout", NEW)] for key in fleet.clusters}, f"killed after write {number}"
