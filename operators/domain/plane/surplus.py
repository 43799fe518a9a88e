"""What kok once made of a plane, or put inside its business cluster, and the plan no longer has: which objects those are, and which of them may go. Pure.

Ownership is proven three times, since a mistake deletes what somebody else made: our label with this Cluster's name, the digest that only kok
stamps, and the API server's own record that kok applied it. Read by cluster_operator.cluster.business, acted on by the ladder.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from operators.api.base import LABEL_CLUSTER, LABEL_MANAGED_BY, MANAGED_BY
from operators.domain.plane.desired_preparation import PREPARING
from operators.domain.plane.drift import APPLIED_HASH, ObjectId
from operators.domain.plane.inputs import Manifest
from operators.domain.plane.workloads import component_of

MANAGER = "kok-cluster-operator"
"""Field manager of what the Cluster-Operator applies."""
KEPT = frozenset({"Namespace", "CustomResourceDefinition"})
"""Kinds that stay: with them would go what others made in them."""
WITHOUT_DATA = ("Deployment", "Service", "ConfigMap", "NetworkPolicy", "PodDisruptionBudget", "ServiceAccount", "Role", "RoleBinding")
"""Kinds of a plane that hold nothing which could not be rendered again."""
ELSEWHERE = ("etcd", "etcd-events", *PREPARING)
"""Components whose end is decided by other rungs."""
LAST = ("ServiceAccount", "ClusterRole", "Role")
"""Kinds that others stand on: deleted after those."""


def of_plane(live: Iterable[Manifest], components: Mapping[str, Iterable[Manifest]], cluster: str) -> tuple[Manifest, ...]:
    """Small objects and Deployments in the meta cluster of components that the plan does not have at all. Never anything that holds data or keys."""
    found = [each for each in live if each["kind"] in WITHOUT_DATA and component_of(each) not in (*components, *ELSEWHERE)]
    return tuple(sorted((each for each in found if _is_marked(each, cluster)), key=ObjectId.of))


def candidates(live: Iterable[Manifest], planned: Iterable[Manifest], cluster: str) -> tuple[Manifest, ...]:
    """Objects that carry our marks and are in no plan, in the order in which to delete them. Whether kok applied them is asked apart."""
    wanted = {ObjectId.of(each) for each in planned}
    found = [each for each in live if ObjectId.of(each) not in wanted and _is_marked(each, cluster)]
    return tuple(sorted(found, key=lambda each: (each["kind"] in LAST, ObjectId.of(each))))


def _is_marked(manifest: Manifest, cluster: str) -> bool:
    metadata = manifest["metadata"]
    labels, annotations = metadata.get("labels") or {}, metadata.get("annotations") or {}
    marked = labels.get(LABEL_MANAGED_BY) == MANAGED_BY and labels.get(LABEL_CLUSTER) == cluster and APPLIED_HASH in annotations
    return marked and manifest["kind"] not in KEPT and not metadata.get("deletionTimestamp") and not metadata.get("ownerReferences")


def was_applied_by_us(manifest: Manifest) -> bool:
    """Whether the API server noted that kok applied the digest it carries; a copy that somebody else made says somebody else."""
    entries: Iterable[dict[str, Any]] = manifest["metadata"].get("managedFields") or ()
    return any(
        entry.get("manager") == MANAGER
        and entry.get("operation") == "Apply"
        and f"f:{APPLIED_HASH}" in (((entry.get("fieldsV1") or {}).get("f:metadata") or {}).get("f:annotations") or {})
        for entry in entries
    )
