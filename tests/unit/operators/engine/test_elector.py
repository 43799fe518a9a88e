"""One leader, never two; epochs that only grow; an end at the deadline whatever the reason. The clock is the loop's, the lock a twin."""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from operators.adapters.sim_lease import SimLease
from operators.engine.elector import Elector, ElectorConfig

pytestmark = pytest.mark.looptime

BIRTH = datetime(2030, 1, 1, tzinfo=UTC)


class Candidate:
    """A process: an elector, what it was told when it lost, and a clock that can jump (SIGSTOP and SIGCONT)."""

    def __init__(self, lease: SimLease, identity: str) -> None:
        self.stalled = 0.0
        self.lost: list[str] = []
        self.elector = Elector(lease, ElectorConfig(identity), lost=self.lost.append, clock=self.clock, now=self.now)
        self.leadership = self.elector.leadership
        self.task: asyncio.Task[None] | None = None

    def clock(self) -> float:
        return asyncio.get_running_loop().time() + self.stalled

    def now(self) -> datetime:
        return BIRTH + timedelta(seconds=self.clock())

    def start(self) -> Candidate:
        self.task = asyncio.create_task(self.live())
        return self

    async def live(self) -> None:
        await self.elector.acquire()
        await self.elector.hold()

    def die(self) -> None:
        assert self.task
        self.task.cancel()


async def test_should_lead_alone_and_renew():
    lease = SimLease()
    one, two = Candidate(lease, "one").start(), Candidate(lease, "two").start()
    await asyncio.sleep(120)
    assert (one.leadership.is_held, two.leadership.epoch, one.lost) == (True, 0, [])
    assert lease.stored.holder == "one"


async def test_should_take_over_from_the_dead_after_the_lease_and_count_it():
    lease = SimLease()
    one = Candidate(lease, "one").start()
    await asyncio.sleep(1)
    first = lease.stored.epoch
    two = Candidate(lease, "two").start()
    await asyncio.sleep(3)
    one.die()
    await asyncio.sleep(14)
    assert two.leadership.epoch == 0
    await asyncio.sleep(8)
    assert two.leadership.epoch == first + 1
    assert lease.stored.transitions == 1


async def test_should_take_over_at_once_from_who_released():
    lease = SimLease()
    one = Candidate(lease, "one").start()
    await asyncio.sleep(1)
    one.die()
    await one.elector.release()
    two = Candidate(lease, "two").start()
    await asyncio.sleep(0.1)
    assert two.leadership.is_held


async def test_should_not_wait_for_the_dead_predecessor_in_the_same_container():
    lease = SimLease()
    one = Candidate(lease, "pod-uid#1").start()
    await asyncio.sleep(1)
    one.die()
    two = Candidate(lease, "pod-uid#2").start()
    await asyncio.sleep(0.1)
    assert two.leadership.epoch == one.leadership.epoch + 1


async def test_should_bump_the_epoch_with_every_start_that_wins():
    lease, epochs = SimLease(), []
    for start in range(5):
        candidate = Candidate(lease, f"pod#{start}").start()
        await asyncio.sleep(1)
        epochs.append(candidate.leadership.epoch)
        candidate.die()
    assert epochs == list(range(epochs[0], epochs[0] + 5))


async def test_should_begin_above_all_earlier_epochs_when_the_lease_was_deleted():
    lease = SimLease()
    one = Candidate(lease, "one").start()
    await asyncio.sleep(1)
    one.die()
    before, lease.stored = one.leadership.epoch, None
    await asyncio.sleep(30)
    two = Candidate(lease, "two").start()
    await asyncio.sleep(1)
    assert two.leadership.epoch > before


async def test_should_end_at_the_renew_deadline_before_anybody_else_can_lead():
    lease = SimLease()
    one = Candidate(lease, "one").start()
    await asyncio.sleep(3)
    lease.reachable = False
    await asyncio.sleep(8)
    assert one.leadership.is_held
    await asyncio.sleep(2)
    assert not one.leadership.is_held
    assert "not renewed for 10 s" in one.lost[0]


async def test_should_survive_a_short_loss_of_the_server():
    lease = SimLease()
    one = Candidate(lease, "one").start()
    await asyncio.sleep(3)
    lease.reachable = False
    await asyncio.sleep(6)
    lease.reachable = True
    await asyncio.sleep(60)
    assert (one.lost, one.leadership.is_held) == ([], True)


async def test_should_know_at_once_that_it_was_stopped_for_too_long():
    lease = SimLease()
    one = Candidate(lease, "one").start()
    await asyncio.sleep(3)
    one.stalled += 60  # SIGSTOP, a minute, SIGCONT: nothing of this process ran meanwhile
    assert not one.leadership.is_held
    assert one.elector.is_over()
    await asyncio.sleep(2)
    assert one.lost


async def test_should_not_renew_what_another_took_during_a_stall():
    lease = SimLease()
    one = Candidate(lease, "one").start()
    await asyncio.sleep(3)
    lease.stored = replace(lease.stored, holder="two", epoch=lease.stored.epoch + 1, version="999")
    await asyncio.sleep(3)
    assert one.lost == ["two took the lease"]
    assert lease.stored.holder == "two"


async def test_should_go_on_when_only_the_answer_to_its_renewal_was_lost():
    lease = SimLease()
    one = Candidate(lease, "one").start()
    await asyncio.sleep(3)
    lease.stored = replace(lease.stored, version="999")
    await asyncio.sleep(30)
    assert (one.lost, one.leadership.is_held) == ([], True)


async def test_should_let_exactly_one_of_many_win():
    lease = SimLease()
    many = [Candidate(lease, f"candidate-{number}").start() for number in range(20)]
    await asyncio.sleep(60)
    assert sum(candidate.leadership.is_held for candidate in many) == 1


@pytest.mark.looptime(False)
async def test_should_end_the_process_from_a_thread_while_its_loop_is_stuck():
    lost: list[str] = []
    config = ElectorConfig("one", renew_deadline=0.3, retry=0.05)
    elector = Elector(SimLease(), config, lost=lambda reason: lost.append(threading.current_thread().name))
    await elector.acquire()
    elector.watch_over(every=0.02)
    holding = asyncio.create_task(elector.hold())
    await asyncio.sleep(0.6)
    assert lost == []
    time.sleep(0.6)  # noqa: ASYNC251 - the loop is stuck, that is the point
    assert lost == ["lease-guard"]
    holding.cancel()


@pytest.mark.looptime(False)
async def test_should_guard_nothing_any_more_once_the_lease_is_given_back():
    lost: list[str] = []
    elector = Elector(SimLease(), ElectorConfig("one", renew_deadline=0.1, retry=0.05), lost=lost.append)
    await elector.acquire()
    before = {thread for thread in threading.enumerate() if thread.name == "lease-guard"}
    elector.watch_over(every=0.02)
    (guard,) = {thread for thread in threading.enumerate() if thread.name == "lease-guard"} - before
    await elector.release()
    guard.join(5)
    assert not guard.is_alive()
    await asyncio.sleep(0.2)
    assert lost == []
