"""What an evaluation needs to know beside request, Ledger and time. Data only: read by services/risk_facts.py, judged by domain/risk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from operators.api.budgets import OperationBudget, Per
from operators.api.risk import Target
from operators.domain.risk.identity import TargetKey, target_key_of
from operators.domain.risk.scopes import ClusterId, Labels, Place, scope_of, selects


@dataclass(frozen=True, slots=True)
class Member:
    """One target that may be acted on. `sick` says why it is out of service; empty if it is not."""

    cluster: ClusterId
    target: Target
    sick: str = ""
    lost_at: datetime | None = None
    """When it was lost, if it stood before."""

    @property
    def key(self) -> TargetKey:
        """Which target it is."""
        return target_key_of(self.cluster.namespace, self.target)


@dataclass(frozen=True, slots=True)
class FleetCluster:
    """One Cluster among all, for budgets of the fleet."""

    cluster: ClusterId
    labels: Labels
    machines: int
    sick: str = ""
    lost_at: datetime | None = None
    """When its plane was lost."""


@dataclass(frozen=True, slots=True)
class Facts:
    """Read after the Ledger, so that whoever gave up a slot before was looked at after it."""

    budgets: tuple[OperationBudget, ...] = ()
    labels: Labels = field(default_factory=dict)
    """Of the Cluster that is acted on."""
    members: tuple[Member, ...] = ()
    """All targets of the same sort in that Cluster; empty if no budget needs them."""
    fleet: Mapping[ClusterId, FleetCluster] = field(default_factory=dict)
    """All Clusters; empty if no budget needs them."""
    sees_losses: bool = False
    """Whether who was lost was looked at; else `lost_at` says nothing."""

    def labels_of(self, cluster: ClusterId, own: ClusterId) -> Labels | None:
        """Of any Cluster; None if they were not read."""
        if cluster == own:
            return self.labels
        found = self.fleet.get(cluster)
        return found.labels if found else None


def members_in(budget: OperationBudget, place: Place, facts: Facts) -> list[Member]:
    """Targets that share the budget's scope with this operation, as far as they were looked at: a fleet's machines only in the own cluster."""
    per = budget.spec.scope.per
    scope = scope_of(per, place)
    found = [each for each in facts.members if scope_of(per, Place(place.operation, each.cluster, each.target)) == scope]
    if per is Per.Fleet and place.target.kind == "Cluster":
        found = [
            Member(each.cluster, Target(kind="Cluster", name=each.cluster.name, cluster=each.cluster.name), each.sick, each.lost_at)
            for each in facts.fleet.values()
            if selects(budget.spec.scope.clusters, each.cluster, each.labels)
        ]
    return found


def targets_in(budget: OperationBudget, place: Place, facts: Facts) -> int:
    """How many targets percentages are taken of: machines for Machines, else Clusters, in the fleet; what was looked at below it."""
    if budget.spec.scope.per is not Per.Fleet:
        return len({each.key for each in members_in(budget, place, facts)})
    chosen = [each for each in facts.fleet.values() if selects(budget.spec.scope.clusters, each.cluster, each.labels)]
    return sum(each.machines for each in chosen) if place.target.kind == "Machine" else len(chosen)
