"""An API server of this folder's own, because uninstalling removes CRDs, and a hand that plays the Deployment controller."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress

import pytest

from operators.adapters.kube import KubeClient
from operators.adapters.kube_credentials import kubeconfig_credentials
from operators.ports.kube import Kind, KubeError, KubePort, Manifest, Ref
from tests.integration.api_server import ApiServer

DEPLOYMENT = Kind("apps/v1", "Deployment")


@pytest.fixture(scope="module")
def meta_server() -> Iterator[ApiServer]:
    """A meta cluster's API server, shared by the tests of one file."""
    with ApiServer() as server:
        yield server


@pytest.fixture
async def meta(meta_server: ApiServer) -> AsyncIterator[KubeClient]:
    """A KubePort that may do everything there."""
    client = KubeClient(kubeconfig_credentials(meta_server.kubeconfig("jane", groups=["system:masters"])), field_manager="kok-install")
    yield client
    await client.close()


@pytest.fixture
async def glass_broken(meta_server: ApiServer) -> AsyncIterator[KubeClient]:
    """As somebody whom admission lets write the journals, too."""
    identity = meta_server.kubeconfig("joe", groups=["system:masters", "kok:break-glass"])
    client = KubeClient(kubeconfig_credentials(identity), field_manager="test")
    yield client
    await client.close()


@pytest.fixture
async def dry_meta(meta_server: ApiServer) -> AsyncIterator[KubeClient]:
    """The same, trying only."""
    credentials = kubeconfig_credentials(meta_server.kubeconfig("jane", groups=["system:masters"]))
    client = KubeClient(credentials, field_manager="kok-install", dry_run=True)
    yield client
    await client.close()


async def play_deployment_controller(kube: KubePort) -> None:
    """Say of every Deployment of kok-system that its pods are there, until cancelled; as a controller does, also after a call that failed."""
    while True:
        with suppress(KubeError):
            for deployment in (await kube.list(DEPLOYMENT, namespace="kok-system")).items:
                await _say_that_its_pods_are_there(kube, deployment)
        await asyncio.sleep(0.2)


async def _say_that_its_pods_are_there(kube: KubePort, deployment: Manifest) -> None:
    replicas = deployment["spec"]["replicas"]
    status = {"observedGeneration": deployment["metadata"]["generation"], "replicas": replicas}
    status |= {"updatedReplicas": replicas, "availableReplicas": replicas, "readyReplicas": replicas}
    if deployment.get("status") != status:
        await kube.patch_json(Ref.of(deployment), {"status": status}, subresource="status")  # type: ignore[arg-type]


@pytest.fixture
async def deployments_become_ready(meta: KubeClient) -> AsyncIterator[None]:
    """While the test runs, Deployments become available."""
    task = asyncio.create_task(play_deployment_controller(meta))
    yield
    task.cancel()
