"""A real API server takes the CRDs without complaint, and stores every sample whole."""

from typing import Any

import pytest

from operators.api import KINDS
from operators.ports.kube import Kind, KubePort, Ref
from tests.sample_manifests import sample_manifests

CRD = Kind("apiextensions.k8s.io/v1", "CustomResourceDefinition")
SAMPLES = sample_manifests()
MODELS = {kind.__name__: kind for kind in KINDS}


def missing_in(wanted: Any, stored: Any, path: str = "") -> list[str]:
    """Paths of `wanted` that `stored` does not hold."""
    if wanted in ({}, []) and stored is None:
        return []  # nothing by another name
    if isinstance(wanted, dict) and isinstance(stored, dict):
        return [p for key, value in wanted.items() for p in missing_in(value, stored.get(key), f"{path}.{key}")]
    if isinstance(wanted, list) and isinstance(stored, list) and len(wanted) == len(stored):
        return [p for index, value in enumerate(wanted) for p in missing_in(value, stored[index], f"{path}.{index}")]
    return [] if wanted == stored else [path]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
async def test_should_be_established_and_structural(kube: KubePort, crds: None, kind: Any) -> None:
    crd = await kube.get(CRD.ref(f"{kind.INFO.plural}.kok.dev"))
    assert crd is not None
    conditions = {c["type"]: (c["status"], c.get("message")) for c in crd["status"]["conditions"]}
    assert conditions.pop("Established")[0] == "True"
    assert conditions.pop("NamesAccepted")[0] == "True"
    assert conditions == {}, "the API server complains"


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda s: f"{s['kind']} {s['metadata']['name']}")
async def test_should_store_a_sample_whole(kube: KubePort, crds: None, sample: dict[str, Any]) -> None:
    namespace = sample["metadata"].get("namespace")
    if namespace:
        await kube.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    await kube.apply(sample)
    stored = await kube.get(Ref.of(sample))
    assert stored is not None
    assert missing_in(sample, stored) == []
    model = MODELS[sample["kind"]].parse(stored)
    assert missing_in(model.manifest()["spec"], stored["spec"]) == [], "the model holds what the server does not"
    second = await kube.apply(sample)  # a status that only its default fills is stored by the first write after the creation
    third = await kube.apply(sample)
    assert third["metadata"]["resourceVersion"] == second["metadata"]["resourceVersion"], "applied again, written again"
    await kube.delete(Ref.of(sample))
