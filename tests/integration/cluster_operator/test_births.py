"""A Service with a NodePort of its own survives any cut of its creation: the port is never lost."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Iterator
from itertools import count

import pytest

from operators.adapters.kube import KubeClient
from operators.cluster_operator.cluster.act import apply_whole
from operators.cluster_operator.cluster.births import create_before_apply, wants_node_port
from operators.ports.kube import Invalid, Manifest, Ref

PORTS: Iterator[int] = count(30100)
CUTS = 60


def service(namespace: str, number: int) -> Manifest:
    ports = [{"name": "https", "protocol": "TCP", "port": 6443, "targetPort": "https", "nodePort": number}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": f"apiserver-{number}", "namespace": namespace},
        "spec": {"type": "NodePort", "ports": ports},
    }


async def born(kube: KubeClient, manifest: Manifest) -> None:
    assert wants_node_port(manifest)
    await create_before_apply(kube, manifest)
    await apply_whole(kube, manifest)


async def lost_ports(kube: KubeClient, namespace: str, write: Callable[[KubeClient, Manifest], Awaitable[object]]) -> int:
    """How many of many Services could not be had after their creation was cut at some moment, even after a while."""
    services = [service(namespace, next(PORTS)) for _ in range(CUTS)]
    began = asyncio.get_running_loop().time()
    await write(kube, services[0])
    whole = asyncio.get_running_loop().time() - began
    for each in services[1:]:
        cut = asyncio.ensure_future(write(kube, each))
        await asyncio.sleep(random.uniform(0.0, whole))
        cut.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await cut
    await asyncio.sleep(2)
    lost = 0
    for each in services:
        try:
            await write(kube, each)
        except Invalid:
            lost += 1
    return lost


async def test_should_lose_no_port_when_the_creation_is_cut(kube: KubeClient, namespace: str) -> None:
    assert await lost_ports(kube, namespace, lambda port, manifest: port.apply(manifest)) > 0, "positive control: a plain apply loses some"
    assert await lost_ports(kube, namespace, born) == 0


async def test_should_own_every_field_by_server_side_apply_alone(kube: KubeClient, namespace: str) -> None:
    manifest = service(namespace, next(PORTS))
    await born(kube, manifest)
    found = await kube.get(Ref.of(manifest))
    assert found is not None
    assert [(entry["manager"], entry["operation"]) for entry in found["metadata"]["managedFields"]] == [("test", "Apply")]
    await born(kube, manifest)
    again = await kube.get(Ref.of(manifest))
    assert again is not None
    assert again["metadata"]["resourceVersion"] == found["metadata"]["resourceVersion"], "a second birth changes nothing"


async def test_should_tell_of_a_port_that_another_service_has(kube: KubeClient, namespace: str) -> None:
    manifest = service(namespace, next(PORTS))
    await born(kube, manifest)
    rival = {**manifest, "metadata": {"name": "rival", "namespace": namespace}}
    with pytest.raises(Invalid, match="already allocated"):
        await born(kube, rival)
