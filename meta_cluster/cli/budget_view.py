"""What `kok budget` and `kok budget explain` show: read here, judged by the same pure functions as the risk centre's, put into words here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from meta_cluster.cli.access import clusters_in, open_meta
from meta_cluster.cli.lines import hanging
from meta_cluster.cli.options import Access
from meta_cluster.cli.tables import Table
from meta_cluster.cli.times import age_of, now_utc, span_of
from operators.adapters.kube_connector import BusinessClusters
from operators.api.budgets import OperationBudget, ScopeUse
from operators.api.risk import Operation, Purpose, Target
from operators.domain.risk.breaker import hold_of
from operators.domain.risk.decide import Ask, Denied
from operators.domain.risk.display import breaker_words, free_words, hold_words, scope_uses, used_words
from operators.domain.risk.explain import Explanation, explained
from operators.domain.risk.identity import EntryKey
from operators.domain.risk.scopes import MACHINE, ClusterId
from operators.errors import ErrorCode, KokError
from operators.services.ledger import ledger_ref, read_ledger
from operators.services.risk_facts import BUDGET, CLUSTER, RiskFacts

OF_MASTERS = {
    Operation.RestartMaster: "Pod",
    Operation.RemoveEtcdMember: "Pod",
    Operation.UpgradePlane: "Cluster",
    Operation.DeletePlane: "Cluster",
}
HEADINGS = ("BUDGET", "SCOPE", "USED", "FREE", "BREAKER")
WIDE = ("FREE AT", "BY WHOM", "WHY OPEN", "OPERATIONS")
PERSONS_WAY_IN = "kubeconfig"
"""The Secret that a person's way into a business cluster comes from."""


@dataclass(frozen=True, slots=True)
class Row:
    """One scope of one budget; without a scope: nothing uses it."""

    budget: str
    scope: str
    operations: tuple[str, ...]
    used: str
    free: str
    free_at: str
    breaker: str
    breaker_reason: str
    holders: tuple[str, ...]


async def overview(access: Access) -> list[Row]:
    """Every budget, each scope that uses it. Raises KokError LedgerUnreadable: then everything is denied anyway."""
    async with open_meta(access) as meta:
        budgets = [OperationBudget.parse(each) for each in (await meta.kube.list(BUDGET)).items]
        ledger = (await read_ledger(meta.kube, ledger_ref())).spec
        labels = {}
        if any(each.spec.scope.clusters.match_labels for each in budgets):
            clusters = [each["metadata"] for each in (await meta.kube.list(CLUSTER)).items]
            labels = {ClusterId(each["namespace"], each["name"]): each.get("labels") or {} for each in clusters}
    now, rows = now_utc(), []
    for each in sorted(budgets, key=lambda each: each.metadata.name):
        uses = scope_uses(each, ledger, labels, now)
        operations = tuple(operation.value for operation in each.spec.operations)
        for scope, use in _scopes_shown(each, uses, now).items():
            breaker = breaker_words(each, (use,) if use else (), now, scope)
            hold = hold_of(each, now, scope)
            free_at, why, holders = (use.free_at or "", use.breaker_reason, use.holders) if use else ("", "", ())
            why = hold_words(hold) if hold else why
            rows.append(Row(each.metadata.name, scope, operations, used_words(use), free_words(each, use), free_at, breaker, why, holders))
    return rows


def _scopes_shown(budget: OperationBudget, uses: Sequence[ScopeUse], now: datetime) -> dict[str, ScopeUse | None]:
    """Scopes that use something or that a person froze; one line that says what a scope is where there are none."""
    hold = hold_of(budget, now)
    frozen: dict[str, ScopeUse | None] = dict.fromkeys(hold.scopes if hold else ())
    return frozen | {use.scope: use for use in uses} or {f"(per {budget.spec.scope.per})": None}


def rows_table(rows: Sequence[Row], *, wide: bool = False) -> Table:
    """For a person; `wide` adds when it is free, every holder's whole sentence, and the operations."""
    cells = [(row.budget, row.scope, row.used, row.free, row.breaker) for row in rows]
    if not wide:
        return Table(HEADINGS, tuple(cells))
    more = [(row.free_at, "; ".join(row.holders), row.breaker_reason, _operations(row)) for row in rows]
    return Table((*HEADINGS, *WIDE), tuple((*each, *other) for each, other in zip(cells, more, strict=True)))


def notes_text(rows: Sequence[Row], now: datetime, width: int) -> str:
    """Below the table: who holds what, when a used up rate is free again, what opened a breaker. Empty where nothing is to be said."""
    lines = [hanging(f"{row.budget}   ", words, width) for row in rows if (words := _note(row, now))]
    return "\n".join(["", *lines]) if lines else ""


