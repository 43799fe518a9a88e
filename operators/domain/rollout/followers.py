"""Whether the hosts that follow a Cluster's version have it, too: a Cluster is through with a change of planes when they do. Pure.

A version brings machine packages to the hosts of every pool with `packages: {follow: Cluster}`; their Machine-Operator takes them there after the plane,
under the pool's own limits. Without this a canary would be judged by its plane alone, and the next stage begin while its first host is in hand.

A pool counts as through when each of its hosts that is to change came into service with the packages, once: that is a journal (`openedAt`), so a host
that dies later takes nothing back. Not waited for are pools that hold still by their wish (paused, a partition, an effect they forbid) and new hosts.
Called by cluster_operator.rollout.following.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from operators.api.base import Condition
from operators.api.pools import HostRelease, MachinePool
from operators.domain.machine.effects import EffectRules, changes_between, refusal_of
from operators.domain.risk.identity import at
from operators.domain.rollout.forecast import Catalogue
from operators.domain.rollout.nodes import NodeChange, NodeTries, proven
from operators.domain.rollout.pools import STOPPED, PoolSeen, shall_have
from operators.domain.rollout.view import Hold, MemberFacts
from operators.errors import KokError


@dataclass(frozen=True, slots=True)
class Follower:
    """One pool that follows. `owes`: why it is not through, empty when it is; `failed`: why it never will be, by fault of the change."""

    owes: str = ""
    failed: str = ""
    changed: tuple[NodeChange, ...] = ()
    """Its nodes that came into service with it."""


THROUGH = Follower()


def follower_of(seen: PoolSeen, facts: MemberFacts, catalogue: Catalogue) -> Follower:
    """One pool of a Cluster whose plane is healthy at what is authorised. What cannot be worked out is not through."""
    if not is_follower(seen.pool):
        return THROUGH
    name = seen.pool.metadata.name
    try:
        packages = shall_have(seen, catalogue)
    except KokError as error:
        return Follower(f"pool {name}: {error.message}")
    changing = [entry for entry in _wished_hosts(seen) if not _stays(seen, entry, packages, catalogue)]
    changed = _changed_nodes(seen, facts, packages)
    if not changing:
        return replace(THROUGH, changed=changed)
    stalled, tried = _condition(seen, "Stalled"), any(set(entry.packages) == set(packages) for entry in changing)
    words = f": {stalled.message}" if stalled and stalled.status.value == "True" else ""
    if _was_ill(seen, facts):
        return Follower(f"pool {name}, which was not well before, has not brought it to its hosts{words}", changed=changed)
    failed = f"pool {name}{words}" if words and stalled and stalled.reason == STOPPED.value and tried else ""
    return Follower(f"pool {name} brings it to its hosts{words}", failed, changed)


def is_follower(pool: MachinePool) -> bool:
    """Whether a change of its Cluster's version reaches its hosts: not where packages are explicit or the pool holds still."""
    update = pool.spec.update
    return pool.spec.packages.explicit is None and not pool.deleting and not update.paused and not update.partition


def _wished_hosts(seen: PoolSeen) -> list[HostRelease]:
    """What is authorised for hosts of the pool; of a new one nothing is yet, and nothing is waited for."""
    wished = {host.name for host in seen.pool.spec.hosts}
    return [entry for entry in (seen.release.spec.hosts if seen.release else ()) if entry.name in wished]


def _stays(seen: PoolSeen, entry: HostRelease, packages: Sequence[str], catalogue: Catalogue) -> bool:
    """Whether nothing is to come for a host: it has come into service with these packages, is new, or its pool forbids what the change does."""
    if set(entry.packages) == set(packages):
        return entry.opened_at is not None or not entry.before
    update = seen.pool.spec.update
    changes = changes_between(entry.packages, packages, catalogue.machines, EffectRules(update.kubelet_minor))
    return bool(refusal_of(changes, update.max_effect))


def _changed_nodes(seen: PoolSeen, facts: MemberFacts, packages: Sequence[str]) -> tuple[NodeChange, ...]:
    """Hosts that this change went through, and that are in service since."""
    return tuple(
        NodeChange(seen.cluster, entry.name, entry.opened_at)
        for entry in _wished_hosts(seen)
        if entry.opened_at and entry.before and set(entry.packages) == set(packages) and at(entry.at) >= facts.since
    )


def _condition(seen: PoolSeen, name: str) -> Condition | None:
    return next((each for each in seen.pool.status.conditions if each.type == name), None) if seen.pool.status else None


def _was_ill(seen: PoolSeen, facts: MemberFacts) -> bool:
    """Whether the pool was not Ready when the change was authorised, as far as its conditions tell: then no version is to blame."""
    ready = _condition(seen, "Ready")
    return ready is None or (ready.status.value != "True" and at(ready.last_transition_time) < facts.since)


def followed(facts: MemberFacts, pools: Iterable[Follower], tries: Mapping[NodeChange, NodeTries]) -> MemberFacts:
    """A member whose plane is healthy, with what its pools still owe. A node must start a pod only on the way forward."""
    found = list(pools)
    changes = [change for pool in found for change in pool.changed]
    owes, failed = next((pool.owes for pool in found if pool.owes), ""), next((pool.failed for pool in found if pool.failed), "")
    moved = max((at(change.at) for change in changes), default=None)
    gave_up = failed if failed and facts.hold is Hold.Forward else facts.gave_up
    return proven(replace(facts, following=owes, followed_at=moved, gave_up=gave_up), changes, tries)
