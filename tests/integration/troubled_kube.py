"""KubePorts over an API server in trouble, for tests: one that is busy (429), one that is slow, one whose lists are old."""

from __future__ import annotations

import asyncio
import random
from typing import Any, ClassVar

from operators.ports.kube import Kind, KubePort, Listing, Ref, TooManyRequests
from tests.integration.kube_proxies import RecordingKube


class BusyKube(RecordingKube):
    """A fifth of the calls is answered by 429, the same ones in every run."""

    share: ClassVar[float] = 1 / 5

    def __init__(self, kube: KubePort) -> None:
        super().__init__(kube)
        self.refused, self._dice = 0, random.Random(7)

    def _before(self, verb: str, ref: Ref) -> None:
        if self._dice.random() < self.share:
            self.refused += 1
            raise TooManyRequests("the server is busy", retry_after=0.1)


class SlowKube(RecordingKube):
    """Every call takes its time."""

    seconds = 0.2

    async def _written(self, verb: str, ref: Ref, call: Any) -> Any:
        await asyncio.sleep(self.seconds)
        return await super()._written(verb, ref, call)

    async def get(self, ref: Ref, *, deadline: float = 10.0) -> Any:
        await asyncio.sleep(self.seconds)
        return await super().get(ref, deadline=deadline)

    async def list(self, kind: Kind, *, namespace: str = "", selector: str = "", deadline: float = 10.0) -> Listing:
        await asyncio.sleep(self.seconds)
        return await super().list(kind, namespace=namespace, selector=selector, deadline=deadline)


class StaleKube(RecordingKube):
    """Lists of those kinds are for ever those of the first time."""

    stale_kinds: ClassVar[tuple[Kind, ...]] = ()

    def __init__(self, kube: KubePort) -> None:
        super().__init__(kube)
        self._first: dict[Kind, Listing] = {}
        self.stale = 0

    async def list(self, kind: Kind, *, namespace: str = "", selector: str = "", deadline: float = 10.0) -> Listing:
        if kind not in self.stale_kinds:
            return await super().list(kind, namespace=namespace, selector=selector, deadline=deadline)
        if kind in self._first:
            self.stale += 1
        else:
            self._first[kind] = await super().list(kind, namespace=namespace, selector=selector, deadline=deadline)
        return self._first[kind]


class LaggingKube(RecordingKube):
    """Each list is the one that the last call should have got: a watch cache that is behind, of an API server that was started anew."""

    def __init__(self, kube: KubePort) -> None:
        super().__init__(kube)
        self._last: dict[tuple[Kind, str, str], Listing] = {}
        self.stale = 0

    async def list(self, kind: Kind, *, namespace: str = "", selector: str = "", deadline: float = 10.0) -> Listing:
        now = await super().list(kind, namespace=namespace, selector=selector, deadline=deadline)
        before = self._last.get((kind, namespace, selector), now)
        self._last[kind, namespace, selector] = now
        self.stale += before.resource_version != now.resource_version
        return before
