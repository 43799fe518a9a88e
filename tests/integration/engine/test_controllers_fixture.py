"""The optional kube-controller-manager of the shared server does its part: what depends on a deleted object goes, and namespaces end."""

from __future__ import annotations

import pytest

from operators.ports.kube import Kind, Ref
from tests.integration.engine.test_process import eventually

pytestmark = pytest.mark.integration

CONFIG_MAP = Kind("v1", "ConfigMap")


async def test_should_collect_what_belongs_to_nobody(kube, namespace, api_server_with_controllers):
    head = {"apiVersion": "v1", "kind": "ConfigMap"}
    owner = await kube.create({**head, "metadata": {"name": "owner", "namespace": namespace}})
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"]}
    await kube.create({**head, "metadata": {"name": "owned", "namespace": namespace, "ownerReferences": [reference]}})
    await kube.delete(CONFIG_MAP.ref("owner", namespace))

    async def is_gone() -> bool:
        return await kube.get(CONFIG_MAP.ref("owned", namespace)) is None

    await eventually(is_gone, 60)
    await kube.delete(Ref("v1", "Namespace", "", namespace))

    async def namespace_is_gone() -> bool:
        return await kube.get(Ref("v1", "Namespace", "", namespace)) is None

    await eventually(namespace_is_gone, 60)
