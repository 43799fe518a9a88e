"""What is probed when: by whom it is wanted, what is forgotten, and how pods follow a bad one."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
import structlog
from prometheus_client import CollectorRegistry

from operators.cluster_operator.rollout.probing import AFTER_A_BAD_ONE, CONTROLLER, ProbeBook, ProbeController, ProbeCounts
from operators.domain.rollout.evidence import Sample
from operators.domain.rollout.nodes import TRIES, NodeChange
from operators.ports.kube import Key
from operators.services.probe import ProbeResult

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
KEY, NAME = Key(CONTROLLER, "prod", "c0"), "prod/c0"


class Ground:
    """A cache with one Cluster that can go, and a book."""

    def __init__(self) -> None:
        self.there, self.woken, self.clusters = True, list[Key](), 1
        self.now, self.phase = NOW, "Ready"
        self.book = ProbeBook(lambda: self.now, self.woken.append)
        cache = SimpleNamespace(get=lambda ref: {"status": {"phase": self.phase}} if self.there else None, count=lambda kind: self.clusters)
        self.world: Any = SimpleNamespace(cache=cache, now=lambda: self.now)


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


class Pods:
    """A prober that counts, and what it counts for Prometheus."""

    def __init__(self) -> None:
        self.made, self.registry = 0, CollectorRegistry()
        self.counts = ProbeCounts(self.registry)

    async def __call__(self, key: Key) -> ProbeResult:
        self.made += 1
        return ProbeResult(self.made != 2, 1.5, "" if self.made != 2 else "no room")

    def told(self, result: str) -> float | None:
        return self.registry.get_sample_value("kok_probe_pods_total", {"cluster": "prod/c0", "result": result})


async def passed(ground: Ground, controller: ProbeController, seconds: float) -> None:
    """As the loop does for so long: a pass when it is due."""
    end_at = ground.now + timedelta(seconds=seconds)
    while view := await controller.observe(KEY):
        step = controller.next_step(view)
        await controller.act(view, step)
        if step.after is None or ground.now + timedelta(seconds=max(step.after, 1.0)) > end_at:
            break
        ground.now += timedelta(seconds=max(step.after, 1.0))
    ground.now = end_at


async def test_should_probe_every_cluster_now_and_then_and_count() -> None:
    ground, pods = Ground(), Pods()
    controller = ProbeController(ground.world, ground.book, pods, idle=600.0, counts=pods.counts)
    await passed(ground, controller, 3600.0)
    assert 5 <= pods.made <= 7, "six in an hour"
    assert (pods.told("good"), pods.told("bad")) == (pods.made - 1, 1)
    assert not ground.book.samples, "who judges takes samples of its own time"
    ground.there = False
    assert await controller.observe(KEY) is None
    assert pods.told("good") is None, "of a cluster that is gone nothing is shown"


@pytest.mark.parametrize(("results", "in_a_row"), [("g", 0), ("b", 1), ("bb", 2), ("bbg", 0), ("gbbb", 3), ("bgb", 1)])
def test_should_count_bad_pods_one_after_another_for_the_alert(results: str, in_a_row: int) -> None:
    pods = Pods()
    for result in results:
        pods.counts.count("prod/c0", ProbeResult(result == "g", 1.0, ""))
    assert pods.registry.get_sample_value("kok_probe_bad_in_a_row", {"cluster": "prod/c0"}) == in_a_row
    assert None not in (pods.told("good"), pods.told("bad")), "both are there from the first one on"
    pods.counts.forget("prod/c0")
    assert pods.registry.get_sample_value("kok_probe_bad_in_a_row", {"cluster": "prod/c0"}) is None


async def test_should_wait_no_longer_for_a_clock_that_was_set_back() -> None:
    ground, pods = Ground(), Pods()
    controller = ProbeController(ground.world, ground.book, pods, idle=600.0)
    await passed(ground, controller, 700.0)
    ground.now -= timedelta(days=1)
    view = await controller.observe(KEY)
    assert view
    assert view.left <= 600.0


async def test_should_not_make_a_pod_each_time_that_the_cluster_changes() -> None:
    ground, pods = Ground(), Pods()
    controller = ProbeController(ground.world, ground.book, pods, idle=600.0)
    await passed(ground, controller, 700.0)
    before = pods.made
    for _ in range(20):
        view = await controller.observe(KEY)
        assert view
        await controller.act(view, controller.next_step(view))
    assert pods.made == before


@pytest.mark.parametrize(
    ("idle", "phase", "clusters", "made"),
    [(0.0, "Ready", 1, 0), (600.0, "Creating", 1, 0), (600.0, "Ready", 3000, 1), (600.0, "Ready", 1, 6)],
)
async def test_should_leave_alone_what_is_not_ready_and_pace_a_large_fleet(idle: float, phase: str, clusters: int, made: int) -> None:
    ground, pods = Ground(), Pods()
    ground.phase, ground.clusters = phase, clusters
    await passed(ground, ProbeController(ground.world, ground.book, pods, idle=idle), 3600.0)
    assert abs(pods.made - made) <= 1, pods.made
    assert made or not pods.made


async def test_should_probe_at_once_when_a_rollout_looks() -> None:
    ground, pods = Ground(), Pods()
    controller = ProbeController(ground.world, ground.book, pods, every=3.0, idle=600.0)
    await passed(ground, controller, 700.0)
    before = pods.made
    ground.book.want({NAME})
    assert ground.woken == [KEY]
    view = await controller.observe(KEY)
    assert view
    assert controller.next_step(view).after == 3.0
    await controller.act(view, controller.next_step(view))
    assert pods.made == before + 1
    assert len(ground.book.samples[NAME]) == 1
