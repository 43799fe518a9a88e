"""Members come, go and are lost while a client writes all the time: real etcds, the real rules, the real adapter. No acknowledged write is lost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from operators.domain.plane.member_steps import HandOverLeadership, RemoveMember
from operators.domain.plane.steps import RollMember
from tests.integration.plane.etcd_world import RECORD, EtcdWorld, Writer

pytestmark = pytest.mark.integration


@asynccontextmanager
async def written_to(world: EtcdWorld, story: str) -> AsyncIterator[Writer]:
    """A writer while the body runs; afterwards nothing that was acknowledged is missing."""
    writer = Writer(world)
    task = asyncio.create_task(writer.run())
    try:
        yield writer
        before = len(writer.acknowledged)
        for _ in range(200):
            if len(writer.acknowledged) > before + 5:
                break
            await asyncio.sleep(0.05)
        assert len(writer.acknowledged) > before, "writes go on afterwards"
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert await writer.lost() == []
    print(f"{story}: {len(writer.acknowledged)} writes acknowledged, none lost, longest gap {writer.longest_gap:.2f} s")


@pytest.fixture
async def make() -> AsyncIterator[Callable[[int], Awaitable[EtcdWorld]]]:
    worlds: list[EtcdWorld] = []

    async def made(members: int) -> EtcdWorld:
        worlds.append(EtcdWorld(members))
        await worlds[-1].settled()
        return worlds[-1]

    yield made
    for world in worlds:
        await world.close()


async def test_should_go_from_one_to_three_and_replace_a_lost_disk(make: Callable[[int], Awaitable[EtcdWorld]]) -> None:
    world = await make(1)
    async with written_to(world, "1 -> 3"):
        world.wanted = 3
        await world.settled()
    async with written_to(world, "disk of a member lost") as writer:
        before = {member.id for member in (await world.view()).members}
        world.lose_disk(1)
        await world.settled()
        assert writer.longest_gap < 10
        assert len(before - {member.id for member in (await world.view()).members}) == 1
    assert [each.step.pod for each in world.told if isinstance(each.step, RemoveMember)] == ["demo-etcd-1"]


@pytest.mark.slow
async def test_should_go_to_five_and_back(make: Callable[[int], Awaitable[EtcdWorld]]) -> None:
    world = await make(3)
    async with written_to(world, "3 -> 5"):
        world.wanted = 5
        await world.settled()
    async with written_to(world, "5 -> 3, the leader among those that go"):
        view = await world.view()
        await world.clusters.connect(world.access).move_leader(view.by_ordinal[4].id)
        world.wanted = 3
        await world.settled()
        assert sorted((await world.view()).by_ordinal) == [0, 1, 2]
        assert sorted(world.volumes) == [0, 1, 2]
        assert any(isinstance(each.step, HandOverLeadership) for each in world.told)
    async with written_to(world, "3 -> 5 again, on volumes of their own"):
        world.wanted = 5
        await world.settled()


@pytest.mark.slow
async def test_should_survive_a_leader_that_is_killed_and_a_node_that_is_gone(make: Callable[[int], Awaitable[EtcdWorld]]) -> None:
    world = await make(3)
    async with written_to(world, "leader SIGKILL") as writer:
        view = await world.view()
        leader = next(ordinal for ordinal, member in view.by_ordinal.items() if member.id == view.leader)
        world.kill(leader)
        await world.settled()
        assert writer.longest_gap < 8
    async with written_to(world, "node gone for good, with the volume"):
        world.lose_node(2)
        await world.settled()
    async with written_to(world, "rolled by one spec"):
        for pod in world.pods.values():
            pod.outdated = True
        first = len(world.told)
        await world.settled()
        rolled = [each.step for each in world.told[first:] if isinstance(each.step, RollMember | HandOverLeadership)]
        assert len({each.pod for each in rolled if isinstance(each, RollMember)}) == 3
        assert isinstance(rolled[-2], HandOverLeadership), "the leader last, after it has handed over"


@pytest.mark.slow
async def test_should_go_back_to_one_only_when_it_is_confirmed(make: Callable[[int], Awaitable[EtcdWorld]]) -> None:
    world = await make(3)
    world.wanted = 1
    for _ in range(10):
        await world.kubelet()
        await world.operator()
    assert len((await world.view()).members) == 3
    async with written_to(world, "3 -> 1"):
        world.confirmed = True
        await world.settled()
        assert sorted(world.volumes) == [0]


@pytest.mark.slow
async def test_should_find_acknowledged_writes_that_an_empty_member_threw_away(make: Callable[[int], Awaitable[EtcdWorld]]) -> None:
    """The positive control: without the record of the first quorum an empty member begins an etcd of its own, and the writer tells what is gone."""
    world = await make(1)
    writer = Writer(world)
    task = asyncio.create_task(writer.run())
    try:
        await _more(writer, 10)
        world.objects.pop(RECORD)
        world.lose_disk(0)
        await world.kubelet()
        await _more(writer, 10)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert len(await writer.lost()) >= 10


async def _more(writer: Writer, count: int, patience: float = 60.0) -> None:
    wanted, end = len(writer.acknowledged) + count, time.monotonic() + patience
    while len(writer.acknowledged) < wanted:
        assert time.monotonic() < end, f"{len(writer.acknowledged)} of {wanted} writes were acknowledged"
        await asyncio.sleep(0.05)
