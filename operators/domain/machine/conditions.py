"""Conditions in the standard form, keeping the time of their last change. Pure; called by the statuses of machine and pool."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from operators.api.base import Condition, ConditionStatus


@dataclass(frozen=True, slots=True)
class Observed:
    """What a condition should say now; `status` None is Unknown."""

    type: str
    status: bool | None
    reason: str
    message: str = ""


def conditions_of(before: Sequence[Condition], observed: Iterable[Observed], *, generation: int, now: datetime) -> tuple[Condition, ...]:
    """The conditions to show, in the order given; `lastTransitionTime` moves only when the status does."""
    known = {condition.type: condition for condition in before}
    return tuple(_condition(known.get(each.type), each, generation=generation, now=now) for each in observed)


def _condition(before: Condition | None, each: Observed, *, generation: int, now: datetime) -> Condition:
    status = ConditionStatus.UNKNOWN if each.status is None else ConditionStatus.TRUE if each.status else ConditionStatus.FALSE
    stamp = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    return Condition(
        type=each.type,
        status=status,
        reason=each.reason,
        message=each.message[:4096],
        observed_generation=generation,
        last_transition_time=before.last_transition_time if before and before.status is status else stamp,
    )
