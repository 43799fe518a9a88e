"""The reconcile loop: what one pass does, and what it does when things go wrong. The controller is a table; nothing here is a kind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
import structlog

from operators.engine.checkpoint import Left
from operators.engine.metrics import Metrics
from operators.engine.queue import Backoff, WorkQueue
from operators.engine.reconcile import LoopTools, ReconcileLoop, StatusWrite, Waits
from operators.engine.recorder import EventRecorder
from operators.errors import ErrorCode, KokError
from operators.ports.kube import Conflict, Key, Manifest, NotFound, Ref

pytestmark = pytest.mark.looptime

KEY = Key("lamps", "ns", "one")
REF = Ref("test.dev/v1", "Lamp", "ns", "one")


@dataclass(frozen=True, slots=True)
class Wait:
    reason: str
    after: float | None = None


@dataclass
class Lamp:
    """A controller over one object: scripted views in, acts noted. `acting` is what its act does."""

    view: str | None = "dark"
    step: Wait = field(default_factory=lambda: Wait("all is well"))
    acting: Callable[[], object] = lambda: None
    status: Manifest = field(default_factory=dict)
    name: str = "lamps"
    passes: list[float] = field(default_factory=list)

    async def observe(self, key: Key) -> str | None:
        self.passes.append(asyncio.get_running_loop().time())
        return self.view

    def next_step(self, view: str) -> Wait:
        return self.step

    async def act(self, view: str, step: Wait) -> object:
        return self.acting()

    def status_of(self, view: str, step: Wait, outcome: object) -> StatusWrite | None:
        words = outcome.message if isinstance(outcome, KokError) else outcome.reason if isinstance(outcome, Waits) else step.reason
        return StatusWrite(REF, self.status, {"words": words})


class WritingKube:
    """Takes statuses and events, and notes them; `refuse` is raised instead."""

    def __init__(self, lamp: Lamp) -> None:
        self.lamp, self.statuses, self.events = lamp, [], []
        self.refuse: Exception | None = None

    async def patch_status(self, ref: Ref, status: Manifest, **_: object) -> Manifest:
        if self.refuse:
            raise self.refuse
        self.statuses.append(status)
        self.lamp.status = status
        return {"metadata": {"uid": "u1"}, "status": status}

    async def create(self, manifest: Manifest, **_: object) -> Manifest:
        self.events.append(manifest)
        return manifest


class Bench:
    """A loop with everything around it."""

    def __init__(self, lamp: Lamp, *, pass_seconds: float = 300.0) -> None:
        self.lamp, self.kube, self.metrics = lamp, WritingKube(lamp), Metrics()
        self.queue = WorkQueue("lamps", backoff=Backoff(first=1, cap=60, jitter=0))
        tools = LoopTools(self.kube, EventRecorder(self.kube, "test", "test-0"), self.metrics)
        self.loop = ReconcileLoop(lamp, self.queue, tools, pass_seconds=pass_seconds)

    async def run(self, seconds: float) -> None:
        worker = asyncio.create_task(self.loop.work())
        self.queue.add(KEY)
        await asyncio.sleep(seconds)
        assert not worker.done(), worker.exception()
        worker.cancel()

    def count(self, result: str) -> float:
        return self.metrics.registry.get_sample_value("kok_reconciles_total", {"controller": "lamps", "result": result}) or 0.0


async def test_should_write_the_status_once_and_tell_the_same_words_as_event():
    bench = Bench(Lamp(step=Wait("the bulb is being changed", after=10)))
    await bench.run(35)
    assert bench.kube.statuses == [{"words": "the bulb is being changed"}]
    assert [event["note"] for event in bench.kube.events] == ["the bulb is being changed"]
    assert bench.kube.events[0]["regarding"] == {
        "apiVersion": "test.dev/v1", "kind": "Lamp", "name": "one", "namespace": "ns", "uid": "u1",
    }  # fmt: skip
    assert len(bench.lamp.passes) == 4


@pytest.mark.parametrize(("shown", "lines"), [("all is well", []), ("it was dark", ["step"])])
async def test_should_write_nothing_and_log_nothing_for_an_object_that_is_right(shown, lines):
    bench = Bench(Lamp(step=Wait("all is well", after=1), status={"words": shown}))
    with structlog.testing.capture_logs() as logs:
        await bench.run(30)
    assert [line["event"] for line in logs] == lines
    assert len(bench.kube.statuses) == len(bench.kube.events) == len(lines)
    assert bench.count("ok") >= 29


async def test_should_come_back_only_when_woken_if_the_step_says_so():
    bench = Bench(Lamp(step=Wait("done")))
    await bench.run(3600)
    assert len(bench.lamp.passes) == 1


async def test_should_tell_and_come_back_as_an_act_says_that_could_not_begin():
    """Its sentence and its seconds take the place of the step's: nothing was done, and nothing failed."""
    bench = Bench(
        Lamp(step=Wait("the bulb is exchanged", after=1), acting=lambda: Waits("waits for leave: somebody else is on the ladder", 20))
    )
    await bench.run(50)
    assert [event["note"] for event in bench.kube.events] == ["waits for leave: somebody else is on the ladder"]
    assert (bench.kube.events[0]["type"], bench.kube.events[0]["reason"]) == ("Normal", "Waits")
    assert [round(at) for at in bench.lamp.passes] == [0, 20, 40]


