"""The API server refuses bad input with the reason, and takes what lies right beside it."""

import copy
import json
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import uuid4

import pytest
import yaml

from operators.ports.kube import Invalid, KubePort, Manifest, Ref
from tests.integration.api.refusals import ABSENT, REFUSALS, Refusal
from tests.integration.api_server import CRDS, ApiServer
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
    """Create the sample as the row says, or apply the value over what is stored; what was stored is removed again."""
    sample = sample_of(row, place)
    if row.stored:
        await kube.create(sample)
    try:
        manifest = edited(sample, row.path, value)
        await (kube.apply(manifest, deadline=60) if row.stored else kube.create(manifest, deadline=60))
        await kube.delete(Ref.of(manifest))
    finally:
        await kube.delete(Ref.of(sample))


def leaves(value: Any) -> Iterator[str]:
    """What an error may show of a bad value: its scalars and its keys."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield str(key)
            yield from leaves(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from leaves(inner)
    else:
        yield json.dumps(value, ensure_ascii=False).strip('"')


SHOWS_NO_VALUE = ("Too long", "Too many", "must have at most", "Required", "at least", "must be of type")
"""Refusals for a size, an absence or a type (which is shown in place of the value)."""
WHOLE_OBJECT = re.compile(r"Invalid value: (?!true|false|null)[a-z]")
"""A rule over a whole object: the API server shows the rule's words where a value would stand; those of strings end with what was found."""


WHAT_WOULD_DO = (
    "should match '", "greater than or equal to", "less than or equal to", "supported values", "Required value", "must have at most", "at least",
    "may not be more than", "Duplicate value", "must be of type", "at most",
)  # fmt: skip
"""How the API server itself says what would be taken."""


def rules(node: Any) -> Iterator[str]:
    """The words of every rule of ours in a CRD; each ends with what to do, which a person has read."""
    if isinstance(node, dict):
        yield from (rule["message"] for rule in node.get("x-kubernetes-validations") or ())
        for inner in node.values():
            yield from rules(inner)
    elif isinstance(node, list):
        for inner in node:
            yield from rules(inner)


RULES = tuple({words for path in CRDS.glob("*.yaml") for words in rules(yaml.safe_load(path.read_text()))})


@pytest.mark.parametrize("row", REFUSALS, ids=TITLES)
async def test_should_refuse_bad_input_and_say_why(kube: KubePort, crds: None, place: str, row: Refusal) -> None:
    with pytest.raises(Invalid) as refusal:
        await send(kube, row, place, row.bad)
    told = refusal.value.message
    assert row.says in told
    fields = [part for part in row.path.split(".") if not part.isdigit()]
    assert "never changes" in told or fields[-1] in told or ".".join(fields[:2]) in told, "it does not name the field"
    is_of_numbers = WHOLE_OBJECT.search(told) and "; found " not in told
    if not any(word in told for word in SHOWS_NO_VALUE) and not is_of_numbers:
        shown = {part for leaf in leaves(row.bad) for part in (leaf, leaf.encode("unicode_escape").decode())}
        assert any(part in told for part in shown), "it does not name the value"
    assert any(words in told for words in (*RULES, *WHAT_WOULD_DO)), "it does not say what would be right"


@pytest.mark.parametrize("row", [row for row in REFUSALS if not row.stored], ids=lambda row: f"{row.kind}: {row.title}")
async def test_should_refuse_it_also_when_it_is_applied(kube: KubePort, crds: None, row: Refusal) -> None:
    """Server-side apply, as Git tools and the operators write: it judges types before the schema does."""
    manifest = edited(sample_of(row, "default"), row.path, row.bad)
    with pytest.raises(Invalid) as refusal:
        await kube.apply(manifest)
    fields = [part for part in row.path.split(".") if not part.isdigit()]
    assert any(field in refusal.value.message for field in (fields[-1], ".".join(fields[:2]))), "it does not name the field"


@pytest.mark.parametrize("row", REFUSALS, ids=TITLES)
async def test_should_take_what_lies_beside_it(kube: KubePort, crds: None, place: str, row: Refusal) -> None:
    await send(kube, row, place, row.good)


def test_should_be_sixty_rows_at_least() -> None:
    assert len(set(TITLES)) == len(REFUSALS) >= 60


async def test_should_store_the_good_half_of_a_file_that_kubectl_applies(
    api_server: ApiServer, kube: KubePort, crds: None, place: str
) -> None:
    good, bad = (edited(SAMPLES["Cluster", "demo"], "metadata", {"name": name, "namespace": place}) for name in ("good", "bad"))
    bad["spec"]["etcd"] = {"members": 4}
    with pytest.raises(AssertionError, match="set 1, 3 or 5"):
        api_server.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all([bad, good]))
    assert await kube.get(Ref.of(good)) is not None
    assert await kube.get(Ref.of(bad)) is None
