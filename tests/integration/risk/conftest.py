"""A risk centre, a requester and a clock on the shared API server, with a Ledger in the test's own namespace."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from operators.adapters.grants_kube import KubeGrants
from operators.adapters.kube import KubeClient
from tests.integration.risk.risk_centres import Centre, Clock, empty_ledger


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def centre(crds: None, kube: KubeClient, namespace: str, clock: Clock) -> Centre:
    """With an empty Ledger, and a Cluster `demo` to look for."""
    await kube.create(empty_ledger(namespace))
    return Centre(kube, namespace, clock)


@pytest.fixture
def grants(kube: KubeClient, clock: Clock) -> KubeGrants:
    return KubeGrants(kube, now=clock.now)


@pytest.fixture
def another_kube(kube_as: Callable[..., KubeClient]) -> KubeClient:
    """A second process's connection."""
    return kube_as("test-admin", "system:masters")
