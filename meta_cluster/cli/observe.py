"""What verbs look at, read from the meta cluster and from business clusters at once. Reads only; an unreachable business cluster is a note, not a failure."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field

from meta_cluster.cli.access import Meta, clusters_in, open_business
from meta_cluster.cli.kinds import NamedKind
from meta_cluster.cli.near import near_hint, where_else
from meta_cluster.cli.tables import CLUSTER
from operators.api.base import API_VERSION
from operators.errors import ErrorCode, KokError
from operators.ports.kube import (
    DeadlineExceeded,
    Kind,
    KubePort,
    Manifest,
    NotFound,
    TooManyRequests,
    Unreachable,
    WatchEventType,
    WatchExpired,
)

BUSINESS_SECONDS = 5.0
PARALLEL = 16
MACHINE = Kind(API_VERSION, "Machine")


@dataclass(frozen=True, slots=True)
class Query:
    """What `kok get` was asked for. `kind` as the person wrote it."""

    kind: str
    names: tuple[str, ...] = ()
    everywhere: bool = False
    cluster: str = ""
    selector: str = ""


@dataclass(slots=True)
class Found:
    """Objects by kind name, and what could not be looked at."""

    objects: dict[str, list[Manifest]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    unseen: list[str] = field(default_factory=list)
    """Business clusters that did not answer: what is missing of them is not known to be missing."""

    def take(self, other: Found) -> None:
        """Take in what another look found."""
        for kind, items in other.objects.items():
            mine = self.objects.setdefault(kind, [])
            known = {each["metadata"]["uid"] for each in mine}
            mine.extend(each for each in items if each["metadata"]["uid"] not in known)
        self.notes += other.notes
        self.unseen += other.unseen


async def listed(meta: Meta, kinds: Sequence[NamedKind], query: Query) -> Found:
    """Objects of all kinds that the query asks for. Raises KokError NotFound if a named object is not there."""
    found, before = Found(), list[str]()
    for kind in kinds:
        items = await (_in_meta(meta, kind, query) if kind.home == "meta" else _in_business(meta, kind, query, found))
        before += [item["metadata"]["name"] for item in items]
        if query.names:
            items = [item for item in items if item["metadata"]["name"] in query.names]
        found.objects[kind.name] = items
    there = {item["metadata"]["name"] for items in found.objects.values() for item in items}
    if missing := [name for name in query.names if name not in there]:
        raise await _missing(meta, kinds, query, missing, before)
    return found


async def _missing(meta: Meta, kinds: Sequence[NamedKind], query: Query, missing: Sequence[str], before: Sequence[str]) -> KokError:
    """NotFound, with where else it is or what was meant; `before`: names of all that was looked at."""
    noun = kinds[0].kind.kind.lower() if len(kinds) == 1 else query.kind
    place = "" if query.everywhere or not any(kind.namespaced for kind in kinds) else f" in namespace {meta.namespace}"
    hint = near_hint(missing[0], before, f"kok get {query.kind} -A lists what there is")
    if len(kinds) == 1 and kinds[0].home == "meta" and not query.everywhere and not query.selector:
        hint = await where_else(meta.kube, kinds[0].kind, missing[0], meta.namespace, hint)
    return KokError(ErrorCode.NotFound, f"there is no {noun} {', '.join(missing)}{place}", hint)


async def _in_meta(meta: Meta, kind: NamedKind, query: Query) -> list[Manifest]:
    namespace = "" if query.everywhere or not kind.namespaced else meta.namespace
    try:
        return list((await meta.kube.list(kind.kind, namespace=namespace, selector=query.selector)).items)
    except NotFound:
        raise await _not_served(meta, kind) from None


async def _not_served(meta: Meta, kind: NamedKind) -> KokError:
    """No meta cluster answers here; perhaps a business cluster does, whose kubeconfig people have, too."""
    with suppress(KokError):
        await meta.kube.list(MACHINE)
        words = f"{meta.server} is a business cluster, not a meta cluster: it serves no {kind.full}"
        return KokError(ErrorCode.NotFound, words, "point KUBECONFIG, or --kubeconfig, at the meta cluster; in the lab: kok lab kubeconfig")
    return KokError(ErrorCode.NotFound, f"{meta.server} serves no {kind.full}: kok is not installed there", "kok meta install")


async def _in_business(meta: Meta, kind: NamedKind, query: Query, found: Found) -> list[Manifest]:
    clusters = await clusters_in(meta, namespace="" if query.everywhere else meta.namespace, cluster=query.cluster)
    gate = asyncio.Semaphore(PARALLEL)

    async def of_one(cluster: Manifest) -> list[Manifest]:
        async with gate:
            return await _machines_of(meta, kind, cluster, query.selector, found)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(of_one(cluster)) for cluster in clusters]
    return [machine for task in tasks for machine in task.result()]


async def _machines_of(meta: Meta, kind: NamedKind, cluster: Manifest, selector: str, found: Found) -> list[Manifest]:
    place = f"{cluster['metadata']['namespace']}/{cluster['metadata']['name']}"
    try:
        async with open_business(meta, cluster["metadata"]["namespace"], cluster["metadata"]["name"]) as kube:
            items = (await kube.list(kind.kind, selector=selector, deadline=BUSINESS_SECONDS)).items
    except NotFound:
        found.notes.append(f"business cluster {place} serves no {kind.full} yet")
        return []
    except KokError as error:
        found.notes.append(f"business cluster {place} was not looked into: {error.message}")
        found.unseen.append(place)
        return []
    return [shown_of(item, place) for item in items]


def shown_of(manifest: Manifest, place: str) -> Manifest:
    """The object with a word about whose it is, for tables only."""
    metadata = manifest["metadata"]
    return {**manifest, "metadata": {**metadata, "annotations": {**(metadata.get("annotations") or {}), CLUSTER: place}}}


async def changes(meta: Meta, kind: NamedKind, query: Query) -> AsyncIterator[Manifest]:
    """Every object of the query, then each again when it changes, until the caller stops. Deleted ones come a last time."""
    async with AsyncExitStack() as stack:
        kube, namespace, place = meta.kube, "" if query.everywhere or not kind.namespaced else meta.namespace, ""
        if kind.home == "business":
            cluster = await _only_cluster(meta, query)
            place = f"{cluster['metadata']['namespace']}/{cluster['metadata']['name']}"
            kube = await stack.enter_async_context(open_business(meta, cluster["metadata"]["namespace"], cluster["metadata"]["name"]))
        async for manifest in _followed(kube, kind, namespace, query.selector):
            if not query.names or manifest["metadata"]["name"] in query.names:
                yield shown_of(manifest, place) if place else manifest


async def _only_cluster(meta: Meta, query: Query) -> Manifest:
    clusters = await clusters_in(meta, namespace="" if query.everywhere else meta.namespace, cluster=query.cluster)
    if len(clusters) == 1:
        return clusters[0]
    names = ", ".join(f"{c['metadata']['namespace']}/{c['metadata']['name']}" for c in clusters) or "none"
    raise KokError(ErrorCode.Usage, f"-w follows one business cluster, and here are {names}", "name it with -n NAMESPACE")


async def _followed(kube: KubePort, kind: NamedKind, namespace: str, selector: str) -> AsyncIterator[Manifest]:
    """List, then watch; a watch that ends goes on where it was, an expired one lists again, a server that is away or goes is asked again."""
    version, seen, has_begun = "", set[tuple[str, str]](), False
    while True:
        try:
            if not version:
                listing = await kube.list(kind.kind, namespace=namespace, selector=selector)
                version, has_begun = listing.resource_version, True
                for item in listing.items:
                    mark = (item["metadata"]["uid"], item["metadata"]["resourceVersion"])
                    if mark not in seen:
                        seen.add(mark)
                        yield item
            async for event in kube.watch(kind.kind, namespace=namespace, selector=selector, resource_version=version):
                version = event.object["metadata"]["resourceVersion"]
                if event.type is not WatchEventType.Bookmark:
                    yield event.object
        except WatchExpired:
            version = ""
        except (Unreachable, DeadlineExceeded, TooManyRequests) as error:
            if not has_begun:
                raise
            await asyncio.sleep(max(1.0, error.retry_after if isinstance(error, TooManyRequests) else 0.0))
