"""Is this a storm: so many targets of one scope lost at once, in nobody's hands, that changing more would only hide why? Pure; called by the breaker.

Lost is what was in service and is not any more: a machine whose Node's Ready condition turned, a pod of an etcd likewise; in the fleet's scope a
plane whose API server is gone. It counts from a minute after that, as long as the window, and not while a grant is held for it: that one was
planned. Whether anybody looked is part of the facts; without a look nothing is said. The asker's own target is no reason against it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from operators.api.budgets import Per
from operators.api.risk import Operation, Witness
from operators.domain.risk.facts import Member, members_in
from operators.domain.risk.limits import Weighed, target_of

HELD = timedelta(seconds=60)
"""Whoever is back sooner was never lost."""
NAMED = 3


@dataclass(frozen=True, slots=True)
class Losses:
    """Lost targets of one scope, the latest first, beside how many are a storm."""

    lost: Sequence[Member]
    total: int
    need: int
    """0: nothing is a storm."""
    window_seconds: int

    @property
    def are_storm(self) -> bool:
        """Whether they are too many."""
        return 0 < self.need <= len(self.lost)

    def are_fewer_than(self, parts: int) -> bool:
        """Whether they are at most that part of what makes a storm."""
        return len(self.lost) <= self.need // parts

    @property
    def words(self) -> str:
        """The sentence of the breaker that they open."""
        named = [f"{each.target.name} ({each.sick})" for each in self.lost[:NAMED]]
        more = f" and {len(self.lost) - NAMED} more" if len(self.lost) > NAMED else ""
        kind = self.lost[0].target.kind
        lost = f"{len(self.lost)} of {self.total} targets of kind {kind} were lost within {self.window_seconds} s"
        return f"a storm, {lost} in nobody's hands: {', '.join(named)}{more}"


def losses_in(weighed: Weighed, *, after: datetime | None = None) -> Losses | None:
    """What is lost now, of what was lost after the last close; None if nobody looked."""
    per, place, rule = weighed.budget.spec.scope.per, weighed.place, weighed.budget.spec.breaker.storm
    if not weighed.facts.sees_losses or (per is Per.Fleet and place.target.kind != "Cluster"):
        return None
    members = members_in(weighed.budget, place, weighed.facts)
    if not members:
        return None
    held = {target_of(each) for each in weighed.ledger.in_flight} | {weighed.own}
    window = timedelta(seconds=rule.window_seconds)

    def is_lost(each: Member) -> bool:
        if each.lost_at is None or each.key in held or (after is not None and each.lost_at <= after):
            return False
        return HELD <= weighed.now - each.lost_at < window

    lost = sorted(sorted(filter(is_lost, members), key=lambda each: each.target.name), key=_latest_first)
    need = max(rule.floor, len(members) * rule.percent // 100) if rule.percent else 0
    return Losses(lost, len(members), need, rule.window_seconds)


def _latest_first(member: Member) -> float:
    return -member.lost_at.timestamp() if member.lost_at else 0.0


def witness_of(weighed: Weighed) -> Witness:
    """The request that saw it."""
    place = weighed.place
    return Witness(namespace=place.cluster.namespace, operation=Operation(place.operation), target=place.target)
