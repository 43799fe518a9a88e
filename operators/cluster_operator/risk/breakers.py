"""Tells of breakers that changed, and of people who hold them: an event on the OperationBudget, a line in the log, counts for Prometheus.

Decides nothing; used by the controller of budgets.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

import structlog
from prometheus_client import Counter, Gauge

from operators.api.base import API_VERSION
from operators.api.budgets import HoldMode, OperationBudget
from operators.api.risk import BreakerPhase, LedgerSpec
from operators.domain.risk.breaker import hold_of
from operators.domain.risk.breaker_sweep import transitions
from operators.domain.risk.display import hold_words
from operators.engine.reconcile import LoopTools
from operators.engine.recorder import Occurrence
from operators.ports.kube import Kind

log = structlog.get_logger(__name__)
BUDGET = Kind(API_VERSION, "OperationBudget")
RELEASED = "Released"
PERSON = "Person"
"""The cause of what a person latched or took back."""


class Teller:
    """Remembers what was told. A process that starts goes by what the budgets show: what they do not show yet was not told either."""

    def __init__(self, tools: LoopTools) -> None:
        self._recorder, registry = tools.recorder, tools.metrics.registry
        self._told: LedgerSpec | None = None
        self._held: dict[str, str] = {}
        self._changes = Counter("kok_breaker_transitions_total", "Changes of breakers.", ["budget", "phase", "cause"], registry=registry)
        self._open = Gauge("kok_breakers_open", "Breakers that are not closed.", ["budget"], registry=registry)
        self._log = Gauge("kok_ledger_log_entries", "Operations that the Ledger remembers for windows.", registry=registry)
        self._in_flight = Gauge("kok_ledger_in_flight", "Slots that are taken.", registry=registry)

    async def tell(self, ledger: LedgerSpec, budgets: Sequence[OperationBudget], now: datetime) -> None:
        """What changed since the last time."""
        for each in budgets:
            await self._tell_hold(each, now)
        before, self._told = self._told or as_shown(ledger, budgets), ledger
        self._log.set(len(ledger.log))
        self._in_flight.set(len(ledger.in_flight))
        for name in {each.budget for each in (*ledger.breakers, *before.breakers)}:
            self._open.labels(name).set(sum(each.budget == name and each.phase is not BreakerPhase.Closed for each in ledger.breakers))
        for breaker, words in transitions(before, ledger):
            self._changes.labels(breaker.budget, breaker.phase.value, breaker.cause.value).inc()
            told = {"budget": breaker.budget, "scope": breaker.scope, "phase": breaker.phase.value, "cause": breaker.cause.value}
            log.info("breaker", **told, reason=words)
            await self._record(breaker.budget, f"Breaker{breaker.phase}", words, warning=breaker.phase is BreakerPhase.Open)

    async def _tell_hold(self, budget: OperationBudget, now: datetime) -> None:
        """A person's word that came, became another or is over; the first time by what the budget shows."""
        name, hold = budget.metadata.name, hold_of(budget, now)
        mode = hold.mode.value if hold else ""
        word = f"{mode} {hold_words(hold)}" if hold else ""
        first, before = name not in self._held, self._held.get(name, mode_shown(budget))
        self._held[name] = word
        if word == before or (first and mode == before):
            return
        phase = mode or RELEASED
        words = word or f"it is not {before.partition(' ')[0]} any more: its limits and its breaker are what counts"
        self._changes.labels(name, phase, PERSON).inc()
        log.info("hold", budget=name, phase=phase, reason=words)
        await self._record(name, f"Breaker{phase}", words, warning=bool(mode))

    async def _record(self, budget: str, reason: str, words: str, *, warning: bool) -> None:
        await self._recorder.record(Occurrence(BUDGET.ref(budget), "", reason, words, action="Judge", warning=warning))


def mode_shown(budget: OperationBudget) -> str:
    """What its status says that a person said."""
    reasons = {each.reason for each in (budget.status.conditions if budget.status else ()) if each.type == "Ready"}
    return next((mode.value for mode in HoldMode if mode.value in reasons), "")


def as_shown(ledger: LedgerSpec, budgets: Iterable[OperationBudget]) -> LedgerSpec:
    """The Ledger without the breakers that no budget shows as they are. Closed ones are not shown."""
    shown = {
        (budget.metadata.name, use.scope, use.breaker, use.breaker_reason)
        for budget in budgets
        for use in (budget.status.scopes if budget.status else ())
    }
    kept = [
        each for each in ledger.breakers if each.phase is BreakerPhase.Closed or (each.budget, each.scope, each.phase, each.reason) in shown
    ]
    return ledger.model_copy(update={"breakers": tuple(kept)})
