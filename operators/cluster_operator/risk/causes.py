"""Reads what opens breakers beside the Ledger: FAIL verdicts, by the marks that rollouts leave, and whether their rollouts have ended. Decides nothing.

A mark is written before a rollout goes back or calls a person and is never deleted, so a process that was down finds it. Marks of before verdicts were
counted name no operation and are passed over. Whatever cannot be read is an error, and moves nothing. Used by the controller of what budgets show.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace

from operators.api.base import API_VERSION
from operators.api.budgets import OperationBudget
from operators.api.risk import BreakerCause, BreakerPhase, LedgerSpec, Operation
from operators.cluster_operator.rollout import kinds as rollout_kinds
from operators.cluster_operator.rollout.journal import JournalBook
from operators.domain.risk.identity import at
from operators.domain.risk.scopes import ClusterId, Labels
from operators.domain.risk.verdicts import Causes, FailVerdict, Reached
from operators.domain.rollout.bad import BadMark
from operators.domain.rollout.story import Event
from operators.ports.kube import Key, Kind, KubePort, Manifest, Watched

CLUSTER = Kind(API_VERSION, "Cluster")
TELLING = ("Failed", "GoingBack", "Bad")
"""Phases of a FleetRollout that follow on a mark."""


class CauseReader:
    """One risk centre's eyes on rollouts. `journals`: where they keep what they must not forget."""

    def __init__(self, kube: KubePort, journals: JournalBook) -> None:
        self._kube, self._journals = kube, journals
        self._over = set[str]()  # what has ended stays so

    async def read(self, ledger: LedgerSpec, budgets: Iterable[OperationBudget]) -> Causes:
        """All verdicts; of those that opened a breaker that is open still, whether their rollout has ended. Raises KokError."""
        marks = await self._journals.all_marks()
        found = {verdict.id: (verdict, mark) for mark, is_lifted in marks if (verdict := verdict_of(mark, is_lifted=is_lifted))}
        origins = {each.origin for each in ledger.breakers if each.cause is BreakerCause.Verdict and each.phase is BreakerPhase.Open} & set(
            found
        )
        ended = {origin for origin in origins if await self._is_over(found[origin][1])}
        verdicts = tuple(replace(verdict, is_over=verdict.id in ended) for verdict, _ in found.values())
        return Causes(verdicts, await self._labels(ledger.verdicts, verdicts, budgets))

    async def _is_over(self, mark: BadMark) -> bool:
        """By its journal, which goes with it."""
        if mark.uid not in self._over:
            records = await self._journals.records_of(mark.rollout, mark.uid)
            if records and records[-1].event is not Event.Ended:
                return False
            self._over.add(mark.uid)
        return True

    async def _labels(
        self, taken: Collection[str], verdicts: Iterable[FailVerdict], budgets: Iterable[OperationBudget]
    ) -> Mapping[ClusterId, Labels]:
        """Of every Cluster, when there are new verdicts and budgets that select by labels."""
        if all(each.id in taken for each in verdicts) or not any(each.spec.scope.clusters.match_labels for each in budgets):
            return {}
        clusters = [each["metadata"] for each in (await self._kube.list(CLUSTER)).items]
        return {ClusterId(each["namespace"], each["name"]): each.get("labels") or {} for each in clusters}


def verdict_of(mark: BadMark, *, is_lifted: bool) -> FailVerdict | None:
    """What a mark says of the breakers; None of one that does not say."""
    if mark.operation not in set(Operation) or not mark.reached:
        return None
    return FailVerdict(
        id=f"{mark.uid}/{mark.stage}",
        rollout=mark.rollout,
        version=mark.version,
        why=mark.why,
        at=at(mark.at),
        operation=Operation(mark.operation),
        reached=tuple(_reached(each) for each in mark.reached),
        count=mark.count,
        is_lifted=is_lifted,
    )


def _reached(key: str) -> Reached:
    namespace, cluster, *pool = key.split("/")
    return Reached(ClusterId(namespace, cluster), "".join(pool))


def woken_by_rollouts(watched: Iterable[Watched], key: Key) -> tuple[Watched, ...]:
    """The same kinds, whose failing rollouts wake this key, too."""

    def woken(each: Watched) -> Watched:
        def keys_of(manifest: Manifest) -> Iterator[Key]:
            yield from each.keys_of(manifest)
            if (manifest.get("status") or {}).get("phase") in TELLING:
                yield key

        return replace(each, keys_of=keys_of) if each.kind == rollout_kinds.ROLLOUT else each

    return tuple(woken(each) for each in watched)
