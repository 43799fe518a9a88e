"""The Ledger, changed by compare-and-swap only: quorum read -> pure decision over every budget -> write with the resourceVersion that was read.

Every path that is not a clear yes is a no: no Ledger, one that cannot be read, budgets or targets that cannot be seen, one that moves
faster than we decide, one that a later risk centre has taken over. It never makes the object itself: the installation does once,
ledger_origin.py when a person asks for it. Called by cluster_operator/risk. What an older version does not know of an entry is kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from operators.api.base import API_VERSION
from operators.api.budgets import OperationBudget
from operators.api.risk import BreakerCause, BreakerPhase, InFlight, Ledger, LedgerSpec, Outcome
from operators.domain.risk.bookkeeping import without
from operators.domain.risk.breaker_sweep import Looks, swept
from operators.domain.risk.decide import Ask, Granted, Verdict, ask_of_witness, decide, denied
from operators.domain.risk.facts import Facts
from operators.domain.risk.identity import EntryKey, at, key_of, target_key_of
from operators.domain.risk.verdicts import NO_CAUSES, Causes
from operators.errors import ErrorCode, KokError
from operators.ports.kube import Conflict, KubeError, KubePort, Manifest, Ref

SYSTEM_NAMESPACE = "kok-system"
LEDGER_NAME = "ledger"
TRIES = 5
"""Read-decide-write rounds before a request is denied: more would only make the storm longer that makes them fail."""
DEADLINE = 5.0
FREED_ROOM = 256
"""Releases of our own that are remembered, for rounds that began before them."""
REBUILD_HINT = "look at its events and audit log; `kok meta install` makes the first one, a lost one is made anew from the stored OperationGrants by rebuilding it"
NO_OUTCOMES: Mapping[EntryKey, Outcome] = {}
LISTS: Mapping[str, tuple[str, ...]] = {
    "inFlight": ("namespace", "opId"),
    "log": ("namespace", "opId"),
    "windows": ("budget", "scope"),
    "breakers": ("budget", "scope"),
}
"""Lists of the Ledger, and what names their entries."""


class FactsPort(Protocol):
    """Where budgets and the state of targets come from: services/risk_facts.py, or a test's own."""

    async def read(self, ask: Ask) -> Facts:
        """What the evaluation of this request needs, read now. Raises KokError for whatever could not be seen."""
        ...

    async def budgets(self) -> tuple[OperationBudget, ...]:
        """All of them. Raises KokError if one is not understood: it might be the strictest."""
        ...


@dataclass(frozen=True, slots=True)
class StoredLedger:
    """The Ledger as it was read: what it says, the text of it, and the version that a write compares."""

    spec: LedgerSpec
    raw: Manifest
    version: str


def ledger_ref(namespace: str = SYSTEM_NAMESPACE) -> Ref:
    """The one object."""
    return Ref(API_VERSION, "Ledger", namespace, LEDGER_NAME)


