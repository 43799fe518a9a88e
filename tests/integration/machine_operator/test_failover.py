"""Two Machine-Operators: the leader is killed, stopped beyond its lease, cut off, slowed down. Afterwards the same end, and nothing twice.

Times are scaled: the lease lasts 6 s instead of 15. Plays are processes that outlive a stopped parent, as Ansible's children do.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from operators.engine.clock import boot_seconds
from operators.machine_operator import kinds
from operators.machine_operator.tokens import token_ref
from tests.integration.kube_proxies import RecordingKube
from tests.integration.machine_operator.replicas import LEASE_SECONDS, Replica, Replicas, two_replicas
from tests.integration.machine_operator.rig import Rig
from tests.integration.troubled_kube import BusyKube, SlowKube, StaleKube

pytestmark = pytest.mark.integration
PATIENCE = 150.0
Disturbance = Callable[[Replicas, Replica], Awaitable[None]]


async def acts_on(replicas: Replicas) -> list[dict[str, Any]]:
    return [line for line in replicas.fleet.lines("acts.log") if not line["refused"]]


async def assert_the_same_end(rig: Rig, replicas: Replicas, hosts: list[dict[str, Any]]) -> None:
    """Every host is open with what was wished, each thing was put there once, and nothing is left over."""
    await rig.until(lambda: rig.is_open(*hosts), seconds=PATIENCE)
    done = [(act["host"], act["act"]) for act in await acts_on(replicas) if act["changed"] and act["act"] != "Apply"]
    assert sorted(done) == sorted((host["name"], package) for host in hosts for package in ("containerd-1-r1", "kubelet-1-r1")), done
    for host in hosts:
        machine = await rig.machine(host)
        assert machine["spec"]["packages"] == ["containerd-1-r1", "kubelet-1-r1"]
        assert await rig.business.get(token_ref(machine["metadata"]["uid"])) is None
    claims = [c for c in (await rig.meta.list(kinds.HOST_CLAIM)).items if c["spec"]["namespace"] == rig.namespace]
    assert len(claims) == len(hosts)
    nodes = [node["metadata"]["name"] for node in (await rig.business.list(kinds.NODE)).items]
    assert sorted(nodes) == sorted(host["name"] for host in hosts)
    assert_fenced_at_hosts(replicas)
    await at_rest(replicas)
    writes = len(replicas.fleet.lines("writes.log"))
    await asyncio.sleep(3)
    assert replicas.fleet.lines("writes.log")[writes:] == []


async def at_rest(replicas: Replicas) -> None:
    """What came of the last change is still written when the last host is open, and over a slow API it takes a while: until 5 s without a write."""
    for _ in range(12):
        writes = len(replicas.fleet.lines("writes.log"))
        await asyncio.sleep(5)
        if len(replicas.fleet.lines("writes.log")) == writes:
            return


def assert_fenced_at_hosts(replicas: Replicas) -> None:
    """Once a newer operator acted on a host, an older one did not."""
    newest: dict[str, int] = {}
    for act in replicas.fleet.lines("acts.log"):
        if not act["refused"]:
            assert act["epoch"] >= newest.get(act["host"], 0), act
            newest[act["host"]] = act["epoch"]


async def in_the_middle(rig: Rig, replicas: Replicas) -> Replica:
    """The leader, while its play is under way."""
    await rig.until(lambda: acts_on(replicas), seconds=90)
    leader = await replicas.leader()
    assert leader
    return leader


async def killed(replicas: Replicas, leader: Replica) -> None:
    leader.signal(signal.SIGKILL)


async def stopped(replicas: Replicas, leader: Replica) -> None:
    """SIGSTOP until the other has acted, then SIGCONT: it ends at once, and writes nothing."""
    other = replicas.other(leader)
    leader.supervised = False
    before = len(replicas.writes(other))
    leader.signal(signal.SIGSTOP)
    await replicas.rig.until(lambda: _wrote(replicas, other, before), seconds=90)
    took_over = replicas.writes(other)[before]["at"]
    leader.signal(signal.SIGCONT)
    code = await asyncio.to_thread(leader.process.wait, 30)
    assert code == 70
    assert [write for write in replicas.writes(leader) if write["at"] > took_over] == [], "the old one acted beside the new one"
    leader.supervised = True


async def _wrote(replicas: Replicas, replica: Replica, before: int) -> bool:
    return len(replicas.writes(replica)) > before


async def partitioned(replicas: Replicas, leader: Replica) -> None:
    """The leader reaches neither API server any more; the other does."""
    other = replicas.other(leader)
    leader.meta.cut()
    leader.business.cut()
    cut_at = boot_seconds()

    async def taken() -> bool:
        return await replicas.holder() == other.name

    await replicas.rig.until(taken, seconds=90)
    await replicas.rig.until(lambda: _exited(leader), seconds=60)
    assert [write for write in replicas.writes(leader) if write["at"] > cut_at + 1] == []
    leader.meta.restore()
    leader.business.restore()


async def _exited(replica: Replica) -> bool:
    return 70 in replica.exits


async def meta_down(replicas: Replicas, leader: Replica) -> None:
    """Nobody reaches the meta API for four leases (60 s of 15): the leader ends itself, its kubelet starts it anew, nothing is done meanwhile."""
    for replica in replicas.all:
        replica.meta.cut()
    await asyncio.sleep(LEASE_SECONDS)
    before = len(replicas.fleet.lines("writes.log"))
    await asyncio.sleep(3 * LEASE_SECONDS)
    assert replicas.fleet.lines("writes.log")[before:] == [], "without the meta API nothing is written anywhere"
    assert 70 in leader.exits
    for replica in replicas.all:
        replica.meta.restore()


async def watches_dropped(replicas: Replicas, leader: Replica) -> None:
    for _ in range(4):
        leader.business.reset()
        leader.meta.reset()
        await asyncio.sleep(1)


async def _story(rig: Rig, folder: Path, disturb: Disturbance, *, hosts: int = 3) -> None:
    async with two_replicas(rig, folder, hosts) as (replicas, wished):
        leader = await in_the_middle(rig, replicas)
        await disturb(replicas, leader)
        await assert_the_same_end(rig, replicas, wished)


@pytest.mark.slow  # its short twin is of the engine alone: engine/test_process.py
async def test_should_end_the_same_after_a_leader_that_was_stopped_beyond_its_lease(rig: Rig, tmp_path: Path) -> None:
    """The short sample: one host, every fence."""
    await _story(rig, tmp_path, stopped, hosts=1)


@pytest.mark.slow
@pytest.mark.parametrize("disturb", [killed, stopped, partitioned, meta_down, watches_dropped], ids=lambda each: each.__name__)
async def test_should_end_the_same_whatever_happens_to_the_leader(rig: Rig, tmp_path: Path, disturb: Disturbance) -> None:
    await _story(rig, tmp_path, disturb)


@pytest.mark.slow
async def test_should_end_the_same_over_a_slow_api(rig: Rig, tmp_path: Path) -> None:
    """Every answer takes 2 s, and the lease lasts as long as in production."""
    async with two_replicas(rig, tmp_path, 2, lease_seconds=15) as (replicas, wished):
        for replica in replicas.all:
            replica.meta.latency = replica.business.latency = 2.0
        await assert_the_same_end(rig, replicas, wished)
        assert all(not replica.exits for replica in replicas.all), "nobody lost the lease"


@pytest.mark.slow
async def test_should_notice_a_leader_that_nothing_fences(rig: Rig, tmp_path: Path) -> None:
    """Positive control: without the fences a leader that was stopped goes on beside its successor."""
    async with two_replicas(rig, tmp_path, 1, control=True) as (replicas, wished):
        await rig.until(lambda: rig.is_open(*wished), seconds=PATIENCE)
        leader = await replicas.leader()
        assert leader
        other = replicas.other(leader)
        leader.signal(signal.SIGSTOP)
        await rig.until(lambda: _is_holder(replicas, other), seconds=90)
        leader.signal(signal.SIGCONT)
        before = len(replicas.writes(leader))
        await asyncio.sleep(2)
        for number in range(8):
            await rig.pool(wished, labels={"round": str(number)})
            await asyncio.sleep(2)
        assert len(replicas.writes(leader)) > before, "the old one acted beside the new one"


async def _is_holder(replicas: Replicas, replica: Replica) -> bool:
    return await replicas.holder() == replica.name


class StaleHosts(StaleKube):
    """Of what a Machine-Operator lists."""

    stale_kinds = (kinds.NODE, kinds.MACHINE_KIND, kinds.MACHINE_POOL, kinds.HOST_CLAIM)


@pytest.mark.parametrize(
    "trouble", [pytest.param(BusyKube, marks=pytest.mark.slow), pytest.param(SlowKube, marks=pytest.mark.slow), StaleHosts]
)
async def test_should_end_the_same_over_an_api_that_is_in_trouble(rig: Rig, trouble: type[RecordingKube]) -> None:
    one, two = rig.host("m1", 1), rig.host("m2", 2)
    meta, business = trouble(rig.meta_record.kube), trouble(rig.business_record.kube)
    await rig.pool([one])
    assembly = await rig.start(meta=meta, business=business)
    await rig.until(lambda: rig.is_open(one), seconds=90)
    await rig.pool([one, two])
    await assembly.process.sweeper.sweep(settling=True) if trouble is StaleHosts else None
    await rig.until(lambda: rig.is_open(one, two), seconds=90)
    await assembly.process.sweeper.sweep(settling=True) if trouble is StaleHosts else None
    await asyncio.sleep(1.5)
    assert await rig.is_open(one, two), "what is there is not taken for gone"
    assert (rig.sim(one).jobs, rig.sim(two).jobs) == (1, 1), "nothing twice"
    if isinstance(business, BusyKube) and isinstance(meta, BusyKube):
        assert meta.refused > 3
        assert business.refused > 3
    if isinstance(business, StaleHosts):
        assert business.stale >= 2
