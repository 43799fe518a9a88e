"""What would be answered if somebody asked now: every budget that is about an operation, what it uses, and whether it says no. Pure.

The same evaluation as the risk centre's, changed by nothing: `kok budget explain` shows it before anybody tries.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from operators.api.risk import LedgerSpec
from operators.domain.risk.bookkeeping import latest
from operators.domain.risk.breaker import progressed, refusal_by
from operators.domain.risk.decide import Ask, Verdict, decide
from operators.domain.risk.facts import Facts
from operators.domain.risk.limits import Weighed, concurrency_refusal, limit_of, rate_refusal, target_of
from operators.domain.risk.scopes import budgets_about, scope_of


@dataclass(frozen=True, slots=True)
class Opinion:
    """What one budget says to it."""

    budget: str
    scope: str
    rate: str
    """`3 of 10 in 3600 s`; empty if it has none."""
    concurrency: str
    """`1 of 2 out of service`; empty if it has none."""
    refusals: tuple[str, ...]
    """Words of each limit that says no; empty if it agrees."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """The whole answer, and each budget's part in it."""

    verdict: Verdict
    opinions: tuple[Opinion, ...]


def explained(ask: Ask, ledger: LedgerSpec, facts: Facts, now: datetime) -> Explanation:
    """The answer that a request would get now."""
    moment, about = latest(ledger, now), budgets_about(facts.budgets, ask.place, facts.labels)
    every = [Weighed(each, scope_of(each.spec.scope.per, ask.place), ask.place, ask.purpose, ledger, facts, moment) for each in about]
    return Explanation(decide(ask, ledger, facts, now), tuple(_opinion(each) for each in every))


def _opinion(weighed: Weighed) -> Opinion:
    spec = weighed.budget.spec
    found = (refusal_by(weighed, progressed(weighed)), rate_refusal(weighed), concurrency_refusal(weighed))
    rate = f"{len(weighed.spent())} of {spec.rate.count} in {spec.rate.window_seconds} s" if spec.rate else ""
    concurrency = ""
    if spec.concurrency:
        used = len({target_of(each) for each in weighed.holders()} | set(weighed.sick()))
        concurrency = f"{used} of {limit_of(weighed, spec.concurrency)} out of service"
    words = tuple(f"{each.limit}: {each.words}" for each in found if each)
    return Opinion(weighed.budget.metadata.name, weighed.scope, rate, concurrency, words)
