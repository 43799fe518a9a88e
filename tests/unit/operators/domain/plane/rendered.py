"""Planes to test with: a Cluster, a package version, the templates of the work tree, and inputs with invented digests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from operators.api import Cluster, ClusterPackageVersion
from operators.domain.plane.certificates import leaf_specs, root_specs
from operators.domain.plane.inputs import PlaneEndpoint, PlaneInputs, PlaneTunnel
from operators.yaml_text import read

ROOT = Path(__file__).parents[5]
REVISION = ROOT / "packages" / "plane" / "r1"
PACKAGE = ROOT / "packages" / "cluster" / "kubernetes-1.35.4-r1.yaml"
NODE_PORT = {"type": "NodePort", "host": "10.89.0.2", "port": 31443}
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def templates(folder: Path = REVISION) -> dict[str, str]:
    """As the catalogue reads them."""
    return {path.name: path.read_text() for path in sorted(folder.glob("*.j2"))}


def a_cluster(name: str = "demo", **spec: Any) -> Cluster:
    """A Cluster in a namespace of its name; `spec` over small defaults."""
    wish = {"packageVersion": "kubernetes-1.35.4-r1", "endpoint": NODE_PORT, "machineAccess": {"sshKeySecretName": "demo-ssh"}, **spec}
    metadata = {"name": name, "namespace": name, "uid": "5a4b7c0e-0000-4000-8000-000000000001"}
    kept = {field: value for field, value in wish.items() if value is not None}
    return Cluster.parse({"apiVersion": "kok.dev/v1alpha1", "kind": "Cluster", "metadata": metadata, "spec": kept})


def a_package(*, konnectivity: bool = True, **flags: Mapping[str, str]) -> ClusterPackageVersion:
    """The package version of the catalogue, with flags per component (camelCase) set in it."""
    manifest = read(PACKAGE.read_text())
    if not konnectivity:
        del manifest["spec"]["components"]["konnectivity"]
    for component, values in flags.items():
        manifest["spec"]["components"][component]["flags"] = dict(values)
    return ClusterPackageVersion.parse(manifest)


def some_inputs(
    cluster: Cluster | None = None, package: ClusterPackageVersion | None = None, *, endpoint: PlaneEndpoint | None = None
) -> PlaneInputs:
    """Inputs with every Secret there."""
    at = endpoint or PlaneEndpoint("10.89.0.2", 31443, ("10.89.0.2",))
    inputs = PlaneInputs(cluster or a_cluster(), package or a_package(), at, tunnel=PlaneTunnel(at.host, 32132))
    secrets = [spec.secret for spec in (*root_specs(inputs), *leaf_specs(inputs))]
    return replace(inputs, secret_digests={name: f"digest{number:010d}" for number, name in enumerate(secrets)})
