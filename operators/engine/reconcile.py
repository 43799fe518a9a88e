"""One reconcile: observe -> next_step -> act -> status_of -> one write if it changed -> requeue as the step says.

Decides nothing about any kind: that is the Controller's. Waiting is a step, never a sleep; an error is a status, a backoff, one log
line and a metric, never the end of a worker. Run by `operators.engine.process`.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar
from uuid import uuid4

import structlog

from operators.engine.checkpoint import Checkpoint, Left
from operators.engine.metrics import Metrics
from operators.engine.queue import WorkQueue
from operators.engine.recorder import EventRecorder, Occurrence
from operators.errors import ErrorCode, KokError
from operators.ports.kube import Conflict, Key, KubePort, Manifest, NotFound, Ref

log = structlog.get_logger(__name__)


class Step(Protocol):
    """What the ladder chose. Any frozen dataclass with these two members will do; `reason` is the one sentence that people read.

    A step that a person has to mend also has a `code` (an ErrorCode): its event is a Warning with that reason, as that of a failure. One that says
    that everything is as it should be has a true `at_rest`: see `operators.engine.checkpoint`.
    """

    @property
    def reason(self) -> str:
        """The same words for the condition, the event, the log line and `kok why`."""
        ...

    @property
    def after(self) -> float | None:
        """Seconds until the object is looked at again: 0 = at once (something was done), None = when something wakes it."""
        ...


@dataclass(frozen=True, slots=True)
class StatusWrite:
    """The whole status that an object should show, beside the one it shows. Equal means that nothing is written."""

    ref: Ref
    current: Manifest
    wanted: Manifest


@dataclass(frozen=True, slots=True)
class Waits:
    """What `act` returns when the step could not be begun yet: its sentence and its seconds take the place of the step's."""

    reason: str
    after: float | None


View = TypeVar("View")
StepT = TypeVar("StepT", bound=Step)
Outcome = TypeVar("Outcome")


class Controller(Protocol[View, StepT, Outcome]):
    """One kind's reconcile. `observe` and `act` do I/O through ports; `next_step` and `status_of` are pure."""

    @property
    def name(self) -> str:
        """The `controller` of its keys, and its name in logs and metrics."""
        ...

    async def observe(self, key: Key) -> View | None:
        """Everything that a pass looks at, read once; None if the object is gone. What cannot be read is part of the view, not an error."""
        ...

    def next_step(self, view: View) -> StepT:
        """The first rung of the ladder that has something to do."""
        ...

    async def act(self, view: View, step: StepT) -> Outcome:
        """Do it: one risky thing at most. Safe to repeat after a crash anywhere inside. Raises KokError."""
        ...

    def status_of(self, view: View, step: StepT, outcome: Outcome | KokError) -> StatusWrite | None:
        """The status after this pass; `outcome` is the error if `act` raised one. None if the object shows nothing (it is going)."""
        ...


@dataclass(frozen=True, slots=True)
class LoopTools:
    """What a loop writes with: statuses through `kube`, sentences through `recorder`.

    `keep` takes in what a status write returned (the cache's `put`): a pass that follows at once would otherwise compare with the
    status before it, and write it a second time with another time of transition. `checkpoint` spares first looks after a restart.
    """

    kube: KubePort
    recorder: EventRecorder
    metrics: Metrics
    keep: Callable[[Manifest], object] = lambda _: None
    checkpoint: Checkpoint | None = None


