"""The verbs of KubePort against a real API server."""

from __future__ import annotations

import pytest

from operators.ports.kube import Kind, Ref

pytestmark = pytest.mark.integration


async def test_should_read_back_what_was_applied(kube, namespace):
    ref = Ref("v1", "ConfigMap", namespace, "one")
    assert await kube.get(ref) is None
    made = await kube.apply(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one", "namespace": namespace}, "data": {"a": "1"}}
    )
    assert made["data"] == {"a": "1"}
    assert (await kube.get(ref))["metadata"]["uid"] == made["metadata"]["uid"]
    assert [i["metadata"]["name"] for i in (await kube.list(Kind("v1", "ConfigMap"), namespace=namespace)).items] == ["one"]
