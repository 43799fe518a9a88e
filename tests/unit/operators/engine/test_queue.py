"""The work queue: one worker per key, the earliest wish counts, backoff grows and forgets."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.engine.queue import HEAD_START, Backoff, WorkQueue
from operators.ports.kube import Key

pytestmark = pytest.mark.looptime

A, B = Key("test", "ns", "a"), Key("test", "ns", "b")


def now() -> float:
    return asyncio.get_running_loop().time()


async def taken(queue: WorkQueue, within: float = 0.0) -> Key | None:
    try:
        async with asyncio.timeout(within or 0.001):
            return await queue.get()
    except TimeoutError:
        return None


async def test_should_hold_a_key_once_however_often_it_is_added():
    queue = WorkQueue("test")
    for _ in range(5):
        queue.add(A)
    assert queue.depth == 1
    assert await taken(queue) == A
    queue.done(A)
    assert await taken(queue) is None


async def test_should_give_a_key_in_work_again_only_after_it_is_done():
    queue = WorkQueue("test")
    queue.add(A)
    await queue.get()
    queue.add(A)
    assert await taken(queue) is None
    queue.done(A)
    assert await taken(queue) == A


async def test_should_work_on_other_keys_meanwhile():
    queue = WorkQueue("test")
    queue.add(A)
    queue.add(B)
    assert [await queue.get(), await queue.get()] == [A, B]


@pytest.mark.parametrize(("wishes", "due"), [([30.0, 5.0], 5.0), ([5.0, 30.0], 5.0), ([30.0, 0.0], 0.0), ([7.0], 7.0)])
async def test_should_obey_the_earliest_wish(wishes, due):
    queue = WorkQueue("test")
    began = now()
    for after in wishes:
        queue.add(A, after=after)
    await queue.get()
    assert now() - began == pytest.approx(due, abs=0.01)


async def test_should_wake_once_when_an_event_overtakes_a_delay():
    queue = WorkQueue("test")
    queue.add(A, after=10)
    queue.add(A)
    await queue.get()
    queue.done(A)
    assert await taken(queue, within=60) is None


async def test_should_keep_the_delay_wished_while_in_work():
    queue = WorkQueue("test")
    queue.add(A)
    await queue.get()
    began = now()
    queue.add(A, after=20)
    queue.done(A)
    await queue.get()
    assert now() - began == pytest.approx(20, abs=0.01)


async def test_should_back_off_further_with_each_failure_and_start_over_after_a_success():
    queue = WorkQueue("test", backoff=Backoff(first=1, cap=10, jitter=0), chance=lambda: 0.0)
    delays = []
    for _ in range(6):
        queue.add(A)
        await queue.get()
        delays.append(queue.retry(A))
        queue.done(A)
        await queue.get()
        queue.done(A)
    assert delays == [1, 2, 4, 8, 10, 10]
    queue.succeeded(A)
    assert queue.retry(A) == 1


async def test_should_let_news_pass_a_thousand_looks_by_routine():
    queue, looks = WorkQueue("test"), [Key("test", "ns", f"{number}") for number in range(1000)]
    for key in looks:
        queue.add(key, routine=True)
    await asyncio.sleep(20)
    queue.add(A)
    queue.add(looks[700], after=5)
    assert [await queue.get(), await queue.get(), await queue.get()] == [A, looks[700], looks[0]]
    assert queue.depth == 998
    queue.done(A)
    queue.add(A, routine=True)
    assert await queue.get() == looks[1], "what was news once is not news for ever"


async def test_should_not_let_news_keep_routine_waiting_for_ever():
    queue = WorkQueue("test")
    queue.add(B, routine=True)
    for _ in range(int(HEAD_START / 60)):
        queue.add(A)
        assert await queue.get() == A
        queue.done(A)
        await asyncio.sleep(60)
    queue.add(A)
    assert await queue.get() == B


@pytest.mark.parametrize("in_work", [False, True])
async def test_should_remember_that_one_of_several_wishes_was_news(in_work):
    queue = WorkQueue("test")
    queue.add(A, routine=True)
    if in_work:
        queue.add(B)
        assert await queue.get() == B
    queue.add(B, after=10)
    queue.add(B, routine=True)
    if in_work:
        queue.done(B)
    assert await queue.get() == B


async def test_should_tell_the_age_of_what_waits_and_of_what_is_in_work():
    queue = WorkQueue("test")
    assert queue.oldest_seconds() == 0
    queue.add(A)
    await asyncio.sleep(3)
    assert queue.oldest_seconds() == pytest.approx(3, abs=0.01)
    await queue.get()
    assert queue.oldest_seconds() == pytest.approx(0, abs=0.01)
    await asyncio.sleep(4)
    assert queue.oldest_seconds() == pytest.approx(4, abs=0.01)


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
def test_should_never_wait_longer_than_the_cap_nor_not_at_all(failures, chance):
    backoff = Backoff()
    assert 0.8 * backoff.first <= backoff.delay(failures, chance) <= backoff.cap


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["add", "later", "look", "get", "done", "retry"])), max_size=60))
def test_should_never_give_one_key_to_two_workers_nor_lose_one(steps):
    asyncio.run(walk(steps))


async def walk(steps: list[tuple[str, str]]) -> None:
    """Against a model: `wanted` are keys added since they were last taken; each must come out, and none twice at a time."""
    queue, wanted, in_work = WorkQueue("test"), set(), set()
    for name, step in steps:
        key = Key("test", "", name)
        if step in ("add", "later", "look"):
            queue.add(key, after=0.0001 if step == "later" else 0.0, routine=step == "look")
            wanted.add(key)
        elif step == "get" and queue.depth:
            got = await queue.get()
            assert got not in in_work
            in_work.add(got)
            wanted.discard(got)
        elif step == "retry" and key in in_work:
            queue.succeeded(key)
        elif step == "done" and key in in_work:
            queue.done(key)
            in_work.discard(key)
    for key in tuple(in_work):
        queue.done(key)
    await asyncio.sleep(0.002)
    left = {await queue.get() for _ in range(queue.depth)}
    assert left == wanted
