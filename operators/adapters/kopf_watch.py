"""kopf as the watch layer, nothing more: it tells what changed, from a thread and loop of its own, against one API server.

No handlers of causes, no annotations, finalizers, timers, indices or peering: one `on.event` per kind that hands the object over.
What its first lists hold goes past its workers: a task, a queue and a second of waiting for each of 70,000 objects of a large fleet was a quarter
of what a restart takes. Kopf tells neither of deletions missed across a re-list nor of its own death: `operators.engine.sweep` makes up for both. One `KopfWatch`
is one `kopf.operator`; several in one process do not meet (own registry, settings, loop, stop flag). Built by the entry points.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import sys
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import aiohttp

from operators.adapters.kube_credentials import Credentials, TokenSource
from operators.ports.kube import NOT_LISTED, Manifest, Watched, WatchEvent, WatchEventType

# Kopf imports the whole synchronous client of `kubernetes`, where it is installed, to recognise its models, which we have none of:
# 20 MiB of RSS and 1 s of CPU at every start. A module that is None in sys.modules cannot be imported, which kopf is prepared for.
_hidden = sys.modules.setdefault("kubernetes", None) is None  # type: ignore[arg-type]
import kopf  # noqa: E402
from kopf._cogs.clients import fetching, watching  # noqa: E402 - private: see `_go_past_workers` and `_begin_where_listed`

if _hidden:
    del sys.modules["kubernetes"]

Deliver = Callable[[Watched, WatchEvent], None]
Ended = Callable[[BaseException | None], None]
Listener = Callable[[Any, Manifest], None]
GroupVersionKind = tuple[str, str, str]
OUR_PREFIX = "kok.dev"


class KopfWatch:
    """WatchLayer over kopf. `namespaces` empty means all of them; cluster-scoped kinds are watched as a whole either way."""

    def __init__(self, credentials: Credentials, watched: Sequence[Watched], *, namespaces: Sequence[str] = ()) -> None:
        self._credentials, self._watched, self._namespaces = credentials, tuple(watched), tuple(namespaces)
        for each in watched:
            if each.namespace and namespaces and each.namespace not in namespaces:
                raise ValueError(f"{each.kind} is watched in {each.namespace}, but this layer sees only {', '.join(namespaces)}")
        self._told_to_stop = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop_flag = asyncio.Event()
        self._thread: threading.Thread | None = None
        self._since: Mapping[GroupVersionKind, str] = {}

    def start(self, deliver: Deliver, ended: Ended, since: Mapping[Watched, str] = NOT_LISTED) -> None:
        """See WatchLayer."""
        self._since = {
            (each.kind.group, each.kind.version, each.kind.kind): version for each, version in since.items() if each in self._watched
        }
        self._thread = threading.Thread(target=self._run, args=(deliver, ended), name=f"watch {self._credentials.server}", daemon=True)
        self._thread.start()

    def stop(self, patience_seconds: float = 5.0) -> None:
        """See WatchLayer."""
        self._told_to_stop.set()
        if self._loop:
            with contextlib.suppress(RuntimeError):  # its loop is closed: it has ended by itself
                self._loop.call_soon_threadsafe(self._stop_flag.set)
        if self._thread:
            self._thread.join(patience_seconds)

    def _run(self, deliver: Deliver, ended: Ended) -> None:
        error: BaseException | None = None
        try:
            asyncio.run(self._operate(deliver))
        except BaseException as failure:  # noqa: BLE001 - this thread's end is told to the process, whatever it was
            error = failure
        ended(error)

    async def _operate(self, deliver: Deliver) -> None:
        """Run until the flag is up. It is one of this loop: for any other kind kopf parks a thread that outlives a crash of ours."""
        self._loop = asyncio.get_running_loop()
        if self._told_to_stop.is_set():
            return
        settings = watch_settings(self._watched)
        _LISTENERS[id(settings)] = self._listener(deliver)
        _SINCE[id(settings)] = _Since(self._since)
        try:
            await kopf.operator(
                registry=self._registry(deliver),
                settings=settings,
                standalone=True,
                clusterwide=not self._namespaces,
                namespaces=self._namespaces,
                stop_flag=self._stop_flag,
            )
        finally:
            del _LISTENERS[id(settings)], _SINCE[id(settings)]

    def _listener(self, deliver: Deliver) -> Listener:
        by_kind = {(each.kind.group, each.kind.version, each.kind.kind): each for each in self._watched}

        def tell(resource: Any, manifest: Manifest) -> None:
            watched = by_kind[resource.group, resource.version, resource.kind]
            deliver(watched, WatchEvent(WatchEventType.Seen, _whole(watched, manifest)))

        return tell

    def _registry(self, deliver: Deliver) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()
        kopf.on.login(registry=registry)(self._log_in)
        for watched in self._watched:
            handler = _handler(watched, deliver)
            kind = watched.kind
            kopf.on.event(group=kind.group, version=kind.version, kind=kind.kind, id=str(kind), registry=registry)(handler)
        return registry

    async def _log_in(self, **_: Any) -> kopf.AiohttpSession:
        """A session with our own TLS context (keys stay in memory); kopf asks again when the server refuses the token."""
        credentials = self._credentials
        token = await TokenSource(credentials).token()
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=credentials.ssl_context()),
            headers={"Authorization": f"Bearer {token}"} if token else {},
            proxy=credentials.proxy or None,
        )
        return kopf.AiohttpSession(server=credentials.server, aiohttp_session=session)


def _handler(watched: Watched, deliver: Deliver) -> Callable[..., Any]:
    """The one handler of a kind. An object of the first list comes with no type."""

    async def on_event(event: Any, **_: Any) -> None:
        kind = WatchEventType(event["type"]) if event["type"] else WatchEventType.Seen
        deliver(watched, WatchEvent(kind, _whole(watched, event["object"])))

    return on_event


def _whole(watched: Watched, manifest: Manifest) -> Manifest:
    """With its kind, which items of a list lack."""
    return {"apiVersion": watched.kind.api_version, "kind": watched.kind.kind, **manifest}


@dataclass(slots=True)
class _Since:
    """Versions at which kinds were listed; each is of use once."""

    versions: Mapping[GroupVersionKind, str]
    begun: set[tuple[GroupVersionKind, str | None]] = field(default_factory=set)

    def first(self, resource: Any, namespace: str | None) -> str:
        """Where the first watch of that kind (in that namespace) begins; empty for any later one."""
        kind = (resource.group, resource.version, resource.kind)
        if (kind, namespace) in self.begun:
            return ""
        self.begun.add((kind, namespace))
        return self.versions.get(kind, "")


def _go_past_workers(stream_of: Callable[..., AsyncIterator[Any]]) -> Callable[..., AsyncIterator[Any]]:
    """Kopf's stream of one kind, without what is listed where somebody listens for it: that is told at once, before anything that comes later."""

    async def infinite_watch(*, settings: Any, resource: Any, **rest: Any) -> AsyncIterator[Any]:
        listener = _LISTENERS.get(id(settings))
        async with contextlib.aclosing(
            cast("AsyncGenerator[Any, None]", stream_of(settings=settings, resource=resource, **rest))
        ) as stream:
            async for told in stream:
                if listener and isinstance(told, dict) and told["type"] is None:
                    listener(resource, told["object"])
                else:
                    yield told

    return infinite_watch


