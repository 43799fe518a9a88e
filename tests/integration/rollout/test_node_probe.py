"""A pod on one node, against a real API server; the test plays the node's kubelet."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any
from uuid import uuid4

import pytest

from operators.adapters.kube import KubeClient
from operators.ports.kube import AlreadyExists, NotFound, Ref, Subresource
from operators.services.probe import NAMESPACE, POD, ProbeResult, probe

pytestmark = pytest.mark.usefixtures("crds")
FULL = {"phase": "Failed", "reason": "OutOfpods", "message": "Node didn't have enough resource: pods"}
CRASHED = {"phase": "Failed", "reason": "Evicted"}


async def asked(kube: KubeClient, status: dict[str, Any] | None, deadline: float) -> ProbeResult:
    """A probe of a node whose kubelet says this of every pod; None: it says nothing."""
    node = f"n-{uuid4().hex[:8]}"
    for manifest in (
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": NAMESPACE}},
    ):
        with suppress(AlreadyExists):
            await kube.create(manifest)

    async def kubelet() -> None:
        while status is not None:
            for pod in (await kube.list(POD, namespace=NAMESPACE)).items:
                if pod["spec"].get("nodeName") == node and pod["status"].get("phase") == "Pending":
                    with suppress(NotFound):
                        await kube.patch_json(Ref.of(pod), {"status": status}, subresource=Subresource.Status)
            await asyncio.sleep(0.05)

    task = asyncio.create_task(kubelet())
    try:
        return await probe(kube, image="registry.k8s.io/pause:3.10", node=node, deadline=deadline)
    finally:
        task.cancel()
        await asyncio.wait({task})
        left = [pod for pod in (await kube.list(POD, namespace=NAMESPACE)).items if pod["spec"].get("nodeName") == node]
        assert not left, "it cleans up after itself"


@pytest.mark.parametrize(("status", "good"), [({"phase": "Running"}, True), (FULL, True), (CRASHED, False), (None, False)])
async def test_should_see_whether_that_node_starts_a_pod(kube: KubeClient, status: dict[str, Any] | None, good: bool) -> None:
    # Short only where it is waited for in vain: a pod whose creation is given up while it is made is left to the next probe.
    result = await asked(kube, status, deadline=20.0 if good else 3.0)
    assert (result.good, result.is_of_server) == (good, False)
    assert result.reason == ("" if good else "the pod did not run within 3 s")
