"""Grants, targets and ledgers for tables: short to say, whole objects."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from operators.api.base import ObjectMeta
from operators.api.budgets import OperationBudget
from operators.api.risk import (
    InFlight,
    LedgerSpec,
    Operation,
    OperationGrant,
    OperationGrantSpec,
    OperationGrantStatus,
    Purpose,
    Spent,
    Target,
)
from operators.domain.risk.decide import Ask
from operators.domain.risk.facts import Facts, Member
from operators.domain.risk.identity import EntryKey, stamp
from operators.domain.risk.scopes import ClusterId

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def later(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def machine(name: str = "a", pool: str = "workers", cluster: str = "demo", zone: str = "") -> Target:
    return Target(kind="Machine", name=name, cluster=cluster, pool=pool, zone=zone)


def budget(name: str = "one", per: str = "Pool", *, clusters: dict[str, Any] | None = None, **spec: Any) -> OperationBudget:
    """Of every operation in every cluster, one target at a time, unless said otherwise; camelCase as people write it."""
    limits = {} if {"rate", "concurrency"} & set(spec) else {"concurrency": {"count": 1}}
    scope = {"per": per, "clusters": clusters if clusters is not None else {"all": True}}
    wanted = {"operations": [each.value for each in Operation], "scope": scope, **limits, **spec}
    return OperationBudget.parse({"apiVersion": "kok.dev/v1alpha1", "kind": "OperationBudget", "metadata": {"name": name}, "spec": wanted})


def facts(*budgets: OperationBudget, sick: dict[str, str] | None = None, targets: int = 0, pool: str = "workers", **rest: Any) -> Facts:
    """Without budgets: one target at a time per pool and per cluster outside of pools. `targets` machines named m0, m1, ... in `pool`, and the sick."""
    names = [f"m{number}" for number in range(targets - len(sick or {}))] + list(sick or {})
    members = tuple(Member(ClusterId("demo", "demo"), machine(name, pool), (sick or {}).get(name, "")) for name in names)
    return Facts(budgets or PLAIN, members=members, **rest)


PLAIN = (budget(), budget("masters", "Cluster", operations=["RestartMaster", "RemoveEtcdMember", "UpgradePlane"]))


class KnownFacts:
    """FactsPort that says what a test says; without, one target at a time per pool and one master per cluster."""

    def __init__(self, known: Facts | None = None) -> None:
        self.known = known or facts()

    async def read(self, ask: Ask) -> Facts:
        return self.known

    async def budgets(self) -> tuple[OperationBudget, ...]:
        return self.known.budgets


def spent(op: str = "op-0", seconds: float = 0, target: Target | None = None, **changes: Any) -> Spent:
    fields: dict[str, Any] = {"namespace": "demo", "operation": Operation.Drain, "at": stamp(later(seconds)), "purpose": Purpose.Forward}
    return Spent(op_id=op, target=target or machine("b"), **(fields | changes))


def ask(op: str = "op-1", target: Target | None = None, **changes: Any) -> Ask:
    fields: dict[str, Any] = {"operation": "Drain", "requester": "machine-operator/demo", "attempt": 0, "ttl_seconds": 900}
    namespace = changes.pop("namespace", "demo")
    return Ask(key=EntryKey(namespace, op), target=target or machine(), **(fields | changes))


def entry(op: str = "op-0", target: Target | None = None, **changes: Any) -> InFlight:
    fields: dict[str, Any] = {
        "namespace": "demo",
        "operation": Operation.Drain,
        "requester": "machine-operator/demo",
        "granted_at": stamp(NOON),
        "expires_at": stamp(later(900)),
    }
    return InFlight(op_id=op, target=target or machine("b"), **(fields | changes))


def ledger(*entries: InFlight, **rest: Any) -> LedgerSpec:
    return LedgerSpec(in_flight=entries, **rest)


def grant(name: str = "op-1", *, spec: dict[str, Any] | None = None, status: dict[str, Any] | None = None, **meta: Any) -> OperationGrant:
    wanted: dict[str, Any] = {"operation": Operation.Drain, "target": machine(), "requester": "machine-operator/demo"}
    metadata = ObjectMeta(name=name, **({"namespace": "demo", "uid": f"uid-{name}", "creation_timestamp": stamp(NOON)} | meta))
    shown = OperationGrantStatus(**status) if status is not None else None
    return OperationGrant(metadata=metadata, spec=OperationGrantSpec(**(wanted | (spec or {}))), status=shown)
