"""Which pods of a node a drain moves. Pure; the same rule for who marks, who evicts and who judges that a node is empty.

As kubectl drain: not mirror pods, not pods of DaemonSets, not pods that have ended.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

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

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


def movable_pods(pods: Iterable[Mapping[str, Any]], node: str) -> tuple[PodFacts, ...]:
    """Pods of `node` that must go before it may, by name."""
    found = [_facts(pod) for pod in pods if (pod.get("spec") or {}).get("nodeName") == node and _moves(pod)]
    return tuple(sorted(found, key=str))


def _moves(pod: Mapping[str, Any]) -> bool:
    metadata = pod["metadata"]
    if _MIRROR in (metadata.get("annotations") or {}):
        return False
    if any(owner.get("controller") and owner.get("kind") == "DaemonSet" for owner in metadata.get("ownerReferences") or ()):
        return False
    return (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed")


def _facts(pod: Mapping[str, Any]) -> PodFacts:
    metadata = pod["metadata"]
    marked = TO_MIGRATE in (metadata.get("labels") or {})
    return PodFacts(
        metadata.get("namespace", ""), metadata["name"], metadata.get("uid", ""), marked, bool(metadata.get("deletionTimestamp"))
    )
