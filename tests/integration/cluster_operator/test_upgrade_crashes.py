"""The crash matrix of an upgrade and a rollback: killed after the n-th accepted write, a fresh process ends where an undisturbed one does.

Beside it the order of changes, with a hop that has them mixed up as its positive control.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import pytest

from operators.domain.plane import hops, ladder
from operators.domain.plane.release_steps import MoveHop
from operators.domain.plane.steps import Step
from operators.domain.plane.view import PlaneView
from operators.ports.kube import AlreadyExists, KubePort, Manifest
from tests.integration.cluster_operator.test_crashes import _difference, _new_stage
from tests.integration.cluster_operator.test_upgrades import OLD, PATCH, VERSIONS, release_of, seen, settled, wish
from tests.integration.cluster_operator.world_of_planes import PACKAGE, Operator, Stage, package_manifest
from tests.integration.kube_proxies import CrashingKube, Killed, RecordingKube

pytestmark = pytest.mark.integration
UP, BACK = (OLD, PACKAGE), (PACKAGE, OLD)


async def _at(before: str, meta: KubePort, business: KubePort) -> Stage:
    """A plane that is whole, at that package."""
    for name, version in VERSIONS.items():
        try:
            await meta.create(package_manifest(name, version))
        except AlreadyExists:
            continue
    stage = await _new_stage(meta, business)
    await stage.create(packageVersion=before, upgrade={"soakSeconds": 0})
    await settled(stage, stage.operator(), before)
    return stage


async def _undisturbed(change: tuple[str, str], meta: KubePort, business: KubePort) -> tuple[int, dict[str, Manifest]]:
    before, after = change
    stage = await _at(before, meta, business)
    await wish(stage, after)
    recorder = RecordingKube(meta)
    await settled(stage, stage.operator(recorder), after)
    return len(recorder.written()), await stage.snapshot()


async def _matrix(
    change: tuple[str, str], writes: Sequence[int], reference: dict[str, Manifest], meta: KubePort, business: KubePort
) -> list[str]:
    """What went wrong, a line for each n. One plane goes there and back: each n costs one change, and one undisturbed way back."""
    before, after = change
    stage, wrong = await _at(before, meta, business), []
    for write in writes:
        await wish(stage, after)
        with pytest.raises(Killed):
            await settled(stage, stage.operator(CrashingKube(meta, after=write)), after)
        await settled(stage, stage.operator(), after)
        if difference := _difference(_without_history(await stage.snapshot()), _without_history(reference)):
            wrong.append(f"after write {write}: another end: {difference}")
        await wish(stage, before)
        await settled(stage, stage.operator(), before)
    return wrong


def _without_history(snapshot: dict[str, Manifest]) -> dict[str, Manifest]:
    """The history tells of the earlier rounds."""
    found = dict(snapshot)
    release = found["ClusterRelease/demo"]
    found["ClusterRelease/demo"] = {**release, "spec": {key: value for key, value in release["spec"].items() if key != "history"}}
    return found


async def _killed_after_each_write(stage: Stage, after: str) -> int:
    """A change in which every process dies right after its first accepted write; how many died. Between any two writes is one death."""
    await wish(stage, after)
    for deaths in range(400):
        try:
            await settled(stage, stage.operator(CrashingKube(stage.admin, after=1)), after)
        except Killed:
            await stage.pods.tick()
            continue
        return deaths
    raise AssertionError(f"no end after 400 processes; at {(await release_of(stage)).get('hop')}")


@pytest.mark.slow
@pytest.mark.parametrize("change", [UP, BACK], ids=["upgrade", "rollback"])
async def test_should_end_the_same_when_every_process_dies_after_its_first_write(
    change: tuple[str, str], meta: KubePort, business: KubePort
) -> None:
    """The whole matrix in one change: every n is the place of a death, and what follows is a fresh process's doing."""
    count, reference = await _undisturbed(change, meta, business)
    stage = await _at(change[0], meta, business)
    deaths = await _killed_after_each_write(stage, change[1])
    print(f"{change[0]} to {change[1]}: about {count} writes undisturbed, {deaths} processes that died after one each")
    assert deaths > 15
    assert _difference(await stage.snapshot(), reference) == ""


