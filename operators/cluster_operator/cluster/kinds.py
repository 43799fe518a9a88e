"""The kinds that the Cluster controller follows, and whose change wakes which Cluster. Data; used by observe, act and main."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from operators.api.base import API_VERSION, LABEL_CLUSTER
from operators.domain.plane import inputs
from operators.ports.kube import Key, Kind, Manifest, Watched

CONTROLLER = "cluster"
LABEL_NAMESPACE = inputs.LABEL_NAMESPACE
"""On objects of a Cluster that live outside its namespace."""

CLUSTER = Kind(API_VERSION, "Cluster")
RELEASE = Kind(API_VERSION, "ClusterRelease")
PACKAGE = Kind(API_VERSION, "ClusterPackageVersion")
POOL = Kind(API_VERSION, "MachinePool")
POOL_RELEASE = Kind(API_VERSION, "MachinePoolRelease")
GRANT = Kind(API_VERSION, "OperationGrant")
CLAIM = Kind(API_VERSION, "HostClaim")
NAMESPACE = Kind("v1", "Namespace")
SECRET = Kind("v1", "Secret")
CONFIG_MAP = Kind("v1", "ConfigMap")
SERVICE = Kind("v1", "Service")
POD = Kind("v1", "Pod")
VOLUME_CLAIM = Kind("v1", "PersistentVolumeClaim")
STATEFUL_SET = Kind("apps/v1", "StatefulSet")
DEPLOYMENT = Kind("apps/v1", "Deployment")
DAEMON_SET = Kind("apps/v1", "DaemonSet")
JOB = Kind("batch/v1", "Job")

CHILDREN = (
    SECRET,
    CONFIG_MAP,
    SERVICE,
    Kind("v1", "ServiceAccount"),
    VOLUME_CLAIM,
    STATEFUL_SET,
    DEPLOYMENT,
    DAEMON_SET,
    JOB,
    Kind("policy/v1", "PodDisruptionBudget"),
    Kind("networking.k8s.io/v1", "NetworkPolicy"),
    Kind("rbac.authorization.k8s.io/v1", "Role"),
    Kind("rbac.authorization.k8s.io/v1", "RoleBinding"),
)
"""What a plane is made of in its namespace, by label; pods apart."""
OUTSIDE_CHILDREN = (Kind("rbac.authorization.k8s.io/v1", "ClusterRole"), Kind("rbac.authorization.k8s.io/v1", "ClusterRoleBinding"))
UNLABELLED = (RELEASE, POOL_RELEASE, GRANT)
"""Journals of the namespace's one Cluster; they go with it."""

Packages = Callable[[str], Iterable[Key]]
"""Name of a ClusterPackageVersion -> Clusters that use it."""


def watched_kinds(clusters_of_package: Packages) -> tuple[Watched, ...]:
    """Everything to follow in the meta cluster."""
    by_label = [Watched(kind, keys_by_label, selector=LABEL_CLUSTER, packed=True) for kind in (*CHILDREN, POD)]
    by_label += [Watched(kind, keys_by_label, selector=LABEL_CLUSTER, index=LABEL_NAMESPACE, packed=True) for kind in OUTSIDE_CHILDREN]
    return (
        Watched(CLUSTER, _own_key),
        Watched(RELEASE, _own_key),
        Watched(PACKAGE, lambda manifest: clusters_of_package(manifest["metadata"]["name"])),
        Watched(POOL, _pool_key),
        Watched(CLAIM, _claim_key),
        Watched(NAMESPACE, _namespace_key, selector=LABEL_CLUSTER),
        *by_label,
    )


def key_of(namespace: str, name: str) -> Key:
    """The key of one Cluster."""
    return Key(CONTROLLER, namespace, name)


def keys_by_label(manifest: Manifest) -> Iterator[Key]:
    """The Cluster whose name an object carries, in its own namespace unless it names another."""
    labels = manifest["metadata"].get("labels") or {}
    namespace = labels.get(LABEL_NAMESPACE) or manifest["metadata"].get("namespace")
    if (name := labels.get(LABEL_CLUSTER)) and namespace:
        yield key_of(namespace, name)


def _own_key(manifest: Manifest) -> Iterator[Key]:
    yield key_of(manifest["metadata"]["namespace"], manifest["metadata"]["name"])


def _pool_key(manifest: Manifest) -> Iterator[Key]:
    if name := (manifest.get("spec") or {}).get("clusterName"):
        yield key_of(manifest["metadata"]["namespace"], name)


def _claim_key(manifest: Manifest) -> Iterator[Key]:
    spec = manifest.get("spec") or {}
    if spec.get("namespace") and spec.get("cluster"):
        yield key_of(spec["namespace"], spec["cluster"])


def _namespace_key(manifest: Manifest) -> Iterator[Key]:
    if name := (manifest["metadata"].get("labels") or {}).get(LABEL_CLUSTER):
        yield key_of(manifest["metadata"]["name"], name)
