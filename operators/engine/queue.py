"""Which keys are due, once each: a key is in the queue at most once and with at most one worker at a time.

What is due by routine (a first look after a start, a poll) lets news pass, up to a bound: an edit must not wait for a thousand looks at
what nobody touched. An asyncio structure of one loop; other threads hand keys over with `add_threadsafe`. Decides when a failing key is tried again
(exponential, capped, jittered), nothing else. Filled by watch events, sweeps and requeues; emptied by the workers of a controller.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count

from operators.ports.kube import Key

HEAD_START = 300.0
"""Seconds by which news may pass routine: what is due by routine for longer is as urgent as what is new."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """Seconds before try n of a failing key: `first` * 2^(n-1), at most `cap`, each shortened by up to `jitter` of itself."""

    first: float = 0.5
    cap: float = 60.0
    jitter: float = 0.2

    def delay(self, failures: int, chance: float) -> float:
        """The wait after that many failures in a row (>= 1); `chance` in [0, 1) draws the jitter."""
        exponent = min(failures - 1, 32)
        return min(self.cap, self.first * 2.0**exponent) * (1.0 - self.jitter * chance)


class WorkQueue:
    """Keys that are due now, those that will be, and those in work."""

    def __init__(self, name: str, *, backoff: Backoff | None = None, chance: Callable[[], float] = random.random) -> None:
        self.name = name
        self._backoff = backoff or Backoff()
        self._chance = chance
        self._ready: asyncio.PriorityQueue[tuple[float, int, Key]] = asyncio.PriorityQueue()
        self._numbers = count()
        self._ready_since: dict[Key, float] = {}
        self._ranks: dict[Key, float] = {}
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._in_work: dict[Key, float] = {}
        self._again_at: dict[Key, float] = {}
        self._news: set[Key] = set()
        self._failures: dict[Key, int] = {}

    def add(self, key: Key, *, after: float = 0.0, routine: bool = False) -> None:
        """Make a key due in that many seconds; of several wishes the earliest counts. A key in work comes again after it is done."""
        loop = asyncio.get_running_loop()
        due = loop.time() + max(0.0, after)
        if not routine:
            self._news.add(key)
        if key in self._in_work:
            self._again_at[key] = min(due, self._again_at.get(key, due))
        elif key not in self._ready_since:
            self._schedule(key, due, loop)
        elif not routine:
            self._rank(key, due)

    def _schedule(self, key: Key, due: float, loop: asyncio.AbstractEventLoop) -> None:
        timer = self._timers.get(key)
        if due <= loop.time():
            self._make_ready(key)
        elif timer is None or timer.when() > due:
            if timer is not None:
                timer.cancel()
            self._timers[key] = loop.call_at(due, self._make_ready, key)

    def _make_ready(self, key: Key) -> None:
        if timer := self._timers.pop(key, None):
            timer.cancel()
        now = asyncio.get_running_loop().time()
        self._ready_since[key] = now
        self._rank(key, now if key in self._news else now + HEAD_START)

    def _rank(self, key: Key, rank: float) -> None:
        """Give a key that is due its place; of several the best counts, and `get` passes over the others."""
        if rank < self._ranks.get(key, math.inf):
            self._ranks[key] = rank
            self._ready.put_nowait((rank, next(self._numbers), key))

    async def get(self) -> Key:
        """The key that has been due longest, routine after news; it is the caller's until `done`."""
        while True:
            rank, _, key = await self._ready.get()
            if self._ranks.get(key) == rank:
                break
        del self._ranks[key]
        self._news.discard(key)
        self._ready_since.pop(key)
        self._in_work[key] = asyncio.get_running_loop().time()
        return key

    def done(self, key: Key) -> None:
        """Give a key back. If it was added meanwhile it is due again, when that said."""
        self._in_work.pop(key)
        again = self._again_at.pop(key, None)
        if again is not None:
            self._schedule(key, again, asyncio.get_running_loop())

    def retry(self, key: Key) -> float:
        """Make a failed key due after its backoff; returns the seconds."""
        self._failures[key] = self._failures.get(key, 0) + 1
        delay = self._backoff.delay(self._failures[key], self._chance())
        self.add(key, after=delay)
        return delay

    def succeeded(self, key: Key) -> None:
        """The next failure of this key is again its first."""
        self._failures.pop(key, None)

    def failures(self, key: Key) -> int:
        """How often in a row it failed."""
        return self._failures.get(key, 0)

    @property
    def depth(self) -> int:
        """Keys that are due and wait for a worker."""
        return len(self._ready_since)

    def oldest_seconds(self) -> float:
        """How long the key that is due longest waits, or the one in work longest is worked on; 0 if there is none."""
        started = [*self._ready_since.values(), *self._in_work.values()]
        return asyncio.get_running_loop().time() - min(started) if started else 0.0
