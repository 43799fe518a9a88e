"""`kok get -w` outlives a server that goes and comes: what it says on its way out is no reason to end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from meta_cluster.cli.kinds import kind_named
from meta_cluster.cli.observe import _followed
from operators.ports.kube import Kind, KubePort, Listing, Manifest, TooManyRequests, WatchEvent
from tests.integration.kube_proxies import RecordingKube

CLUSTER = kind_named("cluster")
GOING = "The apiserver is shutting down, please try again later."


class GoingKube(RecordingKube):
    """The first watch is answered as an API server answers that is about to end; a first list, too, if asked for."""

    lists_fail = False
    refused = 0

    async def list(self, kind: Kind, **options: Any) -> Listing:
        if self.lists_fail:
            raise TooManyRequests(GOING)
        return await super().list(kind, **options)

    def watch(self, kind: Kind, **options: Any) -> AsyncIterator[WatchEvent]:
        if not self.refused:
            self.refused += 1
            raise TooManyRequests(GOING)
        return super().watch(kind, **options)


def cluster(namespace: str, **labels: str) -> Manifest:
    spec = {"packageVersion": "kubernetes-1.35.4-r1", "endpoint": {"type": "ClusterIP"}}
    metadata = {"name": "followed", "namespace": namespace, "labels": labels}
    return {"apiVersion": "kok.dev/v1alpha1", "kind": "Cluster", "metadata": metadata, "spec": spec}


async def test_should_go_on_following_when_the_server_says_that_it_ends(kube: KubePort, crds: None, namespace: str) -> None:
    going = GoingKube(kube)
    seen = _followed(going, CLUSTER, namespace, "")
    await kube.apply(cluster(namespace))
    assert (await asyncio.wait_for(anext(seen), 20))["metadata"]["name"] == "followed"
    await kube.apply(cluster(namespace, after="the-refusal"))
    assert (await asyncio.wait_for(anext(seen), 20))["metadata"]["labels"] == {"after": "the-refusal"}
    assert going.refused == 1


async def test_should_end_when_the_first_question_gets_no_answer(kube: KubePort, crds: None, namespace: str) -> None:
    going = GoingKube(kube)
    going.lists_fail = True
    with pytest.raises(TooManyRequests, match="shutting down"):
        await anext(_followed(going, CLUSTER, namespace, ""))
