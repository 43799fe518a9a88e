"""One operator process, from start to end: elect, watch, sweep, work; any part that ends ends the process.

Order: health endpoint -> lease -> first sweep -> checkpoint -> watch threads, from where the sweep ended -> workers -> a second sweep soon, for
what was deleted before a watch that could not go on from there had listed for itself. At SIGTERM: workers stop, then the lease is given back.
Losing the lease is a hard exit: nothing may be tidied up by who no longer leads. Built by `*/main.py`, which choose the adapters.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import structlog

from operators.engine.cache import ObjectCache
from operators.engine.checkpoint import Checkpoint
from operators.engine.elector import Elector, ElectorConfig
from operators.engine.health import HealthServer
from operators.engine.metrics import Metrics
from operators.engine.queue import WorkQueue
from operators.engine.reconcile import Controller, LoopTools, ReconcileLoop
from operators.engine.sweep import Sweeper
from operators.errors import KokError
from operators.ports.kube import Key, KubePort, Watched, WatchEvent, WatchLayer
from operators.ports.lease import LeasePort

log = structlog.get_logger(__name__)
EXIT_LOST_LEASE = 70
SAVE_SECONDS = 3.0
COLLECT_AFTER = (50_000, 20, 100)
"""Python's collector of cycles, as shipped, looks after every 700 objects more: reading the lists of a large fleet, which makes no cycles, took three
times as long."""


@dataclass(frozen=True, slots=True)
class ProcessConfig:
    """Times in seconds; `port` 0 takes a free one. `key_bound`: a key older than this in a queue fails liveness."""

    elector: ElectorConfig
    host: str = "0.0.0.0"  # noqa: S104 - the kubelet and Prometheus ask the pod's address
    port: int = 8080
    sweep_every: float = 600.0
    settle: float = 30.0
    key_bound: float = 1800.0


@dataclass(frozen=True, slots=True)
class Servers:
    """The API servers a process talks to, by name ("meta", "business"), and what watches them."""

    kubes: Mapping[str, KubePort]
    watches: Sequence[WatchLayer]
    lease: LeasePort


@dataclass(slots=True)
class _Run:
    """What one run found out."""

    waiting_for: str = ""
    """What keeps a leader from working; empty while it works, and while it stands by (a standby is as it should be)."""
    failure: BaseException | None = None
    stopping: asyncio.Event = field(default_factory=asyncio.Event)


class Process:
    """Add what is watched and the controllers, then `run`."""

    def __init__(self, config: ProcessConfig, servers: Servers, *, metrics: Metrics | None = None, kill: Callable[[], None] | None = None):
        """`kill` ends the children (plays, SSH sessions) at once; it runs right before the hard exit of a lost lease, in any thread."""
        self._config, self._servers, self._kill = config, servers, kill
        self.metrics = metrics or Metrics()
        self.cache = ObjectCache(self._wake, partial(self._wake, routine=True))
        self.sweeper = Sweeper(self.cache, servers.kubes, self.metrics)
        self.elector = Elector(servers.lease, config.elector, lost=self._lost)
        self.leadership = self.elector.leadership
        self._queues: dict[str, WorkQueue] = {}
        self._loops: list[tuple[ReconcileLoop[Any, Any, Any], int]] = []
        self._run = _Run()
        self.checkpoint: Checkpoint | None = None
        """What needs no first look; give it before `run`, and to the tools of controllers."""
        self.port = 0

    def watch(self, *watched: Watched) -> None:
        """Follow kinds; the watch layers must have been built for the same."""
        for each in watched:
            self.cache.follow(each)

    def add(self, controller: Controller[Any, Any, Any], tools: LoopTools, *, workers: int = 4, pass_seconds: float = 300.0) -> WorkQueue:
        """Run a controller with that many workers; its queue comes back for who wakes keys by other means."""
        queue = WorkQueue(controller.name)
        self._queues[controller.name] = queue
        self._loops.append((ReconcileLoop(controller, queue, tools, pass_seconds=pass_seconds), workers))
        self.metrics.follow_queue(controller.name, partial(lambda q: q.depth, queue), queue.oldest_seconds)
        return queue

    def _wake(self, key: Key, *, routine: bool = False) -> None:
        self._queues[key.controller].add(key, routine=routine)

    def stop(self) -> None:
        """End in order, as SIGTERM does."""
        self._run.stopping.set()

    async def run(self) -> int:
        """Until stopped (0) or until a part failed (1)."""
        self._run = _Run()
        gc.set_threshold(*COLLECT_AFTER)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        server = HealthServer(self.metrics, alive=self.complaint, ready=lambda: self._run.waiting_for)
        self.port = await server.start(self._config.host, self._config.port)
        leading = asyncio.create_task(self._lead())
        stopping = asyncio.create_task(self._run.stopping.wait())
        try:
            await asyncio.wait({leading, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:  # also when it is cancelled: a lease that nobody renews and nobody gives back ends the process hard
            await self._end(leading, stopping)
            await server.close()
        return 1 if self._run.failure else 0

    async def _lead(self) -> None:
        """Everything that only a leader does; returns by being cancelled, or fails."""
        epoch = await self.elector.acquire()
        self.metrics.leader.set(epoch)
        self._run.waiting_for = "listing for the first time"
        self.elector.watch_over()
        async with asyncio.TaskGroup() as group:
            group.create_task(self.elector.hold(), name="lease")
            await self._first_sweep()
            if self.checkpoint:
                await self.checkpoint.load()
                group.create_task(self.checkpoint.save_for_ever(), name="checkpoint")
            self._start_watches()
            for loop, workers in self._loops:
                for number in range(workers):
                    group.create_task(loop.work(), name=f"{loop.controller.name}-{number}")
            group.create_task(self._sweep_for_ever(), name="sweep")
            self._run.waiting_for = ""
            log.info("working", controllers=sorted(self._queues), epoch=epoch)

    def _start_watches(self) -> None:
        loop = asyncio.get_running_loop()

        def deliver(watched: Watched, event: WatchEvent) -> None:
            _call_soon(loop, self.cache.note, watched, event)

        def ended(error: BaseException | None) -> None:
            _call_soon(loop, self._watch_ended, error)

        for watch in self._servers.watches:
            watch.start(deliver, ended, self.sweeper.listed_at)

    def _watch_ended(self, error: BaseException | None) -> None:
        if not self._run.stopping.is_set():
            self._run.failure = error or RuntimeError("a watch ended by itself")
            log.error("watch ended", error=str(self._run.failure))
            self.stop()

    async def _first_sweep(self) -> None:
        """Workers decide on a whole cache or not at all: try until every kind is served and was listed. What was listed is not listed again:
        a server that refuses some of many calls would else never let anybody start."""
        left: Sequence[Watched] | None = None
        while True:
            try:
                await self.sweeper.sweep(left, settling=True, first=True)
                return
            except KokError as error:
                left = self.sweeper.failed
                self._run.waiting_for = f"cannot list yet: {error}"
                log.warning("first sweep failed", error=str(error))
                await asyncio.sleep(2.0)

    async def _sweep_for_ever(self) -> None:
        pause, settling = min(self._config.settle, self._config.sweep_every), True
        while True:
            await asyncio.sleep(pause)
            try:
                await self.sweeper.sweep(settling=settling)
            except KokError as error:
                log.warning("sweep failed", error=str(error))
            pause, settling = self._config.sweep_every, False

    async def _end(self, leading: asyncio.Task[None], stopping: asyncio.Task[bool]) -> None:
        """Workers first, then the lease: whoever comes next finds nobody acting. The watches act on nothing and may take their time."""
        stopping.cancel()
        if leading.done() and leading.exception():
            self._run.failure = leading.exception()
            log.error("process failed", error=repr(self._run.failure))
        self._run.stopping.set()
        leading.cancel()
        await asyncio.wait({leading})
        if self.checkpoint and self.leadership.epoch:
            await self.checkpoint.save(deadline=SAVE_SECONDS)
        await self.elector.release()
        for watch in self._servers.watches:
            await asyncio.to_thread(watch.stop)
        self._run.waiting_for = "nothing: it has ended"

    def complaint(self) -> str:
        """Why the kubelet should start this process anew; empty if it need not."""
        if self.sweeper.deaf:
            return self.sweeper.deaf
        stuck = [
            f"{name}: a key is {age:.0f} s old" for name, q in self._queues.items() if (age := q.oldest_seconds()) > self._config.key_bound
        ]
        return "; ".join(stuck)

    def _lost(self, reason: str) -> None:
        """Hard exit, children first. Runs in the loop or in the guard's thread; never returns."""
        log.error("leadership lost", reason=reason, epoch=self.leadership.epoch)
        try:
            if self._kill:
                self._kill()
        finally:
            os._exit(EXIT_LOST_LEASE)


def _call_soon(loop: asyncio.AbstractEventLoop, function: Callable[..., None], *arguments: Any) -> None:
    """Hand over to the loop's thread; a loop that is closed has nobody left to tell."""
    try:
        loop.call_soon_threadsafe(function, *arguments)
    except RuntimeError:
        log.debug("loop is closed")
