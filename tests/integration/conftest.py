"""Fixtures for everything that needs a real API server: one per test run, a namespace per test, a KubePort as its admin."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from operators.adapters.kube import KubeClient
from operators.adapters.kube_credentials import kubeconfig_credentials
from tests.integration.api_server import LAZY, ApiServer
from tests.integration.remembered_lists import EtcdLook

HERE = Path(__file__).parent
LAZY.setdefault("GOMAXPROCS", "1")  # a dozen servers share two cores: threads that look for work in each other's queues only cost


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs a host of the lab."""
    for item in items:
        if item.path.parent == HERE / "adapters_host":
            item.add_marker(pytest.mark.lab)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object | None:
    """In the process that starts the workers: files may run beside each other (`-n 3 --dist loadgroup`), each worker with servers of its own."""
    if config.getoption("dist") != "loadgroup":
        return None
    from tests.integration.balance import FolderScheduling

    return FolderScheduling(config, log)


@pytest.fixture(scope="session")
def api_server() -> Iterator[ApiServer]:
    """The one that all tests share; never stop it. A test that breaks its server asks for `own_api_server`."""
    with ApiServer() as server:
        yield server


@pytest.fixture
def api_server_with_controllers(api_server: ApiServer) -> ApiServer:
    """The shared one, with kube-controller-manager from now on: garbage collection, pods of workloads, namespaces' ends.

    Also for tests that did not ask, unless they play its part themselves and ask for `no_controllers`.
    """
    api_server.start_controller_manager()
    return api_server


@pytest.fixture
def no_controllers(api_server: ApiServer) -> None:
    """Nobody but the test says what of a workload is ready; whoever asks for controllers later has them again."""
    api_server.stop_controller_manager()


@pytest.fixture
def own_api_server() -> Iterator[ApiServer]:
    """One to stop, start and break."""
    with ApiServer() as server:
        yield server


_credentials_of = functools.cache(kubeconfig_credentials)


@pytest.fixture
async def kube_as(api_server: ApiServer) -> AsyncIterator[Callable[..., KubeClient]]:
    """Makes KubePorts for identities: `kube_as("jane", "developers")`; the first word is the user, the others are groups."""
    clients: list[KubeClient] = []

    def make(user: str, *groups: str, field_manager: str = "test") -> KubeClient:
        credentials = _credentials_of(api_server.kubeconfig(user, groups=groups))
        clients.append(KubeClient(credentials, field_manager=field_manager))
        return clients[-1]

    yield make
    for client in clients:
        await client.close()


@pytest.fixture
def kube(kube_as: Callable[..., KubeClient]) -> KubeClient:
    """A KubePort that may do everything on the shared server."""
    return kube_as("test-admin", "system:masters")


@pytest.fixture(scope="session")
def etcd_look(api_server: ApiServer) -> EtcdLook:
    """What the shared server's etcd says, for `RememberingKube`."""
    return EtcdLook(api_server.etcd_port)


@pytest.fixture
async def namespace(kube: KubeClient) -> str:
    """A namespace of the test's own. It is not waited for at the end: the server goes with the run."""
    name = f"test-{uuid4().hex[:10]}"
    await kube.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    return name


@pytest.fixture(scope="session")
def crds(api_server: ApiServer) -> None:
    """The shared server knows every kind of ours, the business clusters' too."""
    api_server.install_kinds()
