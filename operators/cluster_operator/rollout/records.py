"""Writes down every change, for good: one immutable ControllerRevision per change of a cluster or a pool, per order to a rollout, per end of one.

Records outlive what they are about; notes of orders go with their rollout, whose end repeats them. Everything is derived from journals, so a process
that was down catches up, and a pass that finds all of it written writes nothing. The end of a Cluster is written by its own controller, before it lets
the Cluster go. Decides nothing about clusters; run by the engine, built by main.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import structlog

from operators.api.base import GROUP, LABEL_MANAGED_BY, MANAGED_BY
from operators.api.cluster_release import AuthorisedBy, ClusterRelease
from operators.api.pools import MachinePoolRelease
from operators.api.risk import OperationGrant
from operators.api.rollout import FleetRollout, Mode
from operators.cluster_operator.cluster import kinds as cluster_kinds
from operators.cluster_operator.cluster.world import World
from operators.cluster_operator.rollout import kinds
from operators.cluster_operator.rollout.journal import LABEL_PART, LABEL_ROLLOUT, REVISION, Journal, JournalBook, label_of
from operators.domain.plane.view import PlaneView
from operators.domain.risk.identity import at, stamp
from operators.domain.rollout import record as words
from operators.domain.rollout.record import ChangeRecord, DueChange, DuePool
from operators.domain.rollout.story import Event
from operators.engine.reconcile import StatusWrite
from operators.errors import ErrorCode, KokError
from operators.ports.kube import AlreadyExists, Key, KubePort, Manifest, Ref, Watched

log = structlog.get_logger(__name__)
CONTROLLER = "records"
FORGOTTEN_RECORD = "record is forgotten"
HISTORY, ORDER = "history", "order"
POOL = "pool/"
"""Begins the name of a pool's key; no object's name has a slash."""
LABEL_SUBJECT = f"{GROUP}/record-of"


@dataclass(frozen=True, slots=True)
class Due:
    """What is not written yet of one cluster or one rollout."""

    subject: str
    changes: tuple[DueChange, ...] = ()
    pool: DuePool | None = None
    order: Mapping[str, Any] | None = None
    noted: tuple[Mapping[str, Any], ...] = ()
    ended: tuple[FleetRollout, Journal] | None = None
    rollout: FleetRollout | None = None
    surplus: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RecordStep:
    """Write what is due."""

    reason: str
    after: float | None
    at_rest: bool = False


class RecordsController:
    """Implements `operators.engine.reconcile.Controller`; shows nothing of itself."""

    name = CONTROLLER

    def __init__(self, world: World) -> None:
        self._world, self._journals = world, JournalBook(world.meta, world.own_namespace)

    async def observe(self, key: Key) -> Due | None:
        """What is not written yet; None if the object is gone. Raises KokError: then it is looked at again."""
        if key.name.startswith(POOL):
            return await self._of_pool(key.namespace, key.name.removeprefix(POOL))
        return await (self._of_cluster(key) if key.namespace else self._of_rollout(key.name))

    async def _of_pool(self, namespace: str, name: str) -> Due | None:
        found = await self._world.meta.get(cluster_kinds.POOL_RELEASE.ref(name, namespace))
        if found is None:
            return None
        pool, release = f"{namespace}/{name}", MachinePoolRelease.parse(found).spec
        known = words.due_pool(release, "")
        if known is None or await self._is_there(words.pool_name(pool, known)):
            return Due(pool)
        listing = await self._records("Pool", pool)
        covered = max((str(item["data"]["covers"]) for item in listing), key=at, default="")
        written = [(at(item["data"]["at"]), str(item["metadata"]["name"])) for item in listing]
        due = words.due_pool(release, covered)
        return Due(pool, pool=due and await self._with_cause(namespace, name, due), surplus=_surplus(written, words.KEPT_PER_POOL - 1))

    async def _with_cause(self, namespace: str, name: str, due: DuePool) -> DuePool:
        """With the rollout that changed the cluster, for a pool that follows it."""
        spec = ((await self._world.meta.get(cluster_kinds.POOL.ref(name, namespace))) or {}).get("spec") or {}
        if due.order or not spec or (spec.get("packages") or {}).get("explicit") is not None:
            return due
        found = self._world.cache.get(cluster_kinds.RELEASE.ref(str(spec["clusterName"]), namespace))
        cause = words.cause_of(ClusterRelease.parse(found).spec, due.since) if found else None
        return replace(due, cause=cause, cluster=f"{namespace}/{spec['clusterName']}" if cause else "")

    async def _with_verdicts(self, pool: str, due: DuePool) -> DuePool:
        """With what the rollout that changed it has judged by now, while its journal is there."""
        name, uid = due.rollout
        if not name:
            return due
        found = await self._world.meta.get(kinds.ROLLOUT.ref(name))
        is_it = found is not None and (not uid or found["metadata"]["uid"] == uid)
        journal = await self._judged(FleetRollout.parse(found)) if found and is_it else Journal()
        return replace(due, verdicts=words.pool_verdicts(name, due.cluster or pool, journal.plan, journal.records))

    async def _judged(self, rollout: FleetRollout) -> Journal:
        """Nothing where it is broken for good: a record without verdicts is better than none, and than none of those after it."""
        try:
            return await self._journals.read(rollout)
        except KokError as error:
            if error.code not in (ErrorCode.Internal, ErrorCode.InvalidObject):
                raise
            log.warning("a pool's record is written without verdicts", rollout=rollout.metadata.name, reason=error.message)
            return Journal()

    async def _of_cluster(self, key: Key) -> Due | None:
        found = self._world.cache.get(cluster_kinds.RELEASE.ref(key.name, key.namespace))
        if found is None:
            return None
        cluster, release = f"{key.namespace}/{key.name}", ClusterRelease.parse(found).spec
        known = words.due_changes(cluster, release, ())
        if not known or await self._is_there(known[-1].name):
            return Due(cluster)  # they are written oldest first
        written = await self._written("Cluster", cluster)
        changes = words.due_changes(cluster, release, {name for _, name in written})
        return Due(cluster, changes, surplus=_surplus(written, words.KEPT_PER_CLUSTER - len(changes)))

    async def _of_rollout(self, name: str) -> Due | None:
        found = self._world.cache.get(kinds.ROLLOUT.ref(name))
        if found is None:
            return None
        rollout = FleetRollout.parse(found)
        if rollout.spec.mode is Mode.Plan or rollout.deleting:
            return Due(name)
        noted = await self._noted(rollout)
        journal = await self._journals.read(rollout)
        is_over = bool(journal.records) and journal.records[-1].event is Event.Ended and journal.plan is not None
        order = words.due_order(rollout.spec, noted)
        if not is_over or await self._is_there(words.end_name(rollout, journal.records)):
            return Due(name, order=order, noted=noted, rollout=rollout)
        surplus = _surplus(await self._written("Rollout", ""), words.KEPT_ROLLOUTS - 1)
        return Due(name, order=order, noted=noted, ended=(rollout, journal), rollout=rollout, surplus=surplus)

    async def _is_there(self, name: str) -> bool:
        return await self._world.meta.get(REVISION.ref(name, self._world.own_namespace)) is not None

    async def _written(self, kind: str, subject: str) -> list[tuple[datetime, str]]:
        """Records of a cluster, or of the ends of all rollouts: when that was, and their names."""
        moment = "at" if subject else "ended"
        return [(at(item["data"][moment]), item["metadata"]["name"]) for item in await self._records(kind, subject)]

    async def _records(self, kind: str, subject: str) -> tuple[Manifest, ...]:
        mark = words.subject_mark(kind, subject) if subject else kind.lower()
        return (await self._world.meta.list(REVISION, namespace=self._world.own_namespace, selector=f"{LABEL_SUBJECT}={mark}")).items

    async def _noted(self, rollout: FleetRollout) -> tuple[Mapping[str, Any], ...]:
        selector = f"{LABEL_ROLLOUT}={label_of(rollout)},{LABEL_PART}={ORDER}"
        listing = await self._world.meta.list(REVISION, namespace=self._world.own_namespace, selector=selector)
        return tuple(item["data"] for item in sorted(listing.items, key=lambda item: int(item["revision"])))

    def next_step(self, due: Due) -> RecordStep:
        """Write it, if there is anything."""
        count = len(due.changes) + bool(due.pool) + bool(due.order) + bool(due.ended)
        if not count:
            return RecordStep("everything is written down", None, at_rest=True)
        return RecordStep(f"{count} records of {due.subject} are written", 0.0)

    async def act(self, due: Due, step: RecordStep) -> None:
        """Every record is a write of its own; one that is there already was written by a process before this one."""
        if due.order is not None and due.rollout is not None:
            await self._note(due, due.rollout, due.order)
            return  # its end repeats all orders: they are read again first
        for change in due.changes:
            await self._write(change.name, words.subject_mark("Cluster", due.subject), await self._change(due.subject, change))
        if due.pool:
            mark = words.subject_mark("Pool", due.subject)
            grants = await self._world.meta.list(cluster_kinds.GRANT, namespace=due.subject.partition("/")[0])
            told = await self._with_verdicts(due.subject, due.pool)
            entry = words.pool_record(due.subject, told, await self._who_of_pool(due.subject, told), _parsed(grants.items))
            await self._write(words.pool_name(due.subject, due.pool), mark, entry)
        if due.ended:
            rollout, journal = due.ended
            orders = order_records(rollout.metadata.name, due.noted)
            assert journal.plan is not None
            entry = words.end_record(rollout, journal.plan, journal.records, orders)
            await self._write(words.end_name(rollout, journal.records), "rollout", entry)
        for name in due.surplus:
            await self._forget(REVISION.ref(name, self._world.own_namespace))

    async def _forget(self, ref: Ref) -> None:
        """Said in full before it is gone, on one line, so that what collects logs has it for good; a crash in between repeats the line."""
        if found := await self._world.meta.get(ref):
            log.info(FORGOTTEN_RECORD, record=found.get("data"), record_name=ref.name)
            await self._world.meta.delete(ref)

    async def _note(self, due: Due, rollout: FleetRollout, order: Mapping[str, Any]) -> None:
        live = await self._world.meta.get(kinds.ROLLOUT.ref(rollout.metadata.name)) or {"metadata": {}}
        moment = stamp(self._world.now()) if due.noted else rollout.metadata.creation_timestamp
        data = {**order, "manager": words.manager_of(live, "order") or words.manager_of(live, "change"), "at": moment}
        owner = {"apiVersion": rollout.api_version, "kind": rollout.kind, "name": rollout.metadata.name, "uid": rollout.metadata.uid}
        labels = {LABEL_MANAGED_BY: MANAGED_BY, LABEL_ROLLOUT: label_of(rollout), LABEL_PART: ORDER}
        name = f"{label_of(rollout)}.o{len(due.noted):05}"
        metadata = {"name": name, "namespace": self._world.own_namespace, "labels": labels, "ownerReferences": [owner]}
        await self._create(metadata, len(due.noted), data)

    async def _change(self, cluster: str, change: DueChange) -> ChangeRecord:
        namespace, _, name = cluster.partition("/")
        grants = await self._world.meta.list(cluster_kinds.GRANT, namespace=namespace)
        who = await self._who(change, namespace, name)
        return words.change_record(cluster, change, who, _parsed(grants.items), self._world.now())

    async def _who(self, change: DueChange, namespace: str, name: str) -> str:
        """Who wished it: the field manager of the wish, or who signed the rollout."""
        each = change.authorisation
        if each.by is AuthorisedBy.Spec:
            live = await self._world.meta.get(cluster_kinds.CLUSTER.ref(name, namespace))
            return words.manager_of(live, "packageVersion") if live else ""
        return await self._who_of_rollout(each.name, each.rollout_uid)

    async def _who_of_rollout(self, name: str, uid: str) -> str:
        """Empty when that very rollout is gone; one of its name is another."""
        found = await self._world.meta.get(kinds.ROLLOUT.ref(name))
        if found is None or (uid and found["metadata"]["uid"] != uid):
            return ""
        said = found["spec"].get("said") or {}
        return str(said.get("by") or "") or words.via(words.manager_of(found, "change"))

    async def _who_of_pool(self, pool: str, due: DuePool) -> str:
        """Who signed the rollout, or owns the pool's wish; a pool that follows its cluster has the cluster's record beside it."""
        if due.rollout[0]:
            return await self._who_of_rollout(*due.rollout)
        namespace, _, name = pool.partition("/")
        live = await self._world.meta.get(cluster_kinds.POOL.ref(name, namespace))
        return words.manager_of(live, "packages") if live else ""

    async def _write(self, name: str, mark: str, entry: ChangeRecord) -> None:
        labels = {LABEL_MANAGED_BY: MANAGED_BY, LABEL_PART: HISTORY, LABEL_SUBJECT: mark}
        await self._create({"name": name, "namespace": self._world.own_namespace, "labels": labels}, 1, entry.document())

    async def _create(self, metadata: Manifest, revision: int, data: Mapping[str, Any]) -> None:
        kind = {"apiVersion": REVISION.api_version, "kind": REVISION.kind}
        try:
            await self._world.meta.create({**kind, "metadata": metadata, "revision": revision, "data": dict(data)})
        except AlreadyExists:
            return

    def status_of(self, due: Due, step: RecordStep, outcome: object) -> StatusWrite | None:
        """Nothing is shown."""
        return None


async def write_deletion(world: World, view: PlaneView) -> None:
    """The record of a Cluster's end, while it is still there: what ends it waits for this. Raises KokError; written once, whoever comes first."""
    metadata = view.cluster.metadata
    live = await world.meta.get(cluster_kinds.CLUSTER.ref(metadata.name, metadata.namespace or ""))
    ended = words.Deletion(
        cluster=f"{metadata.namespace}/{metadata.name}",
        uid=metadata.uid,
        at=metadata.deletion_timestamp or stamp(view.now),
        version=view.release.spec.current.package_version
        if isinstance(view.release, ClusterRelease)
        else view.cluster.spec.package_version,
        who=words.manager_of(live, "deletionProtection") if live else "",
        with_namespace=view.namespace_phase != "Active",
    )
    ref = REVISION.ref(ended.name, world.own_namespace)
    if await world.meta.get(ref) is not None:
        return
    grants = await world.meta.list(cluster_kinds.GRANT, namespace=metadata.namespace or "")
    entry = words.deletion_record(ended, _parsed(grants.items), world.now())
    labels = {LABEL_MANAGED_BY: MANAGED_BY, LABEL_PART: HISTORY, LABEL_SUBJECT: words.subject_mark("Cluster", ended.cluster)}
    head = {"apiVersion": REVISION.api_version, "kind": REVISION.kind, "revision": 1, "data": entry.document()}
    with suppress(AlreadyExists):
        await world.meta.create({**head, "metadata": {"name": ended.name, "namespace": world.own_namespace, "labels": labels}})