async def test_should_warn_of_a_step_that_a_person_has_to_mend():
    @dataclass(frozen=True, slots=True)
    class Stall(Wait):
        code: ErrorCode = ErrorCode.HostDiskFull

    bench = Bench(Lamp(step=Stall("the drawer of bulbs is full")))
    await bench.run(5)
    assert [(event["type"], event["reason"]) for event in bench.kube.events] == [("Warning", "HostDiskFull")]


async def test_should_show_an_error_of_the_act_then_back_off():
    def fuse() -> None:
        raise KokError(ErrorCode.HostRefused, "the fuse is blown", "change it")

    bench = Bench(Lamp(acting=fuse))
    await bench.run(8)
    assert bench.kube.statuses == [{"words": "the fuse is blown"}]
    assert (bench.kube.events[0]["type"], bench.kube.events[0]["reason"]) == ("Warning", "HostRefused")
    assert [round(at) for at in bench.lamp.passes] == [0, 1, 3, 7]
    assert bench.count("HostRefused") == 4


async def test_should_survive_a_bug_in_a_step_and_show_it_as_internal():
    bench = Bench(Lamp(acting=lambda: 1 / 0))
    await bench.run(0.5)
    assert bench.kube.statuses == [{"words": "ZeroDivisionError: division by zero"}]
    assert bench.count("Internal") == 1


async def test_should_survive_a_bug_in_observe():
    lamp = Lamp()
    lamp.observe = lambda key: 1 / 0
    bench = Bench(lamp)
    await bench.run(2)
    assert bench.count("Internal") == 2


async def test_should_forget_an_object_that_is_gone():
    bench = Bench(Lamp(view=None))
    await bench.run(1000)
    assert (bench.count("gone"), len(bench.lamp.passes)) == (1, 1)


async def test_should_take_a_deletion_between_observe_and_write_for_what_it_is():
    bench = Bench(Lamp())
    bench.kube.refuse = NotFound("gone", status=404)
    await bench.run(10)
    assert bench.count("ok") == 1


async def test_should_try_again_after_a_conflict():
    bench = Bench(Lamp())
    bench.kube.refuse = Conflict("moved", status=409)
    await bench.run(2)
    bench.kube.refuse = None
    assert bench.count("Conflict") == 2
    assert bench.kube.statuses == []


async def test_should_cut_a_pass_that_hangs():
    lamp = Lamp()

    async def hang(view: str, step: Wait) -> None:
        await asyncio.sleep(10_000)

    lamp.act = hang
    bench = Bench(lamp, pass_seconds=20)
    await bench.run(30)
    assert bench.count("Timeout") == 1