class LedgerService:
    """One risk centre's hand on the Ledger. `epoch` is that of its leadership: it rises with every process that took office."""

    def __init__(
        self, kube: KubePort, facts: FactsPort, *, epoch: Callable[[], int], now: Callable[[], datetime], namespace: str = SYSTEM_NAMESPACE
    ) -> None:
        self._kube, self._facts, self._epoch, self._now = kube, facts, epoch, now
        self._freed: dict[int, InFlight] = {}  # by the number of the release; those of another risk centre are not in it
        self._turn = asyncio.Lock()  # our own workers wait for each other; the compare-and-swap is for everybody else
        self.ref = ledger_ref(namespace)

    async def read(self) -> StoredLedger:
        """A quorum read. Raises KokError LedgerUnreadable for whatever is not a whole Ledger."""
        freed = max(self._freed, default=0)
        stored = await read_ledger(self._kube, self.ref)
        if stored.spec.releases < freed:
            self._freed.clear()  # the Ledger was made anew since: its numbers begin again
        return stored

    async def look(self) -> LedgerSpec | KokError:
        """What it says, or why it cannot be read: for who decides on a view of it."""
        try:
            return (await self.read()).spec
        except KokError as error:
            return error

    async def reserve(self, ask: Ask) -> Verdict:
        """The answer to a request; a yes stands in the Ledger when this returns. Raises nothing: what goes wrong is a denial."""
        trouble = "others write to it"
        for round_ in range(1, TRIES + 1):
            try:
                verdict = await self._reserve(ask, is_last=round_ == TRIES)
            except Conflict:
                continue
            except KubeError as error:
                trouble = error.message  # the write may have happened: the next round finds the operation in the Ledger, or not
                continue
            except KokError as error:
                return denied(ask, error.message, error.code)
            if verdict is not None:
                return verdict
        return denied(ask, f"the Ledger could not be changed in {TRIES} tries: {trouble}", ErrorCode.Conflict)

    async def _reserve(self, ask: Ask, *, is_last: bool) -> Verdict | None:
        """One round; None if a slot was freed while its target was not looked at yet, and that matters.

        Facts are read after the Ledger, so that who gave up a slot is seen as it left its target, and outside of the turn, so that a
        business cluster that answers slowly keeps nobody waiting; in the last round inside, where nothing of ours can be freed meanwhile.
        """
        if is_last:
            async with self._turn:
                seen = await self.read()
                return await self._decide(ask, seen, await self._facts.read(ask))
        seen = await self.read()
        facts = await self._facts.read(ask)
        async with self._turn:
            return await self._decide(ask, seen, facts)

    async def _decide(self, ask: Ask, seen: StoredLedger, facts: Facts) -> Verdict | None:
        stored = await self.read()
        self._refuse_if_overtaken(stored)
        now = self._now()
        if stored.spec.releases != seen.spec.releases:
            cautious = _as_if_held(seen.spec, stored.spec, self._freed)
            if cautious is None or not isinstance(decide(ask, cautious, facts, now), Granted):
                return None
        verdict = decide(ask, stored.spec, facts, now)
        if verdict.ledger is not None and verdict.ledger is not stored.spec:
            await self._write(stored, verdict.ledger)
        return verdict

    async def release(self, keys: Collection[EntryKey], outcomes: Mapping[EntryKey, Outcome] = NO_OUTCOMES) -> bool:
        """Free slots, and remember how they ended. False if none of them was taken (nothing is written then). Raises KokError if it cannot be done now."""
        async with self._turn:
            for _ in range(TRIES):
                stored = await self.read()
                self._refuse_if_overtaken(stored)
                if not set(keys) & {key_of(entry) for entry in stored.spec.in_flight}:
                    return False
                try:
                    await self._write(stored, without(stored.spec, keys, outcomes))
                except Conflict:
                    continue
                self._remember_freed(stored.spec, keys)
                return True
        raise KokError(
            ErrorCode.Conflict, f"slots could not be freed in {TRIES} tries: others write to the Ledger", "it is tried again by itself"
        )

    async def sweep(self, causes: Causes = NO_CAUSES) -> tuple[LedgerSpec, LedgerSpec]:
        """Move breakers by the time and by `causes`, drop what no window needs. Before and after, written only if they differ. Raises KokError."""
        budgets, looks = await self._facts.budgets(), await self._looks()
        async with self._turn:
            stored = await self.read()
            self._refuse_if_overtaken(stored)
            after = swept(stored.spec, budgets, self._now(), causes, looks)
            if after != stored.spec:
                await self._write(stored, after)
            return stored.spec, after

    async def _looks(self) -> Looks:
        """At the targets of each breaker that a storm opened, as who saw it did; a scope that cannot be seen stays as it is."""
        found = {}
        for each in (await self.read()).spec.breakers:
            if each.witness is None or each.cause is not BreakerCause.Storm or each.phase is not BreakerPhase.Open:
                continue
            ask = ask_of_witness(each.witness)
            with suppress(KokError):
                found[(each.budget, each.scope)] = (ask.place, await self._facts.read(ask))
        return found

    def _remember_freed(self, before: LedgerSpec, keys: Collection[EntryKey]) -> None:
        freed = [entry for entry in before.in_flight if key_of(entry) in keys]
        self._freed |= dict(enumerate(freed, start=before.releases + 1))
        for number in sorted(self._freed)[:-FREED_ROOM]:
            del self._freed[number]

    def _refuse_if_overtaken(self, stored: StoredLedger) -> None:
        if stored.spec.epoch > self._epoch():
            raise KokError(
                ErrorCode.LedgerUnreadable,
                f"the Ledger belongs to the risk centre of epoch {stored.spec.epoch}; this one, of epoch {self._epoch()}, is older and decides nothing",
                REBUILD_HINT,
            )

    async def _write(self, stored: StoredLedger, after: LedgerSpec) -> None:
        """One compare-and-swap of all lists."""
        wanted = after.model_copy(update={"epoch": self._epoch()}).model_dump(mode="json", by_alias=True, exclude_none=True)
        spec = wanted | {name: _kept(stored.raw.get(name) or [], wanted[name], naming) for name, naming in LISTS.items()}
        await self._kube.patch_json(self.ref, {"spec": spec}, resource_version=stored.version, deadline=DEADLINE)