class ReconcileLoop(Generic[View, StepT, Outcome]):
    """Runs one controller over one queue. `pass_seconds` bounds a whole pass, above the deadlines of its port calls."""

    def __init__(
        self, controller: Controller[View, StepT, Outcome], queue: WorkQueue, tools: LoopTools, *, pass_seconds: float = 300.0
    ) -> None:
        self.controller, self.queue, self.pass_seconds = controller, queue, pass_seconds
        self._tools = tools
        self._told: dict[Key, str] = {}

    async def work(self) -> None:
        """One worker, for ever: take a key, make a pass, give it back."""
        while True:
            key = await self.queue.get()
            try:
                await self._pass(key)
            finally:
                self.queue.done(key)

    async def _pass(self, key: Key) -> None:
        began = time.monotonic()
        with structlog.contextvars.bound_contextvars(
            controller=key.controller, namespace=key.namespace, name=key.name, reconcile_id=uuid4().hex[:8]
        ):
            result = await self._settle(key)
        self._tools.metrics.reconciled(self.controller.name, result, time.monotonic() - began)

    async def _settle(self, key: Key) -> str:
        """Make the pass and decide when the key comes again; returns the result for the metrics."""
        if self._is_as_left(key):
            return AS_LEFT
        try:
            async with asyncio.timeout(self.pass_seconds):
                after = await self.reconcile(key)
        except KokError as error:
            return self._failed(key, error)
        except TimeoutError:
            return self._failed(key, KokError(ErrorCode.Timeout, f"a pass took longer than {self.pass_seconds:.0f} s"))
        except Exception as error:
            log.exception("pass broke; this is a bug")
            return self._failed(key, internal_error(error), already_logged=True)
        self.queue.succeeded(key)
        if after == GONE:
            self._told.pop(key, None)
            self._keep_for_restart(key, None)
            return "gone"
        if after is not None:
            self.queue.add(key, after=after, routine=after >= ROUTINE_FROM)
        return "ok"

    def _is_as_left(self, key: Key) -> bool:
        """Whether this first look may wait: until when it was to be looked at anyway, drawn, so that a fleet does not come all at once."""
        left = self._tools.checkpoint.as_left(key) if self._tools.checkpoint else None
        if left and left.after is not None:
            self.queue.add(key, after=random.uniform(0.0, left.after), routine=True)  # noqa: S311 - spreads load, guards nothing
        return left is not None

    def _keep_for_restart(self, key: Key, left: Left | None) -> None:
        if self._tools.checkpoint and left:
            self._tools.checkpoint.leave(key, left)
        elif self._tools.checkpoint:
            self._tools.checkpoint.forget(key)

    def _failed(self, key: Key, error: KokError, *, already_logged: bool = False) -> str:
        delay = self.queue.retry(key)
        if not already_logged:
            level = log.debug if isinstance(error, Conflict) else log.warning
            level(
                "pass failed", code=str(error.code), error=error.message, retry_seconds=round(delay, 1), failures=self.queue.failures(key)
            )
        return str(error.code)

    async def reconcile(self, key: Key) -> float | None:
        """One pass. Returns the seconds until the next one, None to wait for a wake-up, GONE if the object is no more."""
        state = self._tools.checkpoint.state_of(key) if self._tools.checkpoint else ""
        view = await self.controller.observe(key)
        if view is None:
            return GONE
        step = self.controller.next_step(view)
        outcome = await self._act(view, step)
        told: Step = outcome if isinstance(outcome, Waits) else step
        write = self.controller.status_of(view, step, outcome)
        await self._show(key, told, write, outcome)
        if isinstance(outcome, KokError):
            raise outcome
        is_right = told is step and getattr(step, "at_rest", False) and (write is None or write.wanted == write.current)
        self._keep_for_restart(key, Left(state, step.after) if is_right else None)
        return told.after

    async def _act(self, view: View, step: StepT) -> Outcome | KokError:
        """The step's outcome, or its error: both are shown in the status before anything is tried again."""
        try:
            return await self.controller.act(view, step)
        except KokError as error:
            return error
        except Exception as error:
            log.exception("step broke; this is a bug", step=type(step).__name__)
            return internal_error(error)

    async def _show(self, key: Key, step: Step, write: StatusWrite | None, outcome: Outcome | KokError) -> None:
        """Write the status if it changed; with it, and only then, tell the sentence once in the log and as an event."""
        if write is None or write.wanted == write.current:
            return
        try:
            shown = await self._tools.kube.patch_status(write.ref, write.wanted)
        except NotFound:
            return  # deleted since it was observed: there is nothing left to show it on
        self._tools.keep(shown)
        words = outcome.message if isinstance(outcome, KokError) else step.reason
        if self._told.get(key) == words:
            return
        self._told[key] = words
        code = outcome.code if isinstance(outcome, KokError) else getattr(step, "code", None)
        is_code = isinstance(code, ErrorCode)
        reason = str(code) if is_code else type(step).__name__
        log.info("step", step=reason, reason=words)
        uid = shown.get("metadata", {}).get("uid", "")
        await self._tools.recorder.record(Occurrence(write.ref, uid, reason, words, action=type(step).__name__, warning=is_code))


GONE = -1.0
AS_LEFT = "as-left"
"""The result of a first look that came to nothing to look at."""
ROUTINE_FROM = 30.0
"""Seconds. A step that comes again so late waits for nothing in particular: news of others may pass it."""


def internal_error(error: Exception) -> KokError:
    """What a bug looks like in a condition: its type and words, and where the rest is."""
    return KokError(ErrorCode.Internal, f"{type(error).__name__}: {error}", "the operator's log has the traceback")
