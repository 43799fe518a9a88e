"""Keeps the Ledger and the grants small: frees slots that no OperationGrant can use any more, and forgets old finished grants.

Everything that a live grant needs is grants.py's. One key, looked at when the Ledger changes, but not more often than every `LOOK_EVERY` seconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import structlog

from operators.api.base import API_VERSION
from operators.api.risk import Decision, InFlight, OperationGrant
from operators.cluster_operator.risk.grants import GRANTS
from operators.cluster_operator.risk.targets import Targets
from operators.domain.risk.identity import EntryKey, key_of
from operators.domain.risk.ladder import frees_orphan
from operators.domain.risk.retention import forgettable
from operators.engine.reconcile import StatusWrite
from operators.errors import KokError
from operators.ports.kube import Conflict, Key, Kind, KubePort, Manifest, Preconditions, Ref
from operators.services.ledger import LEDGER_NAME, SYSTEM_NAMESPACE, LedgerService

log = structlog.get_logger(__name__)
FORGOTTEN_GRANT = "grant is forgotten"
"""Said in full, on one line, before it is gone: what collects logs has it for good; a crash in between repeats the line."""
KEEPER = Key("ledger", SYSTEM_NAMESPACE, LEDGER_NAME)
CLUSTER = Kind(API_VERSION, "Cluster")
LOOK_EVERY = 30.0
COLLECT_EVERY = 600.0
IDLE = 600.0
"""Until the next look while nothing is in flight and nobody wakes it."""
COLLECT_AT_ONCE = 200
"""Grants deleted in one pass; the rest waits for the next one."""


@dataclass(frozen=True, slots=True)
class Kept:
    """One pass: slots that nobody can use any more, and grants that may be forgotten. `left`: seconds until it is time to look."""

    stale: tuple[EntryKey, ...] = ()
    old: tuple[OperationGrant, ...] = ()
    left: float = LOOK_EVERY


@dataclass(frozen=True, slots=True)
class Tidy:
    """Free these slots, delete these grants."""

    reason: str
    after: float | None = 0.0


@dataclass(frozen=True, slots=True)
class Rest:
    """Nothing to do for `after` seconds."""

    reason: str
    after: float | None


class LedgerKeeper:
    """Controller of the one Ledger."""

    name = KEEPER.controller

    def __init__(
        self,
        kube: KubePort,
        ledger: LedgerService,
        targets: Targets,
        *,
        now: Callable[[], datetime],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._kube, self._ledger, self._targets, self._now, self._clock = kube, ledger, targets, now, clock
        self._look_at = self._collect_at = clock()
        self._is_told, self._without = False, set[str]()

    def follow(self) -> Callable[[str], None]:
        """What to tell where grants change; from now on a namespace that was found to have none is listed again only when told of."""
        self._is_told = True
        return self._without.discard

    async def observe(self, key: Key) -> Kept | None:
        """Nothing before its time. A Ledger that cannot be read has nothing to free: the alarm is each denial's."""
        left = self._look_at - self._clock()
        if left > 0:
            return Kept(left=left)
        self._look_at = self._clock() + LOOK_EVERY
        stored = await self._ledger.look()
        if isinstance(stored, KokError):
            return Kept(old=await self._old())
        return Kept(await self._stale(stored.in_flight), await self._old(), LOOK_EVERY if stored.in_flight else IDLE)

    def next_step(self, kept: Kept) -> Tidy | Rest:
        """Tidy if there is anything."""
        if kept.stale or kept.old:
            return Tidy(f"{len(kept.stale)} slots that no grant can use, {len(kept.old)} grants that are history", after=LOOK_EVERY)
        return Rest("nothing to tidy up", after=kept.left)

    async def act(self, kept: Kept, step: Tidy | Rest) -> None:
        """Slots first. Each deletion only if the grant is still what was judged."""
        if isinstance(step, Rest):
            return
        if kept.stale:
            await self._ledger.release(kept.stale)
        for grant in kept.old[:COLLECT_AT_ONCE]:
            await self._forget(grant)
        log.info("tidied up", slots=len(kept.stale), grants=min(len(kept.old), COLLECT_AT_ONCE))

    def status_of(self, kept: Kept, step: Tidy | Rest, outcome: KokError | None) -> StatusWrite | None:
        """The Ledger has no status."""
        return None

    async def _stale(self, in_flight: tuple[InFlight, ...]) -> tuple[EntryKey, ...]:
        return tuple([key_of(entry) for entry in in_flight if await self._is_stale(entry)])

    async def _is_stale(self, entry: InFlight) -> bool:
        """Whether nobody can use the slot: its grant was denied or settled elsewhere, or was deleted and its target is in order."""
        manifest = await self._kube.get(GRANTS.ref(entry.op_id, entry.namespace))
        if manifest is not None:
            status: Manifest = manifest.get("status") or {}
            return status.get("decision") == Decision.Denied or bool(status.get("settledAt"))
        return frees_orphan(entry, await self._targets.look(entry.namespace, entry.target), self._now())

    async def _old(self) -> tuple[OperationGrant, ...]:
        """Namespace by namespace, so that no more than one namespace's grants are in memory."""
        if self._clock() < self._collect_at:
            return ()
        found: list[OperationGrant] = []
        for namespace in sorted({item["metadata"]["namespace"] for item in (await self._kube.list(CLUSTER)).items} - self._without):
            found += await self._old_of(namespace)
        if len(found) <= COLLECT_AT_ONCE:
            self._collect_at = self._clock() + COLLECT_EVERY
        return tuple(found)

    async def _old_of(self, namespace: str) -> list[OperationGrant]:
        if self._is_told:
            self._without.add(namespace)  # before it is listed: who is told of meanwhile is expected again
        items = (await self._kube.list(GRANTS, namespace=namespace)).items
        if items:
            self._without.discard(namespace)
        return forgettable(_understood(items), self._now())

    async def _forget(self, grant: OperationGrant) -> None:
        metadata = grant.metadata
        ref = Ref(grant.api_version, grant.kind, metadata.namespace or "", metadata.name)
        told = {"namespace": ref.namespace, "name": ref.name, "created": metadata.creation_timestamp}
        log.info(FORGOTTEN_GRANT, grant=told | grant.model_dump(mode="json", by_alias=True, exclude_none=True, include={"spec", "status"}))
        try:
            await self._kube.delete(ref, preconditions=Preconditions(metadata.uid, metadata.resource_version))
        except Conflict:
            log.debug("grant changed, not forgotten", grant=str(ref))


def _understood(items: tuple[Manifest, ...]) -> list[OperationGrant]:
    """What is not understood is not forgotten either: a person should see it."""
    grants = []
    for item in items:
        try:
            grants.append(OperationGrant.parse(item))
        except KokError as error:
            log.warning("grant not understood", error=error.message)
    return grants
