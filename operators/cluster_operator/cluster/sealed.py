"""The sealed second copy of a plane's root keys: one immutable Secret in the operators' own namespace, `root-keys.<namespace>.<cluster>`.

Only its layout is decided here. Immutable, so that it cannot be emptied but only deleted, and every change of it is a new object.
Used by observe (to compare) and act (to write).
"""

from __future__ import annotations

from collections.abc import Mapping

from operators.api.base import LABEL_CLUSTER, LABEL_COMPONENT, LABEL_MANAGED_BY, MANAGED_BY
from operators.api.cluster import Cluster
from operators.cluster_operator.cluster.kinds import LABEL_NAMESPACE, SECRET
from operators.domain.plane.keys import CLUSTER_UID
from operators.ports.kube import Manifest, Ref

SecretData = Mapping[str, str]
SEPARATOR = "."


def sealed_ref(own_namespace: str, cluster: Cluster) -> Ref:
    """Where the copy of this Cluster's root keys is kept."""
    return SECRET.ref(f"root-keys.{cluster.metadata.namespace}.{cluster.metadata.name}", own_namespace)


def sealed_copy(own_namespace: str, cluster: Cluster, roots: Mapping[str, SecretData]) -> Manifest:
    """The copy of these root Secrets' data. Keys are `<component>.<key>`: the Cluster's name is left out, it stands in the labels."""
    ref = sealed_ref(own_namespace, cluster)
    labels = {
        LABEL_MANAGED_BY: MANAGED_BY,
        LABEL_COMPONENT: "root-keys",
        LABEL_CLUSTER: cluster.metadata.name,
        LABEL_NAMESPACE: cluster.metadata.namespace or "",
    }
    metadata = {"name": ref.name, "namespace": ref.namespace, "labels": labels, "annotations": {CLUSTER_UID: cluster.metadata.uid}}
    data = {f"{_component(cluster, name)}{SEPARATOR}{key}": value for name, root in roots.items() for key, value in root.items()}
    return {"apiVersion": "v1", "kind": "Secret", "type": "kok.dev/root-keys", "immutable": True, "metadata": metadata, "data": data}


def unsealed(copy: Manifest, cluster: Cluster, secret: str) -> SecretData | None:
    """Data of one root Secret as the copy holds it; None if it holds nothing of it."""
    prefix = _component(cluster, secret) + SEPARATOR
    data = {key.removeprefix(prefix): value for key, value in (copy.get("data") or {}).items() if key.startswith(prefix)}
    return data or None


def _component(cluster: Cluster, secret: str) -> str:
    return secret.removeprefix(f"{cluster.metadata.name}-")
