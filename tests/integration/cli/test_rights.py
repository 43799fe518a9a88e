"""The Cluster-Operator's rights on a real API server: enough to bring up a Machine-Operator, and no more than it may hand on."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator
from typing import Any

import pytest
import yaml

from meta_cluster.bootstrap.manifests import Installation, install_manifests
from operators.adapters.catalogue_files import FileCatalogue
from operators.adapters.kube import KubeClient
from operators.adapters.kube_credentials import kubeconfig_credentials
from operators.api import Cluster, ClusterPackageVersion
from operators.domain.plane.desired import desired_plane
from operators.domain.plane.inputs import PlaneEndpoint, PlaneInputs
from operators.ports.kube import Forbidden, KubePort, Manifest, NotFound
from tests.integration.api_server import ApiServer

OPERATOR = "system:serviceaccount:kok-system:kok-cluster-operator"
RBAC = ("Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding", "ServiceAccount")
ROLES_FIRST = {"ServiceAccount": 0, "Role": 1, "ClusterRole": 1}


def plane_objects() -> list[Manifest]:
    """Every object of the sample Cluster's plane that can be rendered without keys, and the Machine-Operator's rights."""
    files = FileCatalogue()
    cluster = Cluster.parse(
        next(m for m in files.manifests("manifests/samples") if m["kind"] == "Cluster" and m["metadata"]["name"] == "demo")
    )
    package = ClusterPackageVersion.parse(files.manifests("packages/cluster")[0])
    inputs = PlaneInputs(cluster, package, PlaneEndpoint("10.89.0.2", 31443, ("10.89.0.2",)), Digests())
    plane = desired_plane(inputs, files.plane_templates(package.spec.plane_revision))
    assert not plane.waiting
    return [manifest for manifests in plane.components.values() for manifest in manifests]


class Digests(dict[str, str]):
    """Every Secret is there."""

    def __missing__(self, key: str) -> str:
        return "0123456789abcdef"

    def __contains__(self, key: object) -> bool:
        return True

    def get(self, key: str, default: Any = None) -> str:
        return self[key]


@pytest.fixture(scope="module")
def rights(meta_server: ApiServer) -> ApiServer:
    """The server with the operators' RBAC and nothing else of ours."""
    meta_server.kubectl("create", "namespace", "kok-system")
    meta_server.kubectl("create", "namespace", "demo")
    rbac = [manifest for manifest in install_manifests(Installation(), {}, packages=()).base if manifest["kind"] in RBAC]
    meta_server.kubectl("apply", "--server-side", "-f", "-", stdin=yaml.safe_dump_all(rbac))
    return meta_server


@pytest.fixture
async def operator(rights: ApiServer) -> AsyncIterator[KubeClient]:
    """A KubePort as the Cluster-Operator."""
    groups = ["system:serviceaccounts", "system:serviceaccounts:kok-system", "system:authenticated"]
    client = KubeClient(kubeconfig_credentials(rights.kubeconfig(OPERATOR, groups=groups)), field_manager="kok-cluster-operator")
    yield client
    await client.close()


async def apply_when_seen(kube: KubePort, manifest: Manifest) -> None:
    """The authoriser sees a new Role a moment later, and says NotFound until then."""
    for _ in range(300):
        try:
            await kube.apply(manifest)
            return
        except NotFound:
            await asyncio.sleep(0.1)
    await kube.apply(manifest)


async def test_should_be_able_to_bring_up_every_object_of_a_plane(operator: KubePort) -> None:
    objects = plane_objects()
    assert {"Role", "ClusterRole", "StatefulSet", "Deployment", "NetworkPolicy"} <= {m["kind"] for m in objects}
    for manifest in sorted(objects, key=lambda m: ROLES_FIRST.get(m["kind"], 2)):
        await apply_when_seen(operator, manifest)


async def test_should_not_hand_on_what_it_does_not_have(operator: KubePort) -> None:
    role = copy.deepcopy(next(m for m in plane_objects() if m["kind"] == "Role"))
    role["metadata"]["name"] = "too-much"
    role["rules"].append({"apiGroups": [""], "resources": ["pods/exec"], "verbs": ["create"]})
    with pytest.raises(Forbidden, match="not currently held"):
        await operator.apply(role)


@pytest.mark.parametrize(
    ("verb", "group", "resource", "allowed"),
    [
        ("create", "apps", "deployments", True),
        ("create", "apps", "replicasets", False),
        ("get", "kok.dev", "clusterpackageversions", True),
        ("create", "kok.dev", "clusterpackageversions", False),
        ("delete", "", "pods", True),
        ("create", "", "pods", False),
        ("delete", "kok.dev", "clusters", False),
        ("delete", "", "nodes", False),
        ("delete", "", "namespaces", False),
        ("escalate", "rbac.authorization.k8s.io", "clusterroles", False),
        ("bind", "rbac.authorization.k8s.io", "clusterroles", False),
    ],
)
async def test_should_hold_only_the_rights_it_needs(operator: KubePort, verb: str, group: str, resource: str, allowed: bool) -> None:
    asked = {"verb": verb, "group": group, "resource": resource, "namespace": "demo"}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "metadata": {},
        "spec": {"resourceAttributes": asked},
    }
    answer = await operator.create(review)
    assert answer["status"]["allowed"] is allowed
