"""What the Cluster-Operator tells Prometheus beyond what every operator does: how its Clusters stand. Decides nothing; called by main."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from prometheus_client import CollectorRegistry, Gauge

from operators.cluster_operator.cluster import kinds
from operators.engine.cache import ObjectCache
from operators.ports.kube import Manifest

STATES = ("known", "ready", "stalled", "paused")


def expose(registry: CollectorRegistry, cache: ObjectCache) -> None:
    """Read at every scrape from what the cache holds of their statuses; a standby holds nothing and says 0."""
    clusters = Gauge("kok_clusters", "Clusters by what their status shows.", ["state"], registry=registry)
    for state in STATES:
        clusters.labels(state).set_function(partial(_count, cache, state))


def _count(cache: ObjectCache, state: str) -> float:
    return counted(cache.list(kinds.CLUSTER), state)


def counted(clusters: Iterable[Manifest], state: str) -> int:
    """How many are in that state; `known` counts all."""
    return sum(_is(cluster, state) for cluster in clusters)


def _is(cluster: Manifest, state: str) -> bool:
    if state == "paused":
        return bool((cluster.get("spec") or {}).get("paused"))
    conditions = (cluster.get("status") or {}).get("conditions") or ()
    return state == "known" or any(each.get("type") == state.capitalize() and each.get("status") == "True" for each in conditions)
