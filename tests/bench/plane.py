"""Plane ready: from apply to the first authorised write, by kok and bare, in turn on the same lab.

Bare is a script with everything in its hands: the same rendered manifests and PKI made beforehand, one `kubectl apply`, no operator.
"""

from __future__ import annotations

import base64
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from meta_cluster.demo import fleet
from meta_cluster.demo.kubectl import Kubectl, wait_until
from operators.adapters.catalogue_files import FileCatalogue
from operators.api import Cluster, ClusterPackageVersion
from operators.domain.plane.certificates import LeafForm, LeafSpec, digest_of, leaf_specs, root_specs
from operators.domain.plane.desired import desired_plane
from operators.domain.plane.inputs import Names, PlaneEndpoint, PlaneInputs, PlaneTunnel
from operators.services.pki import Issued, issue_leaf, new_root
from tests.bench import volumes
from tests.bench.first_write import Client, until_first_write

PORT = 31466
Manifest = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Shape:
    """What is made: the smallest plane, unless said otherwise."""

    members: int = 1
    replicas: int = 1
    port: int = PORT


SINGLE = Shape()


@dataclass(frozen=True, slots=True)
class Ground:
    """The meta cluster that both sides use, and the package version that both render."""

    meta: Kubectl
    node: str
    package: ClusterPackageVersion


def by_kok(ground: Ground, name: str, shape: Shape = SINGLE) -> float:
    """One sample: apply the Cluster, wait for the kubeconfig, write; of a plane with several masters, all of them. Deletes it afterwards."""
    ground.meta.apply(namespace_of(name))
    began = time.monotonic()
    ground.meta.apply(wish(ground, name, shape))
    try:
        return _until_ready(ground, name, shape, kubeconfig_of(ground.meta, name), began)
    finally:
        remove(ground, name)


def remove(ground: Ground, name: str) -> None:
    """End a plane that kok made, and its namespace."""
    ground.meta.run("delete", "clusters.kok.dev", name, "-n", name, "--timeout=240s", timeout=250)
    ground.meta.run("delete", "namespace", name, timeout=120)


def _until_ready(ground: Ground, name: str, shape: Shape, kubeconfig: str, began: float) -> float:
    first = until_first_write(Client.of(kubeconfig), began=began)
    if shape.members == shape.replicas == 1:
        return first
    wait_until("all masters ready", lambda: masters_ready(ground.meta, name, shape), timeout=240, every=0.05)
    return time.monotonic() - began


def masters_ready(meta: Kubectl, name: str, shape: Shape) -> bool:
    """Whether every member of etcd and every API server is."""
    etcd, apiserver = (
        meta.get(kind, f"{name}-{part}", "-n", name) or {} for kind, part in (("statefulset", "etcd"), ("deployment", "apiserver"))
    )
    ready = [int((each.get("status") or {}).get("readyReplicas") or 0) for each in (etcd, apiserver)]
    return ready == [shape.members, shape.replicas]


def kubeconfig_of(meta: Kubectl, name: str, *, timeout: float = 120) -> str:
    """What its Secret says, as soon as it is there."""
    found: list[str] = []

    def there() -> bool:
        data = (meta.get("secret", f"{name}-kubeconfig", "-n", name) or {}).get("data") or {}
        found[:] = [base64.b64decode(data["kubeconfig"]).decode()] if data.get("kubeconfig") else []
        return bool(found)

    wait_until("kubeconfig", there, timeout=timeout, every=0.05)
    return found[0]


def by_hand(ground: Ground, name: str, shape: Shape = SINGLE) -> float:
    """One sample of the baseline. Keys and manifests are ready before the clock starts."""
    manifests, kubeconfig = ready_made(ground, name, shape)
    ground.meta.apply(namespace_of(name))
    began = time.monotonic()
    ground.meta.apply(*manifests)
    try:
        return _until_ready(ground, name, shape, kubeconfig, began)
    finally:
        ground.meta.run("delete", "namespace", name, timeout=120)


def namespace_of(name: str) -> Manifest:
    """That namespace."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def wish(ground: Ground, name: str, shape: Shape = SINGLE) -> Manifest:
    """The Cluster, in a namespace of its name."""
    made = fleet.cluster(ground.package.metadata.name, host=ground.node, port=shape.port)
    made["metadata"] |= {"name": name, "namespace": name}
    made["spec"]["deletionProtection"] = False
    made["spec"]["masters"] = {"replicas": shape.replicas}
    made["spec"]["etcd"] |= {"members": shape.members, "storageClassName": volumes.CLASS}
    del made["spec"]["machineAccess"]
    return made


def ready_made(ground: Ground, name: str, shape: Shape = SINGLE) -> tuple[list[Manifest], str]:
    """Every object of that plane in the meta cluster, keys and all, and an admin's kubeconfig."""
    endpoint, tunnel = PlaneEndpoint(ground.node, shape.port, (ground.node,)), PlaneTunnel(ground.node, None)
    inputs = PlaneInputs(Cluster.parse(wish(ground, name, shape)), ground.package, endpoint, tunnel=tunnel)
    now = datetime.now(UTC)
    issued = {spec.secret: new_root(spec, now) for spec in root_specs(inputs)}
    for spec in leaf_specs(inputs):
        issued[spec.secret] = issue_leaf(spec, issued[spec.signer].data, now)
    inputs = replace(inputs, secret_digests={secret: digest_of(one.data) for secret, one in issued.items()})
    plane = desired_plane(inputs, FileCatalogue().plane_templates(ground.package.spec.plane_revision))
    assert not plane.waiting, plane.waiting
    names = Names.of(inputs.cluster)
    admin = LeafSpec(
        "admin",
        LeafForm.Kubeconfig,
        "apiserver",
        names["ca"],
        "admin",
        "system:masters",
        server=f"https://{ground.node}:{shape.port}",
        user="admin",
    )
    kubeconfig = issue_leaf(admin, issued[names["ca"]].data, now).data["kubeconfig"]
    secrets = [_secret(name, secret, one) for secret, one in issued.items()]
    return [*secrets, *(each for parts in plane.components.values() for each in parts)], base64.b64decode(kubeconfig).decode()


def _secret(namespace: str, name: str, issued: Issued) -> Manifest:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Secret", "type": issued.type, "metadata": metadata, "data": dict(issued.data)}
