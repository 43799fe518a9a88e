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
class Ground:
    """The meta cluster that both sides use, and the package version that both render."""

    meta: Kubectl
    node: str
    package: ClusterPackageVersion


def by_kok(ground: Ground, name: str) -> float:
    """One sample: apply the Cluster, wait for the kubeconfig, write. Deletes it afterwards."""
    ground.meta.apply(_namespace(name))
    began = time.monotonic()
    ground.meta.apply(_wish(ground, name))
    try:
        return until_first_write(Client.of(_kubeconfig(ground.meta, name)), began=began)
    finally:
        ground.meta.run("delete", "clusters.kok.dev", name, "-n", name, "--timeout=120s", timeout=130)
        ground.meta.run("delete", "namespace", name, timeout=120)


def _kubeconfig(meta: Kubectl, name: str) -> str:
    found: list[str] = []

    def there() -> bool:
        data = (meta.get("secret", f"{name}-kubeconfig", "-n", name) or {}).get("data") or {}
        found[:] = [base64.b64decode(data["kubeconfig"]).decode()] if data.get("kubeconfig") else []
        return bool(found)

    wait_until("kubeconfig", there, timeout=120, every=0.05)
    return found[0]


def by_hand(ground: Ground, name: str) -> float:
    """One sample of the baseline. Keys and manifests are ready before the clock starts."""
    manifests, kubeconfig = _ready_made(ground, name)
    ground.meta.apply(_namespace(name))
    began = time.monotonic()
    ground.meta.apply(*manifests)
    try:
        return until_first_write(Client.of(kubeconfig), began=began)
    finally:
        ground.meta.run("delete", "namespace", name, timeout=120)


def _namespace(name: str) -> Manifest:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def _wish(ground: Ground, name: str) -> Manifest:
    wish = fleet.cluster(ground.package.metadata.name, host=ground.node, port=PORT)
    wish["metadata"] |= {"name": name, "namespace": name}
    wish["spec"]["deletionProtection"] = False
    wish["spec"]["etcd"]["storageClassName"] = volumes.CLASS
    del wish["spec"]["machineAccess"]
    return wish


def _ready_made(ground: Ground, name: str) -> tuple[list[Manifest], str]:
    endpoint, tunnel = PlaneEndpoint(ground.node, PORT, (ground.node,)), PlaneTunnel(ground.node, None)
    inputs = PlaneInputs(Cluster.parse(_wish(ground, name)), ground.package, endpoint, tunnel=tunnel)
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
        server=f"https://{ground.node}:{PORT}",
        user="admin",
    )
    kubeconfig = issue_leaf(admin, issued[names["ca"]].data, now).data["kubeconfig"]
    secrets = [_secret(name, secret, one) for secret, one in issued.items()]
    return [*secrets, *(each for parts in plane.components.values() for each in parts)], base64.b64decode(kubeconfig).decode()


def _secret(namespace: str, name: str, issued: Issued) -> Manifest:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Secret", "type": issued.type, "metadata": metadata, "data": dict(issued.data)}
