"""The crash matrix: the operator is killed after its n-th accepted write, for every n of a creation; a fresh one must end where an undisturbed one does.

Positive control: the same matrix over a ladder with a typical mistake (a StatefulSet that exists is taken for a plane that was applied
whole) must find it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from uuid import uuid4

import pytest

from operators.cluster_operator.cluster import act, kinds
from operators.domain.plane import ladder
from operators.domain.plane.steps import Release, Step
from operators.domain.plane.view import Plan, PlaneView
from operators.ports.kube import KubePort, Manifest, Ref
from tests.integration.cluster_operator.world_of_planes import SYSTEM, OneBusinessServer, Stage
from tests.integration.kube_proxies import Answer, CrashingKube, Killed, RecordingKube

pytestmark = pytest.mark.integration


async def _new_stage(meta: KubePort, business: KubePort) -> Stage:
    namespace = f"test-{uuid4().hex[:10]}"
    await meta.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    return Stage(meta, OneBusinessServer(business), namespace)


_REFERENCE: list[tuple[int, dict[str, Manifest]]] = []


async def undisturbed(meta: KubePort, business: KubePort) -> tuple[int, dict[str, Manifest]]:
    """How many writes a creation takes, and what is there at its end; made once, as nothing in it is of a time or a namespace."""
    if not _REFERENCE:
        _REFERENCE.append(await _undisturbed_creation(meta, business))
    return _REFERENCE[0]


async def _undisturbed_creation(meta: KubePort, business: KubePort) -> tuple[int, dict[str, Manifest]]:
    stage = await _new_stage(meta, business)
    await stage.create()
    recorder = RecordingKube(meta)
    await stage.settle(stage.operator(recorder))
    snapshot = await stage.snapshot()
    await stage.clear()
    return len(recorder.written()), snapshot


async def _killed_after(write: int, count: int, meta: KubePort, business: KubePort) -> tuple[Stage, dict[str, str]]:
    """A creation whose first process dies right after that write; the keys as they were sealed at that moment, if they were.

    Of about `count` writes the last ones are of the status, and may be one or two fewer.
    """
    stage = await _new_stage(meta, business)
    await stage.create()
    with pytest.raises(Killed) if write < count - 2 else suppress(Killed):
        await stage.settle(stage.operator(CrashingKube(meta, after=write)))
    return stage, await stage.secret(f"root-keys.{stage.namespace}.demo", SYSTEM)


async def _matrix(writes: Sequence[int], meta: KubePort, business: KubePort) -> list[str]:
    """What went wrong, a line for each n; empty if nothing did."""
    wrong, (count, reference) = [], await undisturbed(meta, business)
    for write in writes:
        stage, sealed = await _killed_after(write, count, meta, business)
        try:
            await stage.settle(stage.operator())
        except AssertionError as error:
            wrong.append(f"after write {write}: {error}")
            continue
        if difference := _difference(await stage.snapshot(), reference):
            wrong.append(f"after write {write}: another end: {difference}")
        if sealed and await stage.secret(f"root-keys.{stage.namespace}.demo", SYSTEM) != sealed:
            wrong.append(f"after write {write}: other root keys")
        await stage.clear()
    return wrong


def _difference(found: dict[str, Manifest], reference: dict[str, Manifest]) -> str:
    """The first object that differs, and how; empty if none does."""
    for name in sorted({*found, *reference}):
        if found.get(name) != reference.get(name):
            return f"{name}: {found.get(name)} instead of {reference.get(name)}"
    return ""


@pytest.mark.slow
async def test_should_end_the_same_wherever_it_was_killed(meta: KubePort, business: KubePort) -> None:
    count, _ = await undisturbed(meta, business)
    print(f"a creation takes about {count} writes")
    assert count > 40
    assert await _matrix(range(1, count + 1), meta, business) == []


class _OneWrite(CrashingKube):
    """Dies right after its first write; what was sent beside it comes too late, so that nothing is written but that."""

    def __init__(self, kube: KubePort) -> None:
        super().__init__(kube, after=1)
        self._turn = asyncio.Lock()

    async def _written(self, verb: str, ref: Ref, call: Callable[[], Awaitable[Answer]]) -> Answer:
        async with self._turn:
            return await super()._written(verb, ref, call)


async def test_should_end_the_same_though_every_process_dies_after_its_first_write(meta: KubePort, business: KubePort) -> None:
    """The quick part of the matrix, every n in one creation: between any two writes is one death, and what follows is a fresh process's doing."""
    count, reference = await undisturbed(meta, business)
    stage, deaths, sealed = await _new_stage(meta, business), 0, dict[str, str]()
    await stage.create()
    while True:
        try:
            await stage.settle(stage.operator(_OneWrite(meta)))
            break
        except Killed:
            deaths += 1
            assert deaths < 3 * count, f"no end after {deaths} processes"
            sealed = sealed or await stage.secret(f"root-keys.{stage.namespace}.demo", SYSTEM)
            await stage.pods.tick()
    assert deaths > count * 0.7, f"{deaths} deaths, {count} writes"
    assert _difference(await stage.snapshot(), reference) == ""
    assert await stage.secret(f"root-keys.{stage.namespace}.demo", SYSTEM) == sealed != {}, "other root keys"
    await stage.clear()