def _as_if_held(seen: LedgerSpec, stored: LedgerSpec, own: Mapping[int, InFlight]) -> LedgerSpec | None:
    """The Ledger with the slots that were freed since `seen` still taken: what is allowed beside them is allowed whatever their targets are like
    now, which nobody has looked at. None if a slot was freed that was neither seen nor freed by us: its target is not known.

    `own`: what we freed, by the number of the release. An entry whose target is held still was not freed but replaced, which no counter tells.
    """
    numbers = range(seen.releases + 1, stored.releases + 1)
    if numbers and all(number in own for number in numbers):
        return stored.model_copy(update={"in_flight": (*stored.in_flight, *(own[number] for number in numbers))})
    held = {target_key_of(entry.namespace, entry.target) for entry in stored.in_flight}
    freed = tuple(entry for entry in seen.in_flight if target_key_of(entry.namespace, entry.target) not in held)
    if stored.releases - seen.releases != len(freed):
        return None
    return stored.model_copy(update={"in_flight": (*stored.in_flight, *freed)})


def _kept(raw: list[Manifest], wanted: list[Manifest], naming: tuple[str, ...]) -> list[Manifest]:
    """Entries with the fields that this version does not know, as they were read."""
    known = {tuple(entry[field] for field in naming): entry for entry in raw}
    return [{**known.get(tuple(entry[field] for field in naming), {}), **entry} for entry in wanted]


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
        for stamp in _stamps(spec):
            at(stamp)
    except (KokError, ValueError) as error:
        raise _unreadable(f"the Ledger is not understood ({error})") from error
    raw: dict[str, Any] = manifest.get("spec") or {}
    return StoredLedger(spec, raw, str(manifest["metadata"]["resourceVersion"]))


def _stamps(spec: LedgerSpec) -> list[str]:
    """Every moment that it names: one that is none makes the whole useless."""
    slots = [stamp for entry in spec.in_flight for stamp in (entry.granted_at, entry.expires_at)]
    others = [entry.at for entry in spec.log] + [window.started_at for window in spec.windows] + [each.since for each in spec.breakers]
    others += [stamp for each in spec.breakers for stamp in (each.calm_since, each.opened_at) if stamp]
    return slots + others + ([spec.time] if spec.time else [])


def _unreadable(message: str) -> KokError:
    return KokError(ErrorCode.LedgerUnreadable, f"{message}: every dangerous operation is denied", REBUILD_HINT)
