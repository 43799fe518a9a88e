"""A Cluster is made by an operator whose API server is busy or behind: the same end, nothing twice, and never other keys for a plane that lives."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from operators.cluster_operator.cluster import kinds
from operators.cluster_operator.cluster.act import Actor
from operators.cluster_operator.cluster.observe import Observer
from operators.cluster_operator.cluster.sealed import sealed_ref
from operators.domain.plane.view import PlaneView
from operators.errors import KokError
from operators.ports.kube import Key, Kind, KubePort, Listing
from tests.integration.cluster_operator.test_crashes import undisturbed
from tests.integration.cluster_operator.world_of_planes import SYSTEM, OneBusinessServer, Operator, Stage
from tests.integration.kube_proxies import RecordingKube
from tests.integration.troubled_kube import BusyKube, LaggingKube

pytestmark = pytest.mark.integration


class Patient(Operator):
    """As the process is: a list that failed is asked for again before anything is decided."""

    async def one_pass(self, key: Key, *, look: bool = True) -> float | None:
        for watched in self.cache.watched if look else ():
            while True:
                try:
                    await self._sweeper.sweep_kind(watched)
                    break
                except KokError:
                    await asyncio.sleep(0.01)
        return await super().one_pass(key, look=False)


def twice(kube: RecordingKube) -> list[str]:
    """What was created more than once; an application for a grant may be."""
    creates = Counter(str(write) for write in kube.written() if write.verb == "create")
    return [write for write, count in creates.items() if count > 1]


class Busy(BusyKube):
    """A pass makes some dozens of calls, and one that is refused ends it."""

    share = 1 / 15


@pytest.mark.parametrize("trouble", [pytest.param(Busy, marks=pytest.mark.slow), LaggingKube])  # 429 alone: adapters/test_kube.py
async def test_should_make_the_same_plane_over_an_api_that_is_in_trouble(
    stage: Stage, business: KubePort, trouble: type[Busy] | type[LaggingKube]
) -> None:
    _, reference = await undisturbed(stage.admin, business)
    meta = trouble(stage.admin)
    inside = Busy(business) if trouble is Busy else business
    await stage.create()
    await stage.settle(Patient(meta, OneBusinessServer(inside)))
    snapshot = await stage.snapshot()
    assert {name for name in (*reference, *snapshot) if reference.get(name) != snapshot.get(name)} == set()
    assert twice(meta) == []
    if isinstance(meta, Busy) and isinstance(inside, Busy):
        assert meta.refused > 10
        assert inside.refused > 1
    if isinstance(meta, LaggingKube):
        assert meta.stale > 10


class OldListsKube(RecordingKube):
    """For some looks the lists of a whole kind say what was before the plane was made: nothing. Questions for one namespace are answered."""

    def __init__(self, kube: KubePort, looks: int) -> None:
        super().__init__(kube)
        self._looks: Counter[Kind] = Counter()
        self._most = looks

    async def list(self, kind: Kind, *, namespace: str = "", selector: str = "", deadline: float = 10.0) -> Listing:
        found = await super().list(kind, namespace=namespace, selector=selector, deadline=deadline)
        if namespace or kind not in {*kinds.CHILDREN, kinds.RELEASE, kinds.POD}:
            return found
        self._looks[kind] += 1
        return Listing((), "1") if self._looks[kind] <= self._most else found


async def sealed_copy(stage: Stage) -> tuple[str, dict[str, str]]:
    """Which object the sealed copy of the keys is, and the keys."""
    found = await stage.admin.get(kinds.SECRET.ref(f"root-keys.{stage.namespace}.{stage.name}", SYSTEM))
    assert found
    return found["metadata"]["uid"], found["data"]


async def restarted_with_old_lists(stage: Stage) -> None:
    """A fresh process begins with lists of before the plane, then sees the world."""
    await stage.settle(Operator(OldListsKube(stage.admin, looks=4), stage.business))


async def test_should_keep_keys_and_pods_of_a_plane_that_its_first_lists_do_not_show(plane: Stage) -> None:
    keys, objects, pods = await sealed_copy(plane), await plane.snapshot(), await uids_of_pods(plane)

    await restarted_with_old_lists(plane)

    assert await sealed_copy(plane) == keys
    assert await plane.snapshot() == objects
    assert await uids_of_pods(plane) == pods


async def uids_of_pods(stage: Stage) -> set[str]:
    return {pod["metadata"]["uid"] for pod in (await stage.admin.list(kinds.POD, namespace=stage.namespace)).items}


async def test_should_notice_an_operator_that_believes_its_lists(plane: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The positive control: without the second look, and without the write that only the first can make, new keys are made for it."""
    uid, _ = await sealed_copy(plane)
    new_roots = Actor._new_roots

    async def believe(self: Observer, key: Key, view: PlaneView) -> tuple[PlaneView, None]:
        return view, None

    async def overwrite(self: Actor, view: PlaneView, *given: Any) -> None:
        await self._world.meta.delete(sealed_ref(SYSTEM, view.cluster))
        await new_roots(self, view, *given)

    monkeypatch.setattr(Observer, "_with_live_roots", believe)
    monkeypatch.setattr(Actor, "_new_roots", overwrite)
    await restarted_with_old_lists(plane)
    assert (await sealed_copy(plane))[0] != uid
