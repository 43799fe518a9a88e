"""The API server refuses bad input with the reason, and takes what lies right beside it."""

import copy
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest

from operators.ports.kube import Invalid, KubePort, Manifest, Ref
from tests.integration.api.refusals import ABSENT, REFUSALS, Refusal
from tests.sample_manifests import sample_manifests

SAMPLES = {(m["kind"], m["metadata"]["name"]): m for m in sample_manifests()}
TITLES = [f"{row.kind}: {row.title}" for row in REFUSALS]


def edited(manifest: Manifest, path: str, value: Any) -> Manifest:
    """A copy of `manifest` with one field changed, or removed."""
    result = copy.deepcopy(manifest)
    node: Any = result
    *parents, last = path.split(".")
    for part in parents:
        node = node[int(part)] if part.isdigit() else node.setdefault(part, {})
    if value is ABSENT:
        del node[last]
    else:
        node[int(last) if last.isdigit() else last] = copy.deepcopy(value)
    return result


@pytest.fixture
async def place(kube: KubePort) -> AsyncIterator[str]:
    """A namespace of its own."""
    name = f"refusals-{uuid4().hex[:8]}"
    await kube.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    yield name
    await kube.delete(Ref("v1", "Namespace", "", name))


def sample_of(row: Refusal, place: str) -> Manifest:
    """The sample of a row, in a namespace (or under a name) of its own."""
    sample = copy.deepcopy(SAMPLES[row.kind, row.name])
    if "namespace" in sample["metadata"]:
        sample["metadata"]["namespace"] = place
    else:
        sample["metadata"]["name"] = f"{row.name}-{place}"
    return sample


async def send(kube: KubePort, row: Refusal, place: str, value: Any) -> None:
    """Create the sample as the row says and send the value; what was stored is removed again."""
    sample = sample_of(row, place)
    if row.stored:
        await kube.create(sample)
    try:
        manifest = edited(sample, row.path, value)
        await (kube.apply(manifest) if row.stored else kube.create(manifest))
        await kube.delete(Ref.of(manifest))
    finally:
        await kube.delete(Ref.of(sample))


@pytest.mark.parametrize("row", REFUSALS, ids=TITLES)
async def test_should_refuse_bad_input_and_say_why(kube: KubePort, crds: None, place: str, row: Refusal) -> None:
    with pytest.raises(Invalid) as refusal:
        await send(kube, row, place, row.bad)
    assert row.says in refusal.value.message


@pytest.mark.parametrize("row", REFUSALS, ids=TITLES)
async def test_should_take_what_lies_beside_it(kube: KubePort, crds: None, place: str, row: Refusal) -> None:
    await send(kube, row, place, row.good)
