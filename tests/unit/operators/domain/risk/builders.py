"""Grants, targets and ledgers for tables: short to say, whole objects."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from operators.api.base import ObjectMeta
from operators.api.risk import InFlight, LedgerSpec, Operation, OperationGrant, OperationGrantSpec, OperationGrantStatus, Target
from operators.domain.risk.identity import EntryKey, stamp
from operators.domain.risk.limit import Ask

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def later(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def machine(name: str = "a", pool: str = "workers", cluster: str = "demo") -> Target:
    return Target(kind="Machine", name=name, cluster=cluster, pool=pool)


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


def ledger(*entries: InFlight) -> LedgerSpec:
    return LedgerSpec(in_flight=entries)


def grant(name: str = "op-1", *, spec: dict[str, Any] | None = None, status: dict[str, Any] | None = None, **meta: Any) -> OperationGrant:
    wanted: dict[str, Any] = {"operation": Operation.Drain, "target": machine(), "requester": "machine-operator/demo"}
    metadata = ObjectMeta(name=name, **({"namespace": "demo", "uid": f"uid-{name}", "creation_timestamp": stamp(NOON)} | meta))
    shown = OperationGrantStatus(**status) if status is not None else None
    return OperationGrant(metadata=metadata, spec=OperationGrantSpec(**(wanted | (spec or {}))), status=shown)
