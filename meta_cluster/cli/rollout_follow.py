"""Follows a FleetRollout to its end: a live tree on a terminal, one line per change anywhere else. Reads only; leaving it leaves the rollout running."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sys
from datetime import datetime

from meta_cluster.cli.access import CLUSTER, Meta, open_meta
from meta_cluster.cli.console import NARROW, is_coloured, say, tell, width
from meta_cluster.cli.lines import hanging
from meta_cluster.cli.options import Access
from meta_cluster.cli.rollout_acts import MACHINE_POOL, rollout_named
from meta_cluster.cli.rollout_view import (
    GOOD,
    OVER,
    come_back,
    headline,
    lag_text,
    lagging,
    lagging_pools,
    phase_of,
    pools_lag_text,
    rollout_tree,
)
from meta_cluster.cli.times import now_utc
from meta_cluster.cli.tree import rendered
from operators.api.base import API_VERSION
from operators.ports.kube import DeadlineExceeded, Kind, Manifest, Unreachable

RELEASE = Kind(API_VERSION, "ClusterRelease")
POOL_RELEASE = Kind(API_VERSION, "MachinePoolRelease")
DONE, FAILED, TIMED_OUT, INTERRUPTED = 0, 1, 4, 130
POLL = 1.0
ESCAPE = re.compile(r"(\x1b\[[0-9;]*m)")
QUIET = 30.0
"""Off a terminal: a sentence whose numbers move is told again only after so many seconds."""


class Screen:
    """Where it is shown: a tree that is drawn over itself on a terminal, else lines of progress, each with its time."""

    def __init__(self, *, live: bool) -> None:
        self._live, self._lines = live, 0
        self._told: object = None
        self._at = 0.0

    def show(self, rollout: Manifest, now: datetime) -> None:
        """The rollout as it is now."""
        if self._live:
            self._draw(rendered(rollout_tree(rollout, now, following=True), width=width(), coloured=is_coloured(sys.stdout)))
            return
        mark, moment = _mark(rollout), now.timestamp()
        message = str((rollout.get("status") or {}).get("message") or "")
        if mark != self._told or moment - self._at >= QUIET:
            self._told, self._at = mark, moment
            tell(hanging(f"{now:%H:%M:%S}  ", f"{headline(rollout, now)}  {message}".rstrip(), NARROW))

    def _draw(self, text: str) -> None:
        back = f"\x1b[{self._lines}F\x1b[J" if self._lines else ""
        lines = fitted(text.splitlines(), shutil.get_terminal_size((NARROW, 24)))
        sys.stdout.write("".join([back, *(f"{line}\n" for line in lines)]))
        sys.stdout.flush()
        self._lines = len(lines)

    def end(self, rollout: Manifest, now: datetime) -> None:
        """The last picture; on a terminal it stands already."""
        if not self._live:
            say(rendered(rollout_tree(rollout, now), width=width()))


def fitted(lines: list[str], size: os.terminal_size) -> list[str]:
    """What fits the terminal, so that it can be drawn over: long lines cut, the middle left out."""
    room = max(4, size.lines - 1)
    if len(lines) > room:
        left_out = f"({len(lines) - room + 1} more lines: kok rollout status shows them)"
        lines = [*lines[: room - 2], left_out, lines[-1]]
    return [_cut(line, size.columns) for line in lines]


def _cut(line: str, columns: int) -> str:
    """At most so many visible characters; colours take no room."""
    shown, room = [], columns
    for part in ESCAPE.split(line):
        shown.append(part if ESCAPE.fullmatch(part) else part[:room])
        room -= 0 if ESCAPE.fullmatch(part) else len(shown[-1])
    return "".join(shown)


def _mark(rollout: Manifest) -> tuple[object, ...]:
    """What counts as a change: phase, verdicts, who is healthy or not; not the numbers in sentences."""
    status = rollout.get("status") or {}
    stages = tuple((s["name"], s.get("verdict"), s.get("healthy"), s.get("failed")) for s in status.get("stages") or ())
    members = tuple((m["cluster"], m["phase"]) for m in status.get("members") or ())
    return phase_of(rollout), stages, members


async def followed(access: Access, name: str, seconds: float) -> int:
    """Until it is over: 0 Good, 1 failed or taken back, 4 when `seconds` (0: no limit) are over. What Git has to learn is told at the end."""
    screen = Screen(live=sys.stdout.isatty())
    loop = asyncio.get_running_loop()
    ends = loop.time() + seconds if seconds else float("inf")
    async with open_meta(access) as meta:
        while True:
            try:
                rollout = await rollout_named(meta, name)
            except (Unreachable, DeadlineExceeded) as error:
                tell(f"{now_utc():%H:%M:%S}  {error.message}; trying again")
            else:
                screen.show(rollout, now_utc())
                if phase_of(rollout) in OVER:
                    screen.end(rollout, now_utc())
                    return await _ended(meta, rollout)
            if loop.time() >= ends:
                tell(f"not over after {seconds:.0f} s; it goes on, and so does: {come_back(name)}")
                return TIMED_OUT
            await asyncio.sleep(POLL)


async def _ended(meta: Meta, rollout: Manifest) -> int:
    if words := await lag_words(meta, rollout["metadata"]["name"]):
        say(words)
    return DONE if phase_of(rollout) == GOOD else FAILED


async def lag_words(meta: Meta, name: str) -> str:
    """What to commit to Git after this rollout; empty when its wish is what is authorised."""
    releases = (await meta.kube.list(RELEASE)).items
    clusters = lag_text(lagging((await meta.kube.list(CLUSTER)).items, releases, name))
    ordered = (await meta.kube.list(POOL_RELEASE)).items
    return clusters or pools_lag_text(lagging_pools((await meta.kube.list(MACHINE_POOL)).items, ordered, name))


def follow(access: Access, name: str, seconds: float) -> int:
    """`followed`, with Ctrl-C: it says how to come back, and 130."""
    from meta_cluster.cli.access import run

    try:
        return run(followed(access, name, seconds))
    except KeyboardInterrupt:
        tell(f"FleetRollout {name} goes on without you; come back with: {come_back(name)}")
        return INTERRUPTED
