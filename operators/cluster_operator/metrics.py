"""What the Cluster-Operator tells Prometheus beyond what every operator does: how its Clusters and rollouts stand. Decides nothing; called by main."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from prometheus_client import CollectorRegistry, Gauge

from operators.cluster_operator.cluster import kinds
from operators.cluster_operator.rollout.kinds import ROLLOUT
from operators.engine.cache import ObjectCache
from operators.ports.kube import Kind, Manifest

STATES = ("known", "ready", "stalled", "paused")
ROLLOUT_STATES = ("known", "running", "waiting")


def expose(registry: CollectorRegistry, cache: ObjectCache) -> None:
    """Read at every scrape from what the cache holds of their statuses; a standby holds nothing and says 0."""
    clusters = Gauge("kok_clusters", "Clusters by what their status shows.", ["state"], registry=registry)
    for state in STATES:
        clusters.labels(state).set_function(partial(_count, cache, kinds.CLUSTER, state))
    rollouts = Gauge("kok_rollouts", "FleetRollouts by what their status shows.", ["state"], registry=registry)
    for state in ROLLOUT_STATES:
        rollouts.labels(state).set_function(partial(_count_rollouts, cache, state))


def _count(cache: ObjectCache, kind: Kind, state: str) -> float:
    return counted(cache.list(kind), state)


def _count_rollouts(cache: ObjectCache, state: str) -> float:
    return counted_rollouts(cache.list(ROLLOUT), state)


def counted_rollouts(rollouts: Iterable[Manifest], state: str) -> int:
    """How many are `known`, have begun and are `running`, or of these are `waiting` for a person."""
    begun = [each for each in rollouts if (each.get("status") or {}).get("startedAt")]
    running = [each for each in begun if not each["status"].get("endedAt")]
    if state == "waiting":
        return counted(running, "stalled")
    return len(running) if state == "running" else len(list(rollouts))


def counted(objects: Iterable[Manifest], state: str) -> int:
    """How many are in that state; `known` counts all."""
    return sum(_is(each, state) for each in objects)


def _is(cluster: Manifest, state: str) -> bool:
    if state == "paused":
        return bool((cluster.get("spec") or {}).get("paused"))
    conditions = (cluster.get("status") or {}).get("conditions") or ()
    return state == "known" or any(each.get("type") == state.capitalize() and each.get("status") == "True" for each in conditions)
