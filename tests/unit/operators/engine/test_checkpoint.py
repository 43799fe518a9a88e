"""What needs no first look after a restart: taken over only if it is exactly as it was left, written seldom, and never in the way."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from operators.engine import checkpoint as checkpoint_module
from operators.engine.checkpoint import LATEST_SECONDS, REST_SECONDS, Checkpoint, Left, Place
from operators.ports.kube import Key, Manifest, Ref, Unreachable

pytestmark = pytest.mark.looptime

REF = Ref("v1", "ConfigMap", "kok-system", "at-rest")
ONE, TWO, WIDE = Key("cluster", "ns", "one"), Key("records", "ns", "pool/two"), Key("records", "", "wide")


class ConfigMaps:
    """Holds one object; `refuse` is raised instead."""

    def __init__(self) -> None:
        self.held: Manifest | None = None
        self.writes: list[float] = []
        self.refuse: Exception | None = None

    async def get(self, ref: Ref, **_: Any) -> Manifest | None:
        if self.refuse:
            raise self.refuse
        return self.held

    async def apply(self, manifest: Manifest, **_: Any) -> Manifest:
        if self.refuse:
            raise self.refuse
        self.held = manifest
        self.writes.append(asyncio.get_running_loop().time())
        return manifest


class Fleet:
    """States of keys, and processes that come and go over them."""

    def __init__(self) -> None:
        self.kube = ConfigMaps()
        self.states = {ONE: "a1", TWO: "b1", WIDE: "c1"}

    def process(self, *, build: str = "v1", least: int = 0) -> Checkpoint:
        def clock() -> float:
            return asyncio.get_running_loop().time()

        return Checkpoint(Place(self.kube, REF), build, lambda key: self.states.get(key, ""), least=least, clock=clock)  # type: ignore[arg-type]

    async def left(self, **how: Any) -> None:
        before = self.process(**how)
        for key, after in ((ONE, 60.0), (TWO, None), (WIDE, None)):
            before.leave(key, Left(self.states[key], after))
        await before.save()

    async def after_restart(self, **how: Any) -> Checkpoint:
        found = self.process(**how)
        await found.load()
        return found


@contextmanager
def saving(found: Checkpoint) -> Iterator[None]:
    task = asyncio.create_task(found.save_for_ever())
    yield
    assert not task.done(), task.exception()
    task.cancel()


async def test_should_take_over_what_has_not_changed_and_nothing_else() -> None:
    fleet = Fleet()
    await fleet.left()
    fleet.states[TWO] = "b2"
    del fleet.states[WIDE]
    found = await fleet.after_restart()
    assert found.as_left(ONE) == Left("a1", 60.0)
    assert found.as_left(TWO) is None
    assert found.as_left(WIDE) is None
    assert found.as_left(Key("cluster", "ns", "new")) is None


async def test_should_spare_only_the_first_look() -> None:
    fleet = Fleet()
    await fleet.left()
    found = await fleet.after_restart()
    assert found.as_left(ONE)
    assert found.as_left(ONE) is None


async def test_should_look_at_everything_with_another_build() -> None:
    fleet = Fleet()
    await fleet.left(build="v1")
    assert (await fleet.after_restart(build="v2")).as_left(ONE) is None
    assert (await fleet.after_restart(build="v1")).as_left(ONE), "the control"


@pytest.mark.parametrize(
    "held", [None, {}, {"data": {"build": "v1"}}, {"data": {"build": "v1", "left": "cluster ns one a1\nwords\n x x x\n"}}]
)
async def test_should_look_at_everything_where_nothing_sensible_was_left(held: Manifest | None) -> None:
    fleet = Fleet()
    fleet.kube.held = held
    assert (await fleet.after_restart()).as_left(ONE) is None


async def test_should_look_at_everything_if_it_cannot_be_read_and_go_on_if_it_cannot_be_written() -> None:
    fleet = Fleet()
    await fleet.left()
    fleet.kube.refuse = Unreachable("away")
    found = await fleet.after_restart()
    assert found.as_left(ONE) is None
    found.leave(ONE, Left("a1", 60.0))
    await found.save()
    fleet.kube.refuse = None
    found.leave(TWO, Left("b1", None))
    await found.save()
    assert len(fleet.kube.writes) == 2
    assert (await fleet.after_restart()).as_left(ONE)


async def test_should_keep_what_was_not_looked_at_yet_for_the_next_restart() -> None:
    fleet = Fleet()
    await fleet.left()
    short = await fleet.after_restart()
    fleet.states[TWO] = "b2"
    short.as_left(TWO)
    await short.save()
    found = await fleet.after_restart()
    assert found.as_left(ONE)
    assert found.as_left(TWO) is None


async def test_should_write_once_a_change_has_rested_and_not_again() -> None:
    fleet = Fleet()
    found = fleet.process()
    with saving(found):
        for _ in range(100):
            found.leave(ONE, Left("a1", 60.0))
            await asyncio.sleep(10)
    assert len(fleet.kube.writes) == 1
    assert REST_SECONDS <= fleet.kube.writes[0] <= REST_SECONDS + 10


async def test_should_write_at_times_where_changes_never_rest() -> None:
    fleet = Fleet()
    found = fleet.process()
    with saving(found):
        for number in range(400):
            found.leave(ONE, Left(f"a{number}", 60.0))
            await asyncio.sleep(3)
    assert 3 <= len(fleet.kube.writes) <= 4
    assert fleet.kube.writes[0] >= LATEST_SECONDS


async def test_should_take_a_poll_as_no_change_whatever_its_seconds() -> None:
    """What else changed is written when that has rested, not when a minute of polls is over."""
    fleet = Fleet()
    before = fleet.process()
    before.leave(ONE, Left("a1", 63.41))
    await before.save()
    found = await fleet.after_restart()
    with saving(found):
        found.leave(TWO, Left("b1", None))
        for _ in range(12):
            await asyncio.sleep(5)
            found.leave(ONE, Left("a1", 63.41))
    assert len(fleet.kube.writes) == 2
    assert fleet.kube.writes[1] <= REST_SECONDS + 10


async def test_should_write_nothing_where_all_came_back_as_it_was() -> None:
    fleet = Fleet()
    await fleet.left()
    found = await fleet.after_restart()
    with saving(found):
        for key, left in ((ONE, Left("a1", 60.0)), (TWO, Left("b1", None)), (WIDE, Left("c1", None))):
            found.forget(key)
            found.leave(key, left)
        await asyncio.sleep(3600)
    assert len(fleet.kube.writes) == 1


async def test_should_keep_nothing_of_a_small_fleet() -> None:
    fleet = Fleet()
    await fleet.left(least=4)
    assert fleet.kube.writes == []
    await fleet.left(least=3)
    assert len(fleet.kube.writes) == 1, "the control"
    shrunk = await fleet.after_restart(least=3)
    shrunk.forget(TWO)
    await shrunk.save()
    assert fleet.kube.held is not None
    assert fleet.kube.held["data"]["left"] == ""


async def test_should_leave_out_what_does_not_fit_in_whole_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint_module, "MOST_BYTES", 50)
    fleet = Fleet()
    await fleet.left()
    found = await fleet.after_restart()
    assert found.as_left(ONE)
    assert found.as_left(TWO) is None