async def test_should_tell_again_when_the_words_change():
    lamp = Lamp(step=Wait("first", after=1))
    bench = Bench(lamp)
    asyncio.get_running_loop().call_later(2.5, lambda: setattr(lamp, "step", Wait("second", after=1)))
    await bench.run(6)
    assert [event["note"] for event in bench.kube.events] == ["first", "second"]


@dataclass
class CachedLamp(Lamp):
    """Sees its status as the cache shows it, which no watch feeds here; the status says when it changed, as conditions do."""

    seen: Manifest = field(default_factory=dict)

    def status_of(self, view: str, step: Wait, outcome: object) -> StatusWrite:
        changed = self.seen["since"] if self.seen.get("words") == step.reason else asyncio.get_running_loop().time()
        return StatusWrite(REF, self.seen, {"words": step.reason, "since": changed})

    def keep(self, manifest: Manifest) -> None:
        self.seen = manifest["status"]


@pytest.mark.parametrize(("keeps", "writes"), [(True, 1), (False, 3)])
async def test_should_compare_the_next_pass_with_its_own_last_write(keeps, writes):
    lamp = CachedLamp(step=Wait("the bulb is being changed", after=10))
    bench = Bench(lamp)
    bench.loop._tools = LoopTools(bench.kube, bench.loop._tools.recorder, bench.metrics, **({"keep": lamp.keep} if keeps else {}))
    await bench.run(25)
    assert len(bench.kube.statuses) == writes


@dataclass(frozen=True, slots=True)
class Rest:
    reason: str = "all is well"
    after: float | None = 60.0
    at_rest: bool = True


class Marks:
    """A checkpoint that notes what it is told."""

    def __init__(self, known: Left | None = None) -> None:
        self.known, self.kept = known, list[Left | None]()

    def state_of(self, key: Key) -> str:
        return "s1"

    def as_left(self, key: Key) -> Left | None:
        known, self.known = self.known, None
        return known

    def leave(self, key: Key, left: Left) -> None:
        self.kept.append(left)

    def forget(self, key: Key) -> None:
        self.kept.append(None)


def bench_with(marks: Marks, lamp: Lamp) -> Bench:
    bench = Bench(lamp)
    tools = LoopTools(bench.kube, EventRecorder(bench.kube, "test", "test-0"), bench.metrics, checkpoint=marks)  # type: ignore[arg-type]
    bench.loop = ReconcileLoop(lamp, bench.queue, tools)
    return bench


async def test_should_look_later_at_what_is_as_it_was_left():
    bench = bench_with(Marks(Left("s1", 60.0)), Lamp(step=Rest(), status={"words": "all is well"}))
    await bench.run(61)
    assert len(bench.lamp.passes) == 1
    assert 0 < bench.lamp.passes[0] <= 60
    assert bench.count("as-left") == 1


async def test_should_wait_to_be_woken_for_what_was_left_so():
    bench = bench_with(Marks(Left("s1", None)), Lamp(step=Rest(after=None)))
    await bench.run(3600)
    assert bench.lamp.passes == []
    bench.queue.add(KEY)
    await bench.run(1)
    assert len(bench.lamp.passes) == 1


@pytest.mark.parametrize(
    ("lamp", "kept"),
    [
        (Lamp(step=Rest(), status={"words": "all is well"}), [Left("s1", 60.0)]),
        (Lamp(step=Rest()), [None]),
        (Lamp(step=Wait("all is well", 60.0), status={"words": "all is well"}), [None]),
        (Lamp(step=Rest(), status={"words": "not yet"}, acting=lambda: Waits("not yet", 60.0)), [None]),
        (Lamp(view=None), [None]),
    ],
    ids=["right", "its status was written", "a step that waits", "a step that was not begun", "gone"],
)
async def test_should_leave_only_what_is_right_and_wrote_nothing(lamp, kept):
    marks = Marks()
    await bench_with(marks, lamp).run(1)
    assert marks.kept == kept


async def test_should_not_leave_what_failed():
    marks = Marks()

    def fail() -> None:
        raise KokError(ErrorCode.Internal, "broken")

    await bench_with(marks, Lamp(step=Rest(), status={"words": "broken"}, acting=fail)).run(0.5)
    assert not any(marks.kept)
