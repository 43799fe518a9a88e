"""Builders of PlaneViews for the tables of the ladder's tests: a plane that is right, and ways to make it wrong."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from operators.api.cluster import Cluster
from operators.api.cluster_release import ClusterRelease
from operators.api.packages import ClusterPackageVersion
from operators.domain.plane.certificates import LeafForm, LeafSpec, RootForm, RootSpec
from operators.domain.plane.drift import ObjectId, stamped
from operators.domain.plane.inputs import Manifest, PlaneEndpoint
from operators.domain.plane.keys import CLUSTER_UID
from operators.domain.plane.ladder import FINALIZER
from operators.domain.plane.view import BusinessApi, LeafFault, Plan, PlaneView, RootKeys, Workload

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
PACKAGE = "kubernetes-1.35.4-r1"
ROOTS = (
    RootSpec("demo-ca", RootForm.CA, "kok demo/demo", "apiserver"),
    RootSpec("demo-etcd-ca", RootForm.CA, "kok etcd demo/demo", "etcd"),
)
LEAF = LeafSpec("demo-apiserver-tls", LeafForm.TLS, "apiserver", "demo-ca", "kube-apiserver")
SEALED: Manifest = {"metadata": {"name": "root-keys.demo.demo", "uid": "s-1", "annotations": {CLUSTER_UID: "u-1"}}}


def cluster(*, metadata: dict[str, Any] | None = None, **spec: Any) -> Cluster:
    """A Cluster in hand."""
    meta = {"name": "demo", "namespace": "demo", "uid": "u-1", "generation": 1, "finalizers": [FINALIZER], **(metadata or {})}
    wish = {
        "packageVersion": PACKAGE,
        "endpoint": {"type": "NodePort", "host": "10.0.0.1", "port": 31443},
        "deletionProtection": False,
        **spec,
    }
    return Cluster.parse({"apiVersion": "kok.dev/v1alpha1", "kind": "Cluster", "metadata": meta, "spec": wish})


def package() -> ClusterPackageVersion:
    image = {"image": "registry.k8s.io/x:1"}
    components = {
        "etcd": {"version": "3.6.8", **image},
        "apiserver": image,
        "controllerManager": image,
        "scheduler": image,
        "machineOperator": image,
    }
    addons = {"coredns": image, "kubeProxy": image, "cni": {"name": "flannel", **image}}
    spec = {"kubernetesVersion": "1.35.4", "planeRevision": "r1", "components": components, "addons": addons}
    return ClusterPackageVersion.parse(
        {"apiVersion": "kok.dev/v1alpha1", "kind": "ClusterPackageVersion", "metadata": {"name": PACKAGE}, "spec": spec}
    )


def release(version: str = PACKAGE) -> ClusterRelease:
    current = {"packageVersion": version, "by": "Spec", "at": "2026-03-01T00:00:00Z", "reason": "the spec asks for it"}
    return ClusterRelease.parse(
        {
            "apiVersion": "kok.dev/v1alpha1",
            "kind": "ClusterRelease",
            "metadata": {"name": "demo", "namespace": "demo"},
            "spec": {"current": current},
        }
    )


def manifest(kind: str, name: str, component: str, **spec: Any) -> Manifest:
    api = {"StatefulSet": "apps/v1", "Deployment": "apps/v1"}.get(kind, "v1")
    labels = {"app.kubernetes.io/component": component, "kok.dev/cluster": "demo"}
    return stamped({"apiVersion": api, "kind": kind, "metadata": {"name": name, "namespace": "demo", "labels": labels}, "spec": spec})


COMPONENTS: dict[str, tuple[Manifest, ...]] = {
    "isolation": (manifest("NetworkPolicy", "demo-default-deny", "isolation", policyTypes=["Ingress"]),),
    "endpoint": (manifest("Service", "demo-apiserver", "apiserver", type="NodePort"),),
    "etcd": (manifest("Service", "demo-etcd", "etcd", ports=[1]), manifest("StatefulSet", "demo-etcd", "etcd", replicas=1)),
    "apiserver": (manifest("Deployment", "demo-apiserver", "apiserver", replicas=1),),
    "controller-manager": (manifest("Deployment", "demo-controller-manager", "controller-manager", replicas=1),),
    "scheduler": (manifest("Deployment", "demo-scheduler", "scheduler", replicas=1),),
}
INSIDE = (manifest("ConfigMap", "inside-1", "inside"), manifest("ConfigMap", "inside-2", "inside"))
MASTERS = ("etcd", "apiserver", "controller-manager", "scheduler")


def up(component: str) -> Workload:
    return Workload(component, wanted=1, ready=1, settled=True)


def right(**changes: Any) -> PlaneView:
    """A plane on which there is nothing to do, with these changes."""
    objects = {ObjectId.of(each): each for manifests in COMPONENTS.values() for each in manifests}
    view = PlaneView(
        now=NOW,
        cluster=cluster(),
        shown={},
        namespace_label="demo",
        release=release(),
        package=package(),
        endpoint=PlaneEndpoint("10.0.0.1", 31443, ("10.0.0.1",)),
        objects=objects,
        roots=RootKeys(ROOTS, {}, SEALED),
        plan=Plan(COMPONENTS, {}, INSIDE),
        workloads={name: up(name) for name in MASTERS},
        business=BusinessApi("1.35.4"),
    )
    return replace(view, **changes)


def without(*names: tuple[str, str]) -> dict[ObjectId, Manifest]:
    """The objects of a plane that is right, but for these (kind, name)."""
    return {each: found for each, found in right().objects.items() if (each.kind, each.name) not in names}


def with_changed(kind: str, name: str, **spec: Any) -> dict[ObjectId, Manifest]:
    """The objects of a plane that is right, one of them with another spec."""
    objects = dict(right().objects)
    for each, found in objects.items():
        if (each.kind, each.name) == (kind, name):
            objects[each] = {**found, "spec": {**found["spec"], **spec}}
    return objects


def never_lived(**changes: Any) -> PlaneView:
    """A Cluster that has just been created."""
    blank: dict[str, Any] = {
        "cluster": cluster(metadata={"finalizers": []}),
        "namespace_label": "",
        "release": None,
        "objects": {},
        "roots": RootKeys(ROOTS, {"demo-ca": "it is missing", "demo-etcd-ca": "it is missing"}, None, live=True),
        "workloads": {},
        "unrecorded": ("etcd",),
    }
    return right(**{**blank, **changes})


def missing_leaf() -> tuple[LeafFault, ...]:
    return (LeafFault(LEAF, "it is missing"),)
