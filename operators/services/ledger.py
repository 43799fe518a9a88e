"""The Ledger, changed by compare-and-swap only: quorum read -> pure decision -> write with the resourceVersion that was read.

Every path that is not a clear yes is a no: no Ledger, one that cannot be read, one that moves faster than we decide, one that a later
risk centre has taken over. It never makes the object itself: the installation does once, ledger_origin.py when a person asks for it.
Called by cluster_operator/risk (reserve, release). What an older version does not know of an entry is kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from operators.api.base import API_VERSION
from operators.api.risk import Ledger, LedgerSpec
from operators.domain.risk.identity import EntryKey, at
from operators.domain.risk.limit import Ask, Granted, Verdict, decide, denied
from operators.errors import ErrorCode, KokError
from operators.ports.kube import Conflict, KubeError, KubePort, Manifest, Ref

SYSTEM_NAMESPACE = "kok-system"
LEDGER_NAME = "ledger"
TRIES = 5
"""Read-decide-write rounds before a request is denied: more would only make the storm longer that makes them fail."""
DEADLINE = 5.0
REBUILD_HINT = "look at its events and audit log; `kok meta install` makes the first one, a lost one is made anew from the stored OperationGrants by rebuilding it"


@dataclass(frozen=True, slots=True)
class StoredLedger:
    """The Ledger as it was read: what it says, the text of each entry, and the version that a write compares."""

    spec: LedgerSpec
    entries: tuple[Manifest, ...]
    version: str


def ledger_ref(namespace: str = SYSTEM_NAMESPACE) -> Ref:
    """The one object."""
    return Ref(API_VERSION, "Ledger", namespace, LEDGER_NAME)


class LedgerService:
    """One risk centre's hand on the Ledger. `epoch` is that of its leadership: it rises with every process that took office."""

    def __init__(self, kube: KubePort, *, epoch: Callable[[], int], now: Callable[[], datetime], namespace: str = SYSTEM_NAMESPACE) -> None:
        self._kube, self._epoch, self._now = kube, epoch, now
        self._turn = asyncio.Lock()  # our own workers wait for each other; the compare-and-swap is for everybody else
        self.ref = ledger_ref(namespace)

    async def read(self) -> StoredLedger:
        """A quorum read. Raises KokError LedgerUnreadable for whatever is not a whole Ledger."""
        return await read_ledger(self._kube, self.ref)

    async def look(self) -> LedgerSpec | KokError:
        """What it says, or why it cannot be read: for who decides on a view of it."""
        try:
            return (await self.read()).spec
        except KokError as error:
            return error

    async def reserve(self, ask: Ask) -> Verdict:
        """The answer to a request; a yes stands in the Ledger when this returns. Raises nothing: what goes wrong is a denial."""
        async with self._turn:
            return await self._reserve(ask)

    async def _reserve(self, ask: Ask) -> Verdict:
        trouble = "others write to it"
        for _ in range(TRIES):
            try:
                stored = await self.read()
                self._refuse_if_overtaken(stored)
                verdict = decide(ask, stored.spec, self._now())
                if isinstance(verdict, Granted) and not verdict.recorded:
                    await self._write(stored, leaving=verdict.supersedes, joining=verdict)
            except Conflict:
                continue
            except KubeError as error:
                trouble = error.message  # the write may have happened: the next round finds the operation in the Ledger, or not
                continue
            except KokError as error:
                return denied(ask, error.message, error.code)
            return verdict
        return denied(ask, f"the Ledger could not be changed in {TRIES} tries: {trouble}", ErrorCode.Conflict)

    async def release(self, keys: Collection[EntryKey]) -> bool:
        """Free slots. False if none of them was taken (nothing is written then). Raises KokError if it cannot be done now."""
        async with self._turn:
            return await self._release(keys)

    async def _release(self, keys: Collection[EntryKey]) -> bool:
        for _ in range(TRIES):
            stored = await self.read()
            self._refuse_if_overtaken(stored)
            if not set(keys) & {_key_in(entry) for entry in stored.entries}:
                return False
            try:
                await self._write(stored, leaving=keys)
            except Conflict:
                continue
            return True
        raise KokError(
            ErrorCode.Conflict, f"slots could not be freed in {TRIES} tries: others write to the Ledger", "it is tried again by itself"
        )

    def _refuse_if_overtaken(self, stored: StoredLedger) -> None:
        if stored.spec.epoch > self._epoch():
            raise KokError(
                ErrorCode.LedgerUnreadable,
                f"the Ledger belongs to the risk centre of epoch {stored.spec.epoch}; this one, of epoch {self._epoch()}, is older and decides nothing",
                REBUILD_HINT,
            )

    async def _write(self, stored: StoredLedger, *, leaving: Collection[EntryKey], joining: Granted | None = None) -> None:
        """One compare-and-swap of the whole list; entries that stay are written back as they were read."""
        entries = [entry for entry in stored.entries if _key_in(entry) not in leaving]
        if joining:
            entries.append(joining.entry.model_dump(mode="json", by_alias=True))
        spec: Manifest = {"inFlight": entries, "epoch": self._epoch()}
        await self._kube.patch_json(self.ref, {"spec": spec}, resource_version=stored.version, deadline=DEADLINE)


async def read_ledger(kube: KubePort, ref: Ref) -> StoredLedger:
    """The Ledger by a quorum read, whole and understood; else KokError LedgerUnreadable."""
    try:
        manifest = await kube.get(ref, deadline=DEADLINE)
    except KubeError as error:
        raise _unreadable(f"the Ledger cannot be read ({error.message})") from error
    if manifest is None:
        raise _unreadable(f"the Ledger {ref.namespace}/{ref.name} does not exist")
    return _understood(manifest)


def _understood(manifest: Manifest) -> StoredLedger:
    try:
        spec = Ledger.parse(manifest).spec
        for entry in spec.in_flight:
            at(entry.granted_at), at(entry.expires_at)
    except (KokError, ValueError) as error:
        raise _unreadable(f"the Ledger is not understood ({error})") from error
    raw: list[Any] = (manifest.get("spec") or {}).get("inFlight") or []
    return StoredLedger(spec, tuple(raw), str(manifest["metadata"]["resourceVersion"]))


def _unreadable(message: str) -> KokError:
    return KokError(ErrorCode.LedgerUnreadable, f"{message}: every dangerous operation is denied", REBUILD_HINT)


def _key_in(entry: Manifest) -> EntryKey:
    return EntryKey(entry["namespace"], entry["opId"])
