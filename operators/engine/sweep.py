"""Corrects the cache by one paged LIST per kind, because a watch layer tells neither of deletions across a re-list nor of its own death.

Wakes what differs or vanished. A change that the watch has not told by the second sweep after it says that the watch is dead: then
the process is not healthy. Run by `operators.engine.process` before workers start and every ten minutes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import structlog

from operators.engine.cache import ObjectCache, slot_of
from operators.engine.metrics import Metrics
from operators.errors import KokError
from operators.ports.kube import KubePort, Watched

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class SweepResult:
    """What one LIST found: `corrected` the watch had not told yet, of these `deaf` had been found by the sweep before, too."""

    listed: int
    corrected: int
    deaf: int


class Sweeper:
    """Sweeps everything the cache follows, on its API server."""

    def __init__(self, cache: ObjectCache, kubes: Mapping[str, KubePort], metrics: Metrics) -> None:
        self._cache, self._kubes, self._metrics = cache, kubes, metrics
        self.deaf = ""
        """Why the watch must be taken for dead; empty while it is not."""
        self.failed: tuple[Watched, ...] = ()
        """What the last sweep could not list."""
        self.listed_at: dict[Watched, str] = {}
        """The version that each kind was last listed at."""

    async def sweep(self, only: Sequence[Watched] | None = None, *, settling: bool = False, first: bool = False) -> None:
        """All kinds (or `only` these), one after the other: the cost is a list each, never all in memory at once.

        The `first` stands for what the watches tell: they go on from its versions.
        While `settling`, the watches may still be listing themselves: what they have not told yet is not held against them.
        Raises the first error at the end: a server that is down does not keep the others from being swept.
        """
        deaf, errors, failed = [], list[KokError](), list[Watched]()
        for watched in self._cache.watched if only is None else only:
            try:
                result = await self.sweep_kind(watched, settling=settling, first=first)
            except KokError as error:
                errors.append(error)
                failed.append(watched)
                continue
            self._metrics.missed(watched.server, watched.kind.kind, result.corrected)
            if result.corrected:
                log.debug("sweep corrected", kind=str(watched.kind), server=watched.server, corrected=result.corrected)
            if result.deaf:
                deaf.append(f"the watch of {watched.kind} on {watched.server} missed {result.deaf} changes over two sweeps")
        self.failed = tuple(failed)
        if deaf:
            self.deaf = "; ".join(deaf)
            log.error("watch is deaf", reason=self.deaf)
        if errors:
            raise errors[0]

    async def sweep_kind(self, watched: Watched, *, settling: bool = False, first: bool = False) -> SweepResult:
        """One kind. What is newer in the cache than in the list (told while it was read) stays."""
        kube = self._kubes[watched.server]
        listing = await kube.list(watched.kind, namespace=watched.namespace, selector=watched.selector, deadline=30.0)
        corrected = deaf = 0
        present = set()
        for manifest in listing.items:
            present.add(slot_of(manifest))
            corrected += self._cache.keep(watched, manifest, told=first, swept=True)
            entry = self._cache.entry(watched, manifest)
            if entry and not entry.told and not settling:
                entry.sweeps += 1
                deaf += entry.sweeps > 1
        self.listed_at[watched] = listing.resource_version
        corrected += self._forget_vanished(watched, present, int(listing.resource_version or 0))
        return SweepResult(len(listing.items), corrected, deaf)

    def _forget_vanished(self, watched: Watched, present: set[tuple[str, str]], listed_at: int) -> int:
        vanished = [e for e in self._cache.entries(watched) if slot_of(e.head) not in present and e.version <= listed_at]
        for entry in vanished:
            self._cache.forget(watched, entry.manifest)
        return len(vanished)
