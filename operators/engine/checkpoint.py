"""What a restarted process need not look at again: keys whose objects are all as they were when a pass last found everything right.

A saving, never a fact: it decides only whether the *first* look at a key comes at once or within the time that the last pass gave itself, as every
later one does. It stands in one ConfigMap, written by the leader when a change of it has rested; without it, or with that of another build, everything
is looked at. Kept by `operators.engine.reconcile`, read and written by `operators.engine.process`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import structlog

from operators.errors import KokError
from operators.ports.kube import DEFAULT_DEADLINE, Key, KubePort, Manifest, Ref

log = structlog.get_logger(__name__)
MOST_BYTES = 900_000
"""An object may have a MiB. What does not fit is looked at."""
REST_SECONDS = 20.0
LATEST_SECONDS = 300.0
LOOK_SECONDS = 5.0
FIELD_BUILD, FIELD_LEFT = "build", "left"


@dataclass(frozen=True, slots=True)
class Left:
    """How a key was left: the state of its objects (`ObjectCache.state_of`), and the seconds until it was to be looked at again."""

    state: str
    after: float | None


@dataclass(frozen=True, slots=True)
class Place:
    """The ConfigMap that it stands in, and the port to write it with: a fenced one."""

    kube: KubePort
    ref: Ref


class Checkpoint:
    """Of one process. `build` names the code that looked: another one would perhaps not find the same right."""

    def __init__(
        self,
        place: Place,
        build: str,
        state_of: Callable[[Key], str],
        *,
        least: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`state_of` is the cache's. With fewer than `least` keys nothing is kept: to look at them takes a moment."""
        self._kube, self._ref = place.kube, place.ref
        self._build, self._least, self._clock = build, least, clock
        self.state_of = state_of
        self._left: dict[Key, Left] = {}
        self._unlooked: set[Key] = set()
        self._changed_at: float | None = None
        self._unsaved_since: float | None = None
        self._saved = ""

    async def load(self) -> None:
        """Take over what the process before left. Whatever is wrong with it: then nothing was left."""
        try:
            found = await self._kube.get(self._ref)
        except KokError as error:
            log.warning("everything is looked at anew: what was left before cannot be read", error=str(error))
            return
        data = (found or {}).get("data") or {}
        if data.get(FIELD_BUILD) == self._build:
            self._saved = str(data.get(FIELD_LEFT) or "")
            self._left = dict(_read(self._saved))
            self._unlooked = set(self._left)
            log.info("taken over what needs no first look", keys=len(self._left))

    def as_left(self, key: Key) -> Left | None:
        """How it was left, if nothing has changed since; asked once per key, at its first look."""
        if key not in self._unlooked:
            return None
        self._unlooked.discard(key)
        known = self._left[key]
        if known.state == self.state_of(key):
            return known
        self.forget(key)
        return None

    def leave(self, key: Key, left: Left) -> None:
        """A pass found everything right, in that state."""
        left = replace(left, after=None if left.after is None else float(round(left.after)))  # as it is written: else a restart changes it
        self._unlooked.discard(key)
        if self._left.get(key) != left:
            self._left[key] = left
            self._change()

    def forget(self, key: Key) -> None:
        """It is gone, or not right any more."""
        self._unlooked.discard(key)
        if self._left.pop(key, None):
            self._change()

    def _change(self) -> None:
        self._changed_at = self._clock()
        if self._unsaved_since is None:
            self._unsaved_since = self._changed_at

    async def save_for_ever(self) -> None:
        """Write it whenever a change has rested for REST_SECONDS, or waited for LATEST_SECONDS."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if self._is_due():
                await self.save()

    def _is_due(self) -> bool:
        if self._changed_at is None or self._unsaved_since is None:
            return False
        now = self._clock()
        return now - self._changed_at >= REST_SECONDS or now - self._unsaved_since >= LATEST_SECONDS

    async def save(self, *, deadline: float = DEFAULT_DEADLINE) -> None:
        """Write it, if it says anything new. A failure is logged; the next change tries again."""
        self._changed_at = self._unsaved_since = None
        text = _written(self._left) if len(self._left) >= self._least else ""
        if text == self._saved:
            return
        try:
            await self._kube.apply(self._manifest(text), deadline=deadline)
        except KokError as error:
            log.warning("what needs no first look is not written", error=str(error))
            return
        self._saved = text

    def _manifest(self, text: str) -> Manifest:
        metadata = {"name": self._ref.name, "namespace": self._ref.namespace}
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {FIELD_BUILD: self._build, FIELD_LEFT: text}}


def _written(left: dict[Key, Left]) -> str:
    """A line per key, sorted; whole lines up to MOST_BYTES."""
    lines, size = [], 0
    for key in sorted(left):
        after = left[key].after
        line = f"{key.controller} {key.namespace or '-'} {key.name} {left[key].state} {'-' if after is None else f'{after:.0f}'}\n"
        size += len(line)
        if size > MOST_BYTES:
            break
        lines.append(line)
    return "".join(lines)


def _read(text: str) -> Iterator[tuple[Key, Left]]:
    """Lines that are no such lines say nothing."""
    for line in text.splitlines():
        words = line.split(" ")
        if len(words) == 5 and (words[4] == "-" or words[4].isdigit()):
            controller, namespace, name, state, after = words
            yield Key(controller, "" if namespace == "-" else namespace, name), Left(state, None if after == "-" else float(after))
