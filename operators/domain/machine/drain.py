"""Which pods of a node a drain moves. Pure; the same rule for who marks, who evicts and who judges that a node is empty.

As kubectl drain: not mirror pods, not pods of DaemonSets, not pods that have ended. And not those of kok itself (CoreDNS) on the only node of a
cluster: there is no other place for them, so their own disruption budget would hold the node until the drain's deadline.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from operators.api.base import LABEL_MANAGED_BY

TO_MIGRATE = "kok.dev/to-migrate"
_MIRROR = "kubernetes.io/config.mirror"


@dataclass(frozen=True, slots=True)
class PodFacts:
    """A pod that a drain moves."""

    namespace: str
    name: str
    uid: str
    is_marked: bool
    is_leaving: bool
    """It is being deleted already."""
    is_own: bool = False
    """kok put it there, as it puts CoreDNS into every cluster."""

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


def movable_pods(pods: Iterable[Mapping[str, Any]], node: str) -> tuple[PodFacts, ...]:
    """Pods of `node` that must go before it may, by name."""
    found = [_facts(pod) for pod in pods if (pod.get("spec") or {}).get("nodeName") == node and _moves(pod)]
    return tuple(sorted(found, key=str))


def with_a_place(pods: tuple[PodFacts, ...], others: int) -> tuple[PodFacts, ...]:
    """Those that a drain waits for where the cluster has so many other nodes, cordoned ones too: they come back."""
    return pods if others else tuple(pod for pod in pods if not pod.is_own)


def _moves(pod: Mapping[str, Any]) -> bool:
    metadata = pod["metadata"]
    if _MIRROR in (metadata.get("annotations") or {}):
        return False
    if any(owner.get("controller") and owner.get("kind") == "DaemonSet" for owner in metadata.get("ownerReferences") or ()):
        return False
    return (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed")


def _facts(pod: Mapping[str, Any]) -> PodFacts:
    metadata = pod["metadata"]
    labels = metadata.get("labels") or {}
    return PodFacts(
        namespace=metadata.get("namespace", ""),
        name=metadata["name"],
        uid=metadata.get("uid", ""),
        is_marked=TO_MIGRATE in labels,
        is_leaving=bool(metadata.get("deletionTimestamp")),
        is_own=metadata.get("namespace") == "kube-system" and labels.get(LABEL_MANAGED_BY) == "kok",
    )