def _surplus(written: Sequence[tuple[datetime, str]], kept: int) -> tuple[str, ...]:
    return tuple(words.surplus(written, kept))


def _parsed(manifests: Iterable[Manifest]) -> Iterator[OperationGrant]:
    for manifest in manifests:
        try:
            yield OperationGrant.parse(manifest)
        except KokError:
            continue


def order_records(rollout: str, noted: Sequence[Mapping[str, Any]]) -> list[ChangeRecord]:
    """Notes of orders, as entries."""
    return [words.order_record(rollout, note, noted[index - 1] if index else None) for index, note in enumerate(noted)]


def recorded(watched: Iterable[Watched]) -> tuple[Watched, ...]:
    """The same kinds, whose releases, pools and rollouts wake this controller, too."""
    followed = (cluster_kinds.RELEASE, cluster_kinds.POOL, kinds.ROLLOUT)
    return tuple(replace(each, keys_of=_also(each)) if each.kind in followed else each for each in watched)


def _also(each: Watched) -> Callable[[Manifest], Iterator[Key]]:
    def keys_of(manifest: Manifest) -> Iterator[Key]:
        yield from each.keys_of(manifest)
        prefix = POOL if each.kind == cluster_kinds.POOL else ""
        yield Key(CONTROLLER, manifest["metadata"].get("namespace") or "", f"{prefix}{manifest['metadata']['name']}")

    return keys_of