def _begin_where_listed(fetch: Callable[..., AsyncIterator[Any]]) -> Callable[..., AsyncIterator[Any]]:
    """Kopf's list of one kind: the first one is empty, at the version that the kind was listed at by who started it. Any later one is real."""

    async def fetch_objs(*, settings: Any, resource: Any, namespace: Any, **rest: Any) -> AsyncIterator[Any]:
        since = _SINCE.get(id(settings))
        if since and (version := since.first(resource, namespace)):
            yield [], version
            return
        async for page in fetch(settings=settings, resource=resource, namespace=namespace, **rest):
            yield page

    return fetch_objs


_LISTENERS: dict[int, Listener] = {}
"""By the settings of the kopf that runs; another kopf of this process is left as it is."""
_SINCE: dict[int, _Since] = {}
"""The same: at which version kinds were listed."""
watching.infinite_watch = _go_past_workers(watching.infinite_watch)  # a release that renames it fails at the first import, in every test
fetching.fetch_objs = _begin_where_listed(fetching.fetch_objs)


class _NoDifferences(kopf.AnnotationsDiffBaseStorage):
    """No object is compared with what it was: kopf would copy each one whole, for causes that nobody handles (half of what an event cost)."""

    def build(self, **_: Any) -> Any:
        """See DiffBaseStorage."""
        return {}

    def fetch(self, **_: Any) -> None:
        """See DiffBaseStorage."""
        return None


class _NoProgress(kopf.AnnotationsProgressStorage):
    """Handlers of events have no progress to clean out of anything."""

    def clear(self, *, essence: Any) -> Any:
        """See ProgressStorage."""
        return essence


class _EndlessBackoff:
    """Seconds between tries of a lost API server: 1, 2, 4 ... 30, then 30 for ever, each jittered. Kopf iterates it per request."""

    def __iter__(self) -> Iterator[float]:
        wait = 1.0
        while True:
            yield wait * random.uniform(0.8, 1.2)  # noqa: S311 - spreads load, guards nothing
            wait = min(30.0, wait * 2)


def watch_settings(watched: Sequence[Watched]) -> kopf.OperatorSettings:
    """Kopf, silent and patient. Seconds; what is not set here is as kopf has it."""
    settings = kopf.OperatorSettings()
    settings.watching.server_timeout = 600
    settings.watching.connect_timeout = 10
    settings.watching.chunk_size = 500
    settings.networking.request_timeout = 60
    settings.networking.connect_timeout = 10
    settings.networking.error_backoffs = _EndlessBackoff()
    settings.networking.enforce_retry_after = True
    settings.queueing.idle_timeout = 1  # a worker per object for so long; a limit would throttle the start
    settings.queueing.worker_limit = None
    settings.queueing.exit_timeout = 1
    settings.posting.enabled = False
    settings.posting.loggers = False
    settings.peering.standalone = True
    settings.scanning.disabled = True  # the first sweep has made sure that every kind is served
    settings.persistence.finalizer = f"{OUR_PREFIX}/unused"
    settings.persistence.progress_storage = _NoProgress(prefix=f"unused.{OUR_PREFIX}")
    settings.persistence.diffbase_storage = _NoDifferences(prefix=f"unused.{OUR_PREFIX}")
    for each in watched:
        if each.selector:
            settings.watching.label_selectors[each.kind.api_version, each.kind.kind] = each.selector
    return settings
