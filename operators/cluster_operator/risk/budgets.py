"""Shows in every OperationBudget what is used and free, and moves breakers also while nobody asks. One key for all, since one Ledger moves all.

What is shown is never read by a decision.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog

from operators.api.base import API_VERSION
from operators.api.budgets import OperationBudget
from operators.api.risk import LedgerSpec
from operators.cluster_operator.risk.breakers import Teller
from operators.cluster_operator.risk.causes import CauseReader
from operators.domain.risk.display import ClusterLabels, budget_status
from operators.domain.risk.scopes import ClusterId
from operators.engine.reconcile import StatusWrite
from operators.errors import KokError
from operators.ports.kube import Key, Kind, KubePort, Manifest, NotFound
from operators.services.ledger import LedgerService

log = structlog.get_logger(__name__)
BUDGET, CLUSTER = Kind(API_VERSION, "OperationBudget"), Kind(API_VERSION, "Cluster")
BUDGETS = Key("budgets", "", "all")
SHOW_EVERY = 5.0
LOOK_EVERY = 30.0
"""Windows pass without anybody writing."""
IDLE = 600.0
"""Where no window runs, nothing is in flight, and nobody holds a budget until some time."""


@dataclass(frozen=True, slots=True)
class Shown:
    """Statuses that are not as they should be, by name; `left`: seconds until it is time to look."""

    wanted: tuple[tuple[str, Manifest], ...] = ()
    left: float = LOOK_EVERY


@dataclass(frozen=True, slots=True)
class Show:
    """Write them."""

    reason: str
    after: float | None = SHOW_EVERY


@dataclass(frozen=True, slots=True)
class Rest:
    """Nothing to show for `after` seconds."""

    reason: str
    after: float | None


class BudgetController:
    """Controller of what OperationBudgets show."""

    name = BUDGETS.controller

    def __init__(  # noqa: PLR0913 - what it reads, and two clocks
        self,
        kube: KubePort,
        ledger: LedgerService,
        teller: Teller,
        causes: CauseReader,
        *,
        now: Callable[[], datetime],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._kube, self._ledger, self._teller, self._causes, self._now, self._clock = kube, ledger, teller, causes, now, clock
        self._look_at = clock()

    async def observe(self, key: Key) -> Shown | None:
        """All budgets beside the Ledger; not more often than every few seconds, however often it is written."""
        left = self._look_at - self._clock()
        if left > 0:
            return Shown(left=left)
        self._look_at = self._clock() + SHOW_EVERY
        budgets = [(each, OperationBudget.parse(each)) for each in (await self._kube.list(BUDGET)).items]
        ledger = await self._swept([budget for _, budget in budgets])
        labels = await self._labels() if any(budget.spec.scope.clusters.match_labels for _, budget in budgets) else {}
        now = self._now()
        wanted = [(each, budget_status(budget, ledger, labels, now)) for each, budget in budgets]
        differing = tuple((each["metadata"]["name"], status) for each, status in wanted if status != each.get("status"))
        return Shown(differing, IDLE if _rests(ledger, [budget for _, budget in budgets]) else LOOK_EVERY)

    async def _swept(self, budgets: Sequence[OperationBudget]) -> LedgerSpec | KokError:
        """Breakers move by the time and by verdicts; a Ledger, budgets or journals that cannot be read move nothing."""
        ledger = await self._ledger.look()
        if isinstance(ledger, KokError):
            return ledger
        try:
            _, after = await self._ledger.sweep(await self._causes.read(ledger, budgets))
        except KokError as error:
            log.warning("breakers were not moved", error=error.message)
            return ledger
        await self._teller.tell(after, budgets, self._now())
        return after

    async def _labels(self) -> ClusterLabels:
        clusters = [each["metadata"] for each in (await self._kube.list(CLUSTER)).items]
        return {ClusterId(each["namespace"], each["name"]): each.get("labels") or {} for each in clusters}

    def next_step(self, shown: Shown) -> Show | Rest:
        """Show what differs."""
        return Show(f"{len(shown.wanted)} budgets show something else") if shown.wanted else Rest("budgets show what is", after=shown.left)

    async def act(self, shown: Shown, step: Show | Rest) -> None:
        """Each by itself."""
        for name, status in shown.wanted:
            try:
                await self._kube.patch_status(BUDGET.ref(name), status)
            except NotFound:
                continue

    def status_of(self, shown: Shown, step: Show | Rest, outcome: KokError | None) -> StatusWrite | None:
        """There is no single object to show it on; `act` writes."""
        return None


def _rests(ledger: LedgerSpec | KokError, budgets: Iterable[OperationBudget]) -> bool:
    """Whether time alone changes nothing of what is shown."""
    if isinstance(ledger, KokError) or ledger.log or ledger.in_flight or ledger.windows or ledger.breakers:
        return False
    return not any(budget.spec.hold for budget in budgets)