async def test_should_end_the_same_after_a_kill_at_sampled_writes(meta: KubePort, business: KubePort) -> None:
    """Of processes that have done much: in the middle of parallel writes, and near the end."""
    count, _ = await undisturbed(meta, business)
    assert await _matrix((20, count - 3, count), meta, business) == []


async def test_should_find_a_ladder_that_takes_the_first_object_for_the_whole(
    meta: KubePort, business: KubePort, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The positive control."""
    _, reference = await undisturbed(meta, business)
    monkeypatch.setattr(act, "AT_ONCE", 1)  # one write after the other, so that the kill leaves the same half every time
    honest = ladder.missing_objects

    def hasty(view: PlaneView) -> Step | None:
        started = any(each.kind == "StatefulSet" for each in view.objects)
        return None if started else honest(view)

    rungs = tuple(hasty if rung in (honest, ladder.apiserver, ladder.controllers) else rung for rung in ladder.LADDER)
    monkeypatch.setattr(ladder, "LADDER", rungs)
    stage = await _new_stage(meta, business)
    await stage.create()
    with pytest.raises(Killed):
        await stage.settle(stage.operator(_AfterStatefulSet(meta, after=10_000)))
    with pytest.raises(AssertionError, match="not reached"):
        await stage.settle(stage.operator(), patience=6.0)
    assert await stage.snapshot() != reference


REMOVABLE = ("ConfigMap", "Service", "ClusterRoleBinding", "RoleBinding", "ServiceAccount")


class _AfterStatefulSet(CrashingKube):
    """Dies right after a StatefulSet was written."""

    def _accepted(self, write: object) -> None:
        if "StatefulSet" in str(write):
            self.after = len(self.written()) + 1
        super()._accepted(write)  # type: ignore[arg-type]


@pytest.mark.parametrize("step", [pytest.param(1, marks=pytest.mark.slow), 6])
async def test_should_put_back_everything_inside_after_a_kill_in_the_middle_of_it(meta: KubePort, business: KubePort, step: int) -> None:
    """The writes into the business cluster: its objects are deleted, the operator killed after every n-th it puts back."""
    stage = await _new_stage(meta, business)
    await stage.create()
    operator = stage.operator()
    await stage.settle(operator)
    view = await operator.controller.observe(stage.key)
    assert view
    assert isinstance(view.plan, Plan)
    removable = [each for each in view.plan.inside if each["kind"] in REMOVABLE]
    assert len(removable) > 10
    for write in range(1, len(removable), step):
        for manifest in removable:
            await business.delete(Ref.of(manifest))
        crashing = Stage(meta, OneBusinessServer(CrashingKube(business, after=write)), stage.namespace)
        with pytest.raises(Killed):
            await crashing.settle(crashing.operator())
        await stage.settle(stage.operator())


async def _deleted_by_processes_that_die(stage: Stage) -> int:
    """Delete the Cluster; every process dies right after its first accepted write. How many died."""
    await stage.admin.delete(kinds.CLUSTER.ref(stage.name, stage.namespace))
    for deaths in range(200):
        try:
            await stage.until_gone(stage.operator(CrashingKube(stage.admin, after=1)), patience=30.0)
        except Killed:
            await stage.pods.tick()
            continue
        return deaths
    raise AssertionError("not gone after 200 processes")


async def _left(stage: Stage) -> list[str]:
    """What of the plane is still there: in its namespace, outside of it, and the sealed keys."""
    found = []
    for kind in (*kinds.CHILDREN, kinds.POD, *kinds.OUTSIDE_CHILDREN):
        namespace = "" if kind in kinds.OUTSIDE_CHILDREN else stage.namespace
        items = (await stage.admin.list(kind, namespace=namespace, selector=f"kok.dev/cluster={stage.name}")).items
        found += [f"{kind.kind} {each['metadata']['name']}" for each in items if namespace or stage.namespace in each["metadata"]["name"]]
    sealed = await stage.secret(f"root-keys.{stage.namespace}.{stage.name}", SYSTEM)
    return found + (["sealed keys"] if sealed else [])


@pytest.mark.slow
async def test_should_leave_nothing_though_every_process_of_a_deletion_dies_after_its_first_write(
    meta: KubePort, business: KubePort, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Positive control: a deletion that lets the Cluster go before it looked at what is left is found."""
    stage = await _new_stage(meta, business)
    await stage.create()
    await stage.settle(stage.operator())
    assert await _deleted_by_processes_that_die(stage) > 10
    assert await _left(stage) == []

    monkeypatch.setattr(ladder, "deletion_step", lambda view: Release("everything of this Cluster is gone"))
    hasty = await _new_stage(meta, business)
    await hasty.create()
    await hasty.settle(hasty.operator())
    await _deleted_by_processes_that_die(hasty)
    assert len(await _left(hasty)) > 10