@pytest.mark.slow
async def test_should_find_an_operator_that_remembers_what_it_moved(
    meta: KubePort, business: KubePort, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The positive control: API servers are changed only by the process that moved the hop there, as if progress were in its memory."""
    stage = await _at(PATCH, meta, business)
    honest, walk, memory = ladder.apiserver, ladder.hop, {"process": 0, "moved_by": -1}

    def forgetful(view: PlaneView) -> Step | None:
        return honest(view) if memory["moved_by"] == memory["process"] else None

    def remembering(view: PlaneView) -> Step | None:
        step = walk(view)
        memory["moved_by"] = memory["process"] if isinstance(step, MoveHop) else memory["moved_by"]
        return step

    rungs = {honest: forgetful, walk: remembering}
    monkeypatch.setattr(ladder, "LADDER", tuple(rungs.get(rung, rung) for rung in ladder.LADDER))
    fresh = stage.operator

    def another(kube: KubePort | None = None) -> Operator:
        memory["process"] += 1
        return fresh(kube)

    monkeypatch.setattr(stage, "operator", another)
    await _killed_after_each_write(stage, PACKAGE)
    assert (await seen(stage))["apiserver"] == ("1.35.3", ""), "the plane claims to be at the new version and is not"


@pytest.mark.slow
@pytest.mark.parametrize("change", [UP, BACK], ids=["upgrade", "rollback"])
async def test_should_end_the_same_after_a_kill_at_sampled_writes(change: tuple[str, str], meta: KubePort, business: KubePort) -> None:
    """The same from an undisturbed beginning, so that a process that has done much dies, too."""
    count, reference = await _undisturbed(change, meta, business)
    assert await _matrix(change, sorted({5, count // 2, count - 6}), reference, meta, business) == []


async def test_should_go_on_after_a_kill_in_the_middle_of_a_minor(meta: KubePort, business: KubePort) -> None:
    """The quick part of the matrix: one kill at the stage of the API servers, one at that of lifting them."""
    stage = await _at(OLD, meta, business)
    await wish(stage, PACKAGE)
    for write in (9, 8):
        with pytest.raises(Killed):
            await settled(stage, stage.operator(CrashingKube(meta, after=write)), PACKAGE)
        assert "hop" in await release_of(stage), "it was killed on its way"
    await settled(stage, stage.operator(), PACKAGE)
    assert {version for version, _ in (await seen(stage)).values()} == {"1.35.4"}


async def _order(stage: Stage, after: str) -> list[str]:
    """Which masters were changed in turn, each as often as it was."""
    await wish(stage, after)
    recorder = RecordingKube(stage.admin)
    await settled(stage, stage.operator(recorder), after)
    names = [write.ref.name.removeprefix("demo-") for write in recorder.written() if write.ref.kind == "Deployment"]
    return [name for name, _ in groupby("controllers" if name in ("controller-manager", "scheduler") else name for name in names)]


@pytest.mark.slow
async def test_should_change_api_servers_before_controllers_and_the_other_way_round_on_the_way_back(
    meta: KubePort, business: KubePort, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Positive control: a hop with the two exchanged changes them in the other order, and it is seen here."""
    stage = await _at(PATCH, meta, business)
    assert (await _order(stage, PACKAGE))[:2] == ["apiserver", "controllers"]
    assert (await _order(stage, PATCH))[-2:] == ["controllers", "apiserver"]
    honest = hops._FROM
    mixed_up = {**honest, hops.Part.Apiserver: honest[hops.Part.Controllers], hops.Part.Controllers: honest[hops.Part.Apiserver]}
    monkeypatch.setattr(hops, "_FROM", mixed_up)
    assert (await _order(stage, PACKAGE))[:2] == ["controllers", "apiserver"]
