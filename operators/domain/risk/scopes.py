"""Which budgets are about an operation, and in which scope of each it counts. Pure; called by the evaluation and by what reads facts for it.

Scopes nest: fleet, cluster, failure domain or pool. What names no pool has no pool scope; a Machine that names no zone counts with all
others of its cluster that name none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from operators.api.budgets import ClusterSelector, OperationBudget, Per
from operators.api.risk import InFlight, Spent, Target

Labels = Mapping[str, str]
MACHINE = "Machine"
_PATH = r"(?P<namespace>[^/\s]+)/(?P<name>[^/\s]+)"
PATTERNS = {
    Per.Fleet: "the fleet",
    Per.Cluster: f"cluster {_PATH}",
    Per.FailureDomain: rf"zone \S+ of cluster {_PATH}",
    Per.Pool: f"pool {_PATH}",
}


@dataclass(frozen=True, slots=True, order=True)
class ClusterId:
    """A Cluster of the meta cluster."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Place:
    """Where an operation counts: what is asked, what is in flight and what is in the log, seen alike."""

    operation: str
    cluster: ClusterId
    target: Target


NOWHERE = Place("", ClusterId("", ""), Target(kind="Cluster", name="none", cluster="none"))
"""Nobody asks."""


def place_of(entry: InFlight | Spent) -> Place:
    """Of an entry of the Ledger."""
    return Place(entry.operation.value, ClusterId(entry.namespace, entry.target.cluster), entry.target)


def scope_of(per: Per, place: Place) -> str:
    """The scope's name, as the Ledger and denials write it; empty if there is none of that sort."""
    cluster, target = place.cluster, place.target
    match per:
        case Per.Fleet:
            return "the fleet"
        case Per.Cluster:
            return f"cluster {cluster}"
        case Per.FailureDomain:
            return f"zone {target.zone or '(none)'} of cluster {cluster}" if target.kind == MACHINE else ""
        case Per.Pool:
            return f"pool {cluster.namespace}/{target.pool}" if target.pool else ""


def named_scope(per: Per, words: str) -> re.Match[str] | None:
    """What words of a person name as a scope of that sort (groups namespace and name, but for the fleet); None for what `scope_of` never writes."""
    return re.fullmatch(PATTERNS[per], words)


def selects(selector: ClusterSelector, cluster: ClusterId, labels: Labels | None) -> bool:
    """Whether a Cluster is meant. An empty selector selects nothing. Labels that nobody could read (None) match: more budgets, not fewer."""
    if selector.all or str(cluster) in selector.names:
        return True
    if not selector.match_labels:
        return False
    return labels is None or all(labels.get(key) == value for key, value in selector.match_labels.items())


def is_about(budget: OperationBudget, place: Place, labels: Labels | None) -> bool:
    """Whether the budget counts this operation."""
    spec = budget.spec
    if place.operation not in spec.operations or not (spec.rate or spec.concurrency):
        return False
    return selects(spec.scope.clusters, place.cluster, labels) and bool(scope_of(spec.scope.per, place))


def budgets_about(budgets: Iterable[OperationBudget], place: Place, labels: Labels | None) -> list[OperationBudget]:
    """All of them, by name."""
    return sorted((each for each in budgets if is_about(each, place, labels)), key=lambda each: each.metadata.name)