async def read_history(meta: KubePort, namespace: str) -> list[dict[str, Any]]:
    """Every record, oldest first, as data; orders to rollouts that have not ended are among them. For `kok history`."""
    finished = await meta.list(REVISION, namespace=namespace, selector=f"{LABEL_PART}={HISTORY}")
    return sorted((dict(item["data"]) for item in finished.items), key=lambda each: (each.get("ended") or each["at"], each["subject"]))


async def read_story(meta: KubePort, namespace: str, rollout: FleetRollout) -> list[dict[str, Any]]:
    """What happened in one rollout that is still there: orders and records of its journal, oldest first, as data."""
    selector = f"{LABEL_ROLLOUT}={label_of(rollout)},{LABEL_PART}={ORDER}"
    orders, journal = await asyncio.gather(
        meta.list(REVISION, namespace=namespace, selector=selector), JournalBook(meta, namespace).read(rollout)
    )
    noted = [item["data"] for item in sorted(orders.items, key=lambda item: int(item["revision"]))]
    told = [each.document() for each in order_records(rollout.metadata.name, noted)]
    for each in journal.records:
        entry = ChangeRecord("Event", rollout.metadata.name, stamp(each.at), rollout=rollout.metadata.name, why=each.text)
        said = {"stage": each.stage, "outcome": each.outcome.value if each.outcome else ""}
        told.append({**entry.document(), "event": each.event.value, **{name: value for name, value in said.items() if value}})
    return sorted(told, key=lambda each: each["at"])
