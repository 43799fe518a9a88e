"""A namespace is not deleted under its Cluster."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import yaml

from operators.cluster_operator.cluster import kinds
from operators.ports.kube import Forbidden, Ref
from tests.integration.cluster_operator.world_of_planes import Stage

pytestmark = pytest.mark.integration
POLICY = Path(__file__).parents[3] / "manifests" / "operators" / "base" / "namespace-admission.yaml"


async def test_should_refuse_to_delete_a_namespace_that_holds_a_cluster_until_it_has_gone(stage: Stage) -> None:
    policy = list(yaml.safe_load_all(POLICY.read_text()))
    for manifest in policy:
        await stage.admin.apply(manifest)
    try:
        await stage.create()
        operator = stage.operator()
        await stage.settle(operator)
        namespace = kinds.NAMESPACE.ref(stage.namespace)
        refusal = await _refusal(stage, namespace)
        assert f"delete the Cluster and its MachinePools first: kubectl -n {stage.namespace} delete" in refusal
        await stage.admin.delete(kinds.CLUSTER.ref("demo", stage.namespace))
        await stage.until_gone(operator)
        assert await stage.admin.delete(namespace)
    finally:
        for manifest in policy:
            await stage.admin.delete(Ref.of(manifest))


async def _refusal(stage: Stage, namespace: Ref) -> str:
    """A policy takes effect some time after it was created; asking is a server-side dry run by label, not a deletion."""
    probe = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": f"{stage.namespace}-probe", "labels": {"kok.dev/cluster": "x"}}}
    for _ in range(300):
        await stage.admin.apply(probe)
        try:
            await stage.admin.delete(Ref.of(probe))
        except Forbidden:
            break
        probe["metadata"]["name"] += "x"  # type: ignore[index]
        await asyncio.sleep(0.2)
    with pytest.raises(Forbidden) as refused:
        await stage.admin.delete(namespace)
    await stage.admin.patch_json(Ref.of(probe), {"metadata": {"labels": {"kok.dev/cluster": None}}})
    return refused.value.message
