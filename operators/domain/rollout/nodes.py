"""Whether the nodes that a change of machines went through really start pods: each must, once, before its pool counts as good. Pure.

What pods do on a node is asked by cluster_operator.rollout.probing, and remembered there only: a new process asks again. Nobody fails by time for
that, for an answer comes within a minute; and once the stage was noted as healthy, its nodes are not asked any more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from operators.domain.rollout.pools import PoolSeen
from operators.domain.rollout.view import Hold, MemberFacts

TRIES = 3
"""Pods that a node may fail to start, one after the other, before it is said to start none."""


@dataclass(frozen=True, slots=True)
class NodeChange:
    """A node that came into service with another package, and when."""

    cluster: str
    """namespace/name."""
    node: str
    at: str


@dataclass(frozen=True, slots=True)
class NodeTries:
    """What its pods came to: one that ran is enough; `bad`: those that did not, before it."""

    good: bool = False
    bad: int = 0
    reason: str = ""

    @property
    def gave_up(self) -> bool:
        """Whether it starts no pods."""
        return not self.good and self.bad >= TRIES


NOT_TRIED = NodeTries()


def changed_nodes(seen: PoolSeen, to: str) -> tuple[NodeChange, ...]:
    """Nodes of a pool that were brought to this package, and came into service with it."""
    hosts = seen.release.spec.hosts if seen.release else ()
    brought = [host for host in hosts if to in host.packages and host.before and to not in host.before and host.opened_at]
    return tuple(NodeChange(seen.cluster, host.name, host.opened_at or "") for host in brought)


def proven(facts: MemberFacts, changes: Iterable[NodeChange], tries: Mapping[NodeChange, NodeTries]) -> MemberFacts:
    """A member that this rollout changed, with what its nodes still owe. Of one that goes back nothing is asked."""
    if facts.hold is not Hold.Forward:
        return facts
    found = {change: tries.get(change, NOT_TRIED) for change in changes}
    if bad := next((change for change, each in found.items() if each.gave_up), None):
        words = f"node {bad.node} starts no pod since it was changed: {found[bad].reason}"
        return replace(facts, unproven=words, gave_up=facts.gave_up or words)
    if left := [change.node for change, each in found.items() if not each.good]:
        more = f" and {len(left) - 1} more" if len(left) > 1 else ""
        return replace(facts, unproven=f"node {left[0]}{more} has not started a pod since it was changed")
    return facts
