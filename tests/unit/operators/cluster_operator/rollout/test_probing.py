"""What is probed when: by whom it is wanted, what is forgotten, and how pods follow a bad one."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import structlog

from operators.cluster_operator.rollout.probing import AFTER_A_BAD_ONE, CONTROLLER, ProbeBook, ProbeController
from operators.domain.rollout.evidence import Sample
from operators.domain.rollout.nodes import TRIES, NodeChange
from operators.ports.kube import Key
from operators.services.probe import ProbeResult

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
KEY, NAME = Key(CONTROLLER, "prod", "c0"), "prod/c0"


class Ground:
    """A cache with one Cluster that can go, and a book."""

    def __init__(self) -> None:
        self.there, self.woken = True, list[Key]()
        self.book = ProbeBook(lambda: NOW, self.woken.append)
        self.world: Any = SimpleNamespace(cache=SimpleNamespace(get=lambda ref: {} if self.there else None), now=lambda: NOW)


async def never(key: Key) -> ProbeResult:
    raise AssertionError(key)


async def test_should_probe_a_cluster_again_that_was_made_anew_under_its_name() -> None:
    ground = Ground()
    controller = ProbeController(ground.world, ground.book, never)
    ground.book.want({NAME})
    ground.book.add(NAME, Sample(NOW, False, 20.0))
    ground.there = False
    assert await controller.observe(KEY) is None
    assert not ground.book.samples, "what the first one did says nothing of the second"
    ground.there = True
    ground.book.want({NAME})
    assert ground.woken == [KEY, KEY]
    assert await controller.observe(KEY)


async def test_should_set_pods_apart_after_a_bad_one_and_say_why_it_was_bad() -> None:
    ground, began, every = Ground(), list[float](), 0.2
    clock = asyncio.get_running_loop()

    async def probe(key: Key) -> ProbeResult:
        began.append(clock.time())
        return ProbeResult(len(began) > 2, 0.1, "" if len(began) > 2 else "the API server answers 503")

    controller = ProbeController(ground.world, ground.book, probe, every=every)
    ground.book.want({NAME})
    with structlog.testing.capture_logs() as told:
        for _ in range(2):
            view = await controller.observe(KEY)
            assert view
            await controller.act(view, controller.next_step(view))
    assert len(began) == 1 + AFTER_A_BAD_ONE
    crowd = began[1:]
    assert all(after - before >= every * 0.25 for before, after in pairwise(crowd)), "one moment's trouble counts once"
    assert [sample.good for sample in ground.book.samples[NAME]] == [False, False, True, True, True]
    bad = [(each["log_level"], each["cluster"], each["seconds"], each["reason"]) for each in told]
    assert bad == [("warning", NAME, 0.1, "the API server answers 503")] * 2


async def test_should_count_each_pod_when_it_is_over_and_not_with_the_slowest() -> None:
    ground, slow = Ground(), asyncio.Event()
    ground.book.want({NAME})
    ground.book.add(NAME, Sample(NOW, False, 20.0))
    numbers = iter(range(AFTER_A_BAD_ONE))

    async def probe(key: Key) -> ProbeResult:
        if next(numbers) == 0:
            await slow.wait()
        return ProbeResult(True, 0.1)

    controller = ProbeController(ground.world, ground.book, probe, every=0.0)
    view = await controller.observe(KEY)
    assert view
    acting = asyncio.create_task(controller.act(view, controller.next_step(view)))
    async with asyncio.timeout(5):
        while len(ground.book.samples[NAME]) < AFTER_A_BAD_ONE:  # noqa: ASYNC110 - a book wakes nobody; bounded
            await asyncio.sleep(0.001)
    assert not acting.done()
    slow.set()
    await acting
    assert len(ground.book.samples[NAME]) == 1 + AFTER_A_BAD_ONE


async def test_should_ask_a_changed_node_until_it_starts_a_pod_and_forget_it_with_its_cluster() -> None:
    ground, asked = Ground(), list[str]()
    change = NodeChange(NAME, "m1", "2026-03-01T11:00:00Z")
    answers = iter([ProbeResult(False, 20.0, "no pod"), ProbeResult(False, 0.1, "503", is_of_server=True), ProbeResult(True, 0.1)])

    async def fine(key: Key) -> ProbeResult:
        return ProbeResult(True, 0.1)

    async def probe_node(key: Key, node: str) -> ProbeResult:
        asked.append(node)
        return next(answers)

    controller = ProbeController(ground.world, ground.book, fine, every=0.0, node_prober=probe_node)
    ground.book.want({NAME})
    ground.book.want_nodes([change])
    for bad in (1, 1, 1):
        view = await controller.observe(KEY)
        assert view
        await controller.act(view, controller.next_step(view))
        assert ground.book.tries[change].bad == bad, "an API server that does not answer says nothing of the node"
    assert ground.book.tries[change].good
    assert asked == ["m1"] * 3
    assert ground.book.nodes_due(NAME) == ()
    ground.book.forget(NAME)
    assert not ground.book.tries


async def test_should_give_a_node_up_after_a_few_pods() -> None:
    ground = Ground()
    change = NodeChange(NAME, "m1", "2026-03-01T11:00:00Z")
    ground.book.want_nodes([change])
    for _ in range(TRIES):
        assert ground.book.nodes_due(NAME) == (change,)
        ground.book.tried(change, ProbeResult(False, 20.0, "no pod"))
    assert ground.book.nodes_due(NAME) == ()
