"""Fixtures: the meta API server with controllers and kinds, the business server, a Stage per test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from uuid import uuid4

import pytest

from operators.adapters.kube import KubeClient
from operators.adapters.kube_credentials import kubeconfig_credentials
from operators.adapters.sim_etcd import SimEtcd, SimEtcds
from operators.ports.kube import AlreadyExists, KubePort
from tests.integration.api_server import ApiServer
from tests.integration.cluster_operator.etcd_pods import EtcdPods
from tests.integration.cluster_operator.world_of_planes import SSH_KEY, SYSTEM, GenerousGrants, OneBusinessServer, Stage, package_manifest
from tests.integration.remembered_lists import EtcdLook, RememberingKube


@pytest.fixture(scope="session")
def business_server() -> Iterator[ApiServer]:
    """The API server that answers for every business cluster."""
    with ApiServer() as server:
        yield server


@pytest.fixture(scope="session")
def business_look(business_server: ApiServer) -> EtcdLook:
    """What its etcd says."""
    return EtcdLook(business_server.etcd_port)


@pytest.fixture
async def business(business_server: ApiServer, business_look: EtcdLook) -> AsyncIterator[KubePort]:
    """A port to it that may do everything, with the operator's field manager."""
    client = KubeClient(kubeconfig_credentials(business_server.admin_kubeconfig.read_text()), field_manager="kok-cluster-operator")
    yield RememberingKube(client, business_look)
    await client.close()


@pytest.fixture
async def meta(kube_as: Callable[..., KubeClient], api_server_with_controllers: ApiServer, etcd_look: EtcdLook, crds: None) -> KubePort:
    """A port to the meta cluster, with what every Cluster needs."""
    kube = RememberingKube(kube_as("test-admin", "system:masters", field_manager="kok-cluster-operator"), etcd_look)
    for manifest in ({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM}}, package_manifest()):
        try:
            await kube.create(manifest)
        except AlreadyExists:
            continue
    return kube


@pytest.fixture
async def stage(meta: KubePort, business: KubePort, namespace: str) -> AsyncIterator[Stage]:
    """A namespace for one Cluster."""
    made = Stage(meta, OneBusinessServer(business), namespace)
    yield made
    await made.clear()


@pytest.fixture(scope="module")
def lasting(api_server: ApiServer) -> Iterator[list[str]]:
    """The namespace of the file's own plane, once there is one."""
    namespaces: list[str] = []
    yield namespaces
    for namespace in namespaces:
        api_server.kubectl("delete", "namespace", namespace, "--wait=false")
        if api_server.kubectl("-n", namespace, "get", "clusters.kok.dev", "demo", "--ignore-not-found", "-o", "name"):
            api_server.kubectl(
                "-n", namespace, "patch", "clusters.kok.dev", "demo", "--type=merge", "-p", '{"metadata":{"finalizers":null}}'
            )


@pytest.fixture
async def plane(meta: KubePort, business: KubePort, lasting: list[str]) -> Stage:
    """A whole plane with a Machine-Operator, one for all tests of a file that ask for it: each mends what it breaks, or the next gets another."""
    for namespace in lasting:
        stage = Stage(meta, OneBusinessServer(business), namespace)
        try:
            await stage.settle(stage.operator(), patience=30.0)
        except AssertionError:
            lasting.clear()
        else:
            return stage
    stage = Stage(meta, OneBusinessServer(business), f"test-{uuid4().hex[:10]}")
    await meta.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": stage.namespace}})
    key = {"type": "kubernetes.io/ssh-auth", "stringData": {"ssh-privatekey": SSH_KEY}}
    await meta.create({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "ssh", "namespace": stage.namespace}, **key})
    await stage.create(machineAccess={"sshKeySecretName": "ssh"})
    await stage.settle(stage.operator())
    lasting.append(stage.namespace)
    return stage


@pytest.fixture
def members(stage: Stage) -> EtcdPods:
    """The stage with an etcd whose members answer."""
    etcds = SimEtcds(GenerousGrants())
    stage.etcd = etcds
    etcd = etcds.etcds[f"{stage.namespace}/demo-etcd"] = SimEtcd()
    stage.pods = EtcdPods(stage, etcd)
    return stage.pods
