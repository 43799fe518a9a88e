"""Names of things the risk centre counts: targets, entries of the Ledger, operations. Pure; used by both sides of a grant."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256

from operators.api.risk import InFlight, Operation, Target

LABEL_ACT = "kok.dev/act"
"""Label of an OperationGrant: the act, whatever the attempt; all attempts of one act are found by it."""


@dataclass(frozen=True, slots=True, order=True)
class EntryKey:
    """One operation: namespace and name of its OperationGrant. The same operation has the same key after a restart."""

    namespace: str
    op_id: str


@dataclass(frozen=True, slots=True, order=True)
class TargetKey:
    """What is acted on. A node is named by its Machine, so that a drain and a deletion of one host are one target."""

    namespace: str
    cluster: str
    kind: str
    name: str


def target_key_of(namespace: str, target: Target) -> TargetKey:
    """Which target it is, whatever pool it is said to be in."""
    return TargetKey(namespace, target.cluster, target.kind, target.name)


def key_of(entry: InFlight) -> EntryKey:
    """The operation that took a slot."""
    return EntryKey(entry.namespace, entry.op_id)


def act_id(target_uid: str, operation: Operation, workflow: str, step: str) -> str:
    """The act without its attempt, as a label value: the same for the same object (by uid), operation, workflow and step."""
    return sha256("\0".join((target_uid, operation.value, workflow, step)).encode()).hexdigest()[:24]


def op_id(operation: Operation, target_name: str, act: str, attempt: int) -> str:
    """The name of an OperationGrant: readable in front, unique by the act and the attempt."""
    readable = target_name[:63].rstrip("-.")
    return f"{operation.value.lower()}-{readable}-{act[:16]}-{attempt}"


def at(stamp: str) -> datetime:
    """The moment of an RFC 3339 timestamp; ValueError if it is none or names no zone."""
    moment = datetime.fromisoformat(stamp)
    if moment.tzinfo is None:
        raise ValueError(f"{stamp!r} names no time zone")
    return moment


def stamp(moment: datetime) -> str:
    """RFC 3339 in UTC with whole seconds, as the API server writes it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def stamp_up(moment: datetime) -> str:
    """As `stamp`, to the next whole second: what is counted from it ends not a moment too early."""
    return stamp(moment + timedelta(microseconds=999_999))