def _note(row: Row, now: datetime) -> str:
    left = f"free in {span_of((datetime.fromisoformat(row.free_at) - now).total_seconds())}" if row.free_at else ""
    held = ""
    if row.holders:
        who, _, rest = row.holders[0].partition(" holds it since ")
        more = f" and {len(row.holders) - 1} more" if len(row.holders) > 1 else ""
        held = f"held by {who} for {age_of(rest.split()[0], now)}{more}"
    tripped = f"breaker {row.breaker}: {row.breaker_reason}" if row.breaker_reason else ""
    words = ", ".join(filter(None, (left, held, tripped)))
    return f"{row.scope}: {words}" if words else ""


def _operations(row: Row) -> str:
    return "all" if set(row.operations) == set(Operation) else ",".join(row.operations)


def rows_data(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """For a program."""
    return [
        {
            "budget": row.budget,
            "scope": row.scope,
            "operations": list(row.operations),
            "used": row.used,
            "free": row.free,
            "freeAt": row.free_at,
            "breaker": row.breaker,
            "breakerReason": row.breaker_reason,
            "holders": list(row.holders),
        }
        for row in rows
    ]


@dataclass(frozen=True, slots=True)
class Question:
    """What somebody thinks of doing."""

    operation: str
    target: str
    cluster: str
    purpose: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What the risk centre would say to it."""

    question: Question
    place: str
    explanation: Explanation

    @property
    def allowed(self) -> bool:
        """Whether it would be granted."""
        return not isinstance(self.explanation.verdict, Denied)

    def data(self) -> dict[str, Any]:
        """For a program."""
        verdict = self.explanation.verdict
        denied = {"message": verdict.message, "retryAfterSeconds": verdict.retry_after} if isinstance(verdict, Denied) else {}
        budgets = [
            {
                "budget": each.budget,
                "scope": each.scope,
                "rate": each.rate,
                "concurrency": each.concurrency,
                "allowed": not each.refusals,
                "refusals": list(each.refusals),
            }
            for each in self.explanation.opinions
        ]
        return {"operation": self.question.operation, "target": self.place, "allowed": self.allowed, **denied, "budgets": budgets}


def answer_text(answer: Answer) -> str:
    """The answer first, then each budget with what it uses and why it says no."""
    verdict, what = answer.explanation.verdict, f"{answer.question.operation} of {answer.place}"
    lines = [f"{what} would be granted now"] if answer.allowed else [f"{what} would be denied"]
    if isinstance(verdict, Denied) and not verdict.refusals:
        lines.append(f"  {verdict.message}")
    for each in answer.explanation.opinions:
        lines.append(
            f"  {'no ' if each.refusals else 'yes'}  {each.budget} in {each.scope}: {', '.join(filter(None, (each.rate, each.concurrency)))}"
        )
        lines += [f"         {words}" for words in each.refusals]
    return "\n".join(lines)


async def answered(access: Access, question: Question) -> Answer:
    """Look, and judge. Raises KokError Usage for an unknown operation or purpose, NotFound for an unknown target."""
    operation, purpose = _named(Operation, question.operation), _named(Purpose, question.purpose)
    async with open_meta(access) as meta:
        found = await clusters_in(meta, namespace=meta.namespace, cluster=question.cluster)
        if not found:
            raise KokError(ErrorCode.NotFound, f"namespace {meta.namespace} holds no Cluster", "kok get clusters -A lists them; -n chooses")
        own = ClusterId(meta.namespace, found[0]["metadata"]["name"])
        connector = BusinessClusters(field_manager="kok")
        try:
            reader = RiskFacts(meta.kube, connector, secret=PERSONS_WAY_IN)
            target = await _target(reader, own, Operation(operation), question.target)
            ask = _ask(own, operation, target, Purpose(purpose))
            ledger = (await read_ledger(meta.kube, ledger_ref())).spec
            explanation = explained(ask, ledger, await reader.read(ask), now_utc())
        finally:
            await connector.close()
    return Answer(question, f"{target.kind} {target.name} in cluster {own}", explanation)


def _ask(own: ClusterId, operation: str, target: Target, purpose: Purpose) -> Ask:
    """As that cluster's own operator would ask: its own slot on the target is no reason against it."""
    asker = "cluster-operator" if Operation(operation) in OF_MASTERS else "machine-operator"
    return Ask(EntryKey(own.namespace, "explained"), operation, target, f"{asker}/{own.name}", 0, 900, purpose)


def _named(kind: type[Operation] | type[Purpose], word: str) -> str:
    found = next((each.value for each in kind if each.value.lower() == word.lower()), None)
    if found is None:
        raise KokError(ErrorCode.Usage, f"{word}: no such {kind.__name__.lower()}", f"one of {', '.join(kind)}")
    return found


async def _target(reader: RiskFacts, own: ClusterId, operation: Operation, name: str) -> Target:
    if operation in OF_MASTERS:
        return Target(kind=OF_MASTERS[operation], name=name, cluster=own.name)
    hosts = await reader.hosts(own)
    if name not in hosts:
        raise KokError(
            ErrorCode.NotFound,
            f"no pool of cluster {own} has a {MACHINE.lower()} {name}",
            f"kok get machines -n {own.namespace} lists them",
        )
    return hosts[name]
