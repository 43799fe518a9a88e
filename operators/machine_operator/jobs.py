"""Ansible jobs: hosts that need the same are joined into one run, each host is in at most one; whose job ended is woken.

Decides nothing about what is run. Memory only: a run that a crash cut is found by looking at the host, and made anew. `serve` runs beside the process.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

import structlog

from operators.domain.machine.view import JobPhase, JobState
from operators.errors import KokError
from operators.ports.ansible import AnsibleJob, AnsiblePort, HostOutcome, HostWork, JobAction, require_leave

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Order:
    """What one host needs. `signature` stands for exactly this work on this host, `join` is equal on hosts that can share a run."""

    host: str
    action: JobAction
    work: HostWork
    signature: str
    join: str
    words: str
    bootstrap: str = ""

    def __post_init__(self) -> None:
        """Raises KokError GrantInvalid for work that never goes without leave and has none."""
        require_leave(self.action, self.work)


@dataclass(frozen=True, slots=True)
class JobLimits:
    """Seconds to wait for others with the same work, hosts in a run, seconds a run may take, runs at once (whoever runs them has a limit, too)."""

    window: float = 0.3
    hosts: int = 20
    timeout: float = 600.0
    runs: int = 100


STAGING = JobLimits(hosts=10, timeout=1800.0, runs=1)
"""One run at a time, of ten hosts: whatever is staged, half of what runs at once is left to what is urgent."""


class Jobs:
    """Takes orders, runs them in batches, remembers the last of each host."""

    def __init__(
        self, ansible: AnsiblePort, wake: Callable[[str], None], *, now: Callable[[], datetime], limits: JobLimits | None = None
    ) -> None:
        self._ansible, self._wake, self._now, self._limits = ansible, wake, now, limits or JobLimits()
        self._orders: asyncio.Queue[Order] = asyncio.Queue()
        self._states: dict[str, JobState] = {}
        self._slots = asyncio.Semaphore(self._limits.runs)
        self.runs = 0
        """Runs that were started, for metrics and tests."""

    def state(self, host: str) -> JobState | None:
        """The host's job in hand, or its last one."""
        return self._states.get(host)

    def submit(self, order: Order) -> None:
        """Take an order; one whose host has a job in hand is ignored (its pass comes again when that ends)."""
        before = self._states.get(order.host)
        if before and before.is_running:
            return
        tries = before.tries if before and before.signature == order.signature else 0
        self._states[order.host] = JobState(
            JobPhase.Running, order.signature, self._now(), tries + 1, message=order.words, bootstrap=order.bootstrap
        )
        self._orders.put_nowait(order)

    def forget(self, host: str) -> None:
        """Its work is done: tries are counted anew. A job in hand stays."""
        state = self._states.get(host)
        if state and not state.is_running:
            del self._states[host]

    async def serve(self) -> None:
        """For ever: collect for a moment, join, run."""
        async with asyncio.TaskGroup() as group:
            while True:
                orders = [await self._orders.get()]
                await asyncio.sleep(self._limits.window)
                while not self._orders.empty():
                    orders.append(self._orders.get_nowait())
                for batch in batches(orders, size=self._limits.hosts):
                    group.create_task(self._run(batch))

    async def _run(self, batch: tuple[Order, ...]) -> None:
        async with self._slots:
            await self._run_now(batch)

    async def _run_now(self, batch: tuple[Order, ...]) -> None:
        tries = max(self._states[order.host].tries for order in batch)
        job = AnsibleJob(ident_of(batch, tries), batch[0].action, tuple(order.work for order in batch), self._limits.timeout)
        self.runs += 1
        log.info("ansible run", ident=job.ident, hosts=[order.host for order in batch], work=batch[0].join)
        outcomes = await self._outcomes(job)
        for order in batch:
            self._finish(order, outcomes.get(order.host) or HostOutcome(0, failed=True, message="the run said nothing of this host"))

    async def _outcomes(self, job: AnsibleJob) -> Mapping[str, HostOutcome]:
        try:
            return await self._ansible.run(job)
        except KokError as error:
            words = f"{error.message}; {error.hint}" if error.hint else error.message
            return {work.target.name: HostOutcome(0, failed=True, message=words) for work in job.hosts}
        except Exception as error:
            log.exception("ansible run broke; this is a bug")
            return {work.target.name: HostOutcome(0, failed=True, message=f"{type(error).__name__}: {error}") for work in job.hosts}

    def _finish(self, order: Order, outcome: HostOutcome) -> None:
        running = self._states[order.host]
        if outcome.withheld:  # it was no try, and brought nothing to the host
            self._states[order.host] = JobState(JobPhase.Withheld, order.signature, self._now(), running.tries - 1, message=outcome.message)
            self._wake(order.host)
            return
        where = f"task '{outcome.task}' failed: " if outcome.task else ""
        message = f"{where}{outcome.message}" if outcome.failed else ""
        self._states[order.host] = JobState(
            JobPhase.Finished, order.signature, self._now(), running.tries, outcome.failed, message, bootstrap=order.bootstrap
        )
        self._wake(order.host)


def batches(orders: Iterable[Order], *, size: int) -> list[tuple[Order, ...]]:
    """Orders with the same action and work, at most `size` in each, in the order of host names."""
    joined: dict[tuple[JobAction, str], list[Order]] = defaultdict(list)
    for order in sorted(orders, key=lambda order: order.host):
        joined[order.action, order.join].append(order)
    return [tuple(group[i : i + size]) for group in joined.values() for i in range(0, len(group), size)]


def ident_of(batch: tuple[Order, ...], tries: int) -> str:
    """The same work has the same id, also after a restart; another try has another."""
    text = "\n".join((*sorted(order.signature for order in batch), str(tries)))
    return f"{batch[0].action.value.lower()}-{hashlib.sha256(text.encode()).hexdigest()[:20]}"
