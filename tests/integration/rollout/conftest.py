"""A port that reads a list anew only when it changed, and fleets that go with their test: every pass looks at all Clusters that there are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from operators.adapters.kube import KubeClient
from operators.cluster_operator.cluster import kinds as cluster_kinds
from operators.cluster_operator.rollout import kinds
from operators.ports.kube import KubePort, Ref
from tests.integration.remembered_lists import EtcdLook, RememberingKube
from tests.integration.rollout.fleet import Fleet


@pytest.fixture
async def kube(kube_as: Callable[..., KubeClient], etcd_look: EtcdLook, no_controllers: None) -> AsyncIterator[KubePort]:
    """A KubePort that may do everything on the shared server."""
    port = RememberingKube(kube_as("test-admin", "system:masters"), etcd_look)
    yield port
    fleets, Fleet.made = Fleet.made, []
    await asyncio.gather(*(_forget(port, fleet) for fleet in fleets))


async def _forget(kube: KubePort, fleet: Fleet) -> None:
    """Its Clusters with their releases, and its rollouts."""
    gone: list[Ref] = []
    for key in fleet.clusters:
        namespace, name = key.split("/")
        gone += [kind.ref(name, namespace) for kind in (cluster_kinds.CLUSTER, cluster_kinds.RELEASE)]
    for rollout in (await kube.list(kinds.ROLLOUT)).items:
        if rollout["spec"]["selector"].get("matchLabels") == {"fleet": fleet.name}:
            gone.append(kinds.ROLLOUT.ref(rollout["metadata"]["name"]))
    for ref in gone:
        await kube.delete(ref)
