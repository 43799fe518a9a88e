"""Makes this process the only one that acts: takes the lease, renews it, and ends the process when it cannot say any more that it leads.

Our own few lines: the elector of `kubernetes.aio` never counts transitions and outlives the death of what it guards.
- Another's lease is over when its record has not moved for its duration *by our clock*; remote clocks are never compared.
- Every start that wins bumps `epoch` in the same compare-and-swap. A lease that was lost begins at the seconds since 1970, which is
  above anything an earlier one can have reached at less than one win per second.
- Time is counted from before a request was sent, on a clock that runs on while the process is stopped (SIGSTOP, a sleeping machine).
Run by `operators.engine.process`. `lost` must not return: after it nothing of this process may act.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

import structlog

from operators.engine.clock import boot_seconds, utc_now
from operators.engine.leadership import Leadership
from operators.errors import KokError
from operators.ports.kube import AlreadyExists, Conflict
from operators.ports.lease import LeasePort, LeaseRecord

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ElectorConfig:
    """Who we are, and three times in seconds: others wait `lease`, we give up at `renew_deadline`, and try every `retry`.

    `identity` is unique per process start. `instance`, if given, names what can only run once at a time (a pod's uid and container):
    a holder of the same instance is our dead predecessor and is not waited for. It is the part of an identity before `#`.
    """

    identity: str
    lease_seconds: int = 15
    renew_deadline: float = 10.0
    retry: float = 2.0

    @classmethod
    def of(cls, identity: str, lease_seconds: int) -> ElectorConfig:
        """The other two times in proportion to the first: 10 and 2 for 15."""
        return cls(identity, lease_seconds, renew_deadline=lease_seconds * 2 / 3, retry=lease_seconds * 2 / 15)

    @property
    def instance(self) -> str:
        """What can only run once at a time; empty if nothing is known of that."""
        return self.identity.partition("#")[0] if "#" in self.identity else ""


class Elector:
    """The candidate. `acquire`, then `hold` for ever in a task, `watch_over` in a thread, `release` at the end."""

    def __init__(
        self,
        lease: LeasePort,
        config: ElectorConfig,
        *,
        lost: Callable[[str], None],
        clock: Callable[[], float] = boot_seconds,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._lease, self._config, self._lost, self._clock, self._now = lease, config, lost, clock, now
        self.leadership = Leadership(clock)
        self._mine: LeaseRecord | None = None
        self._released = threading.Event()
        self._seen: tuple[str, float] = ("", 0.0)

    async def acquire(self) -> int:
        """Wait until we lead; returns our epoch. An unreachable API server is waited for, too."""
        while not self.leadership.epoch:
            began = self._clock()
            try:
                won = await self._try_to_win()
            except KokError as error:
                won = None
                log.debug("lease not taken", error=str(error))
            if won:
                self._lead(won, began)
                log.info("leading", epoch=won.epoch, identity=self._config.identity, transitions=won.transitions)
            else:
                await asyncio.sleep(self._config.retry)
        return self.leadership.epoch

    def _lead(self, record: LeaseRecord, began: float) -> None:
        self._mine = record
        self._released.clear()
        self.leadership.until = began + self._config.renew_deadline
        self.leadership.epoch = record.epoch

    async def _try_to_win(self) -> LeaseRecord | None:
        """One compare-and-swap if the lease is free; None if it is not, or if another was faster."""
        found = await self._lease.read()
        try:
            if found is None:
                return await self._lease.create(self._record_of(None))
            return await self._lease.replace(self._record_of(found)) if self._is_free(found) else None
        except (AlreadyExists, Conflict):
            return None

    def _is_free(self, found: LeaseRecord) -> bool:
        instance = self._config.instance
        if not found.holder or found.holder == self._config.identity or (instance and found.holder.partition("#")[0] == instance):
            return True
        version, since = self._seen
        if version != found.version:
            self._seen = (found.version, self._clock())
            return False
        return self._clock() - since > found.duration_seconds

    def _record_of(self, found: LeaseRecord | None) -> LeaseRecord:
        """The record by which we win; keeps counting where the one before stopped."""
        now = self._now()
        epoch = found.epoch + 1 if found and found.epoch else int(now.timestamp())
        transitions = found.transitions + (found.holder != self._config.identity) if found else 0
        version = found.version if found else ""
        return LeaseRecord(self._config.identity, now, now, self._config.lease_seconds, transitions, epoch, version)

    async def hold(self) -> None:
        """Renew until the process ends. Calls `lost` when another holds it, or at the renew deadline."""
        while True:
            await asyncio.sleep(self._config.retry)
            if self.is_over():
                self._lost(f"the lease was not renewed for {self._config.renew_deadline:.0f} s")
                return
            if thief := await self._renew():
                self._lost(f"{thief} took the lease")
                return

    async def _renew(self) -> str:
        """One try; returns who else holds the lease, if somebody does. What fails otherwise is tried again until the deadline."""
        assert self._mine is not None, "hold() comes after acquire()"
        began = self._clock()
        try:
            async with asyncio.timeout(self._config.renew_deadline):
                self._mine = await self._lease.replace(replace(self._mine, renewed=self._now()))
            self.leadership.until = began + self._config.renew_deadline
        except Conflict:
            return await self._look_again()
        except (KokError, TimeoutError) as error:
            log.warning("lease not renewed", error=str(error), remaining_seconds=round(self.leadership.remaining, 1))
        return ""

    async def _look_again(self) -> str:
        """After a conflict: our own write whose answer got lost, a harmless touch by somebody, or a thief (whose name comes back)."""
        try:
            found = await self._lease.read()
        except KokError:
            return ""
        if found and self._mine and (found.holder, found.epoch) == (self._mine.holder, self._mine.epoch):
            self._mine = found
            return ""
        return (found.holder or "nobody") if found else "nobody: it was deleted; somebody"

    def is_over(self) -> bool:
        """Whether the renew deadline has passed. Cheap, and callable from any thread."""
        return self.leadership.epoch > 0 and not self.leadership.is_held

    def watch_over(self, every: float = 0.25) -> None:
        """Start the thread that ends the process at the deadline even if its event loop is stuck; it ends itself when the lease is given back."""
        threading.Thread(target=self._guard, args=(every,), name="lease-guard", daemon=True).start()

    def _guard(self, every: float) -> None:
        while not self._released.wait(every):
            if self.is_over():
                self._lost("the lease ran out while the process was stuck or stopped")
                return

    async def release(self) -> None:
        """Give the lease back so that the next one need not wait. Call it when nothing acts any more."""
        mine, self._mine, self.leadership.epoch = self._mine, None, 0
        self._released.set()
        if mine is None:
            return
        try:
            await self._lease.replace(replace(mine, holder="", renewed=self._now()))
        except KokError as error:
            log.debug("lease not released", error=str(error))
