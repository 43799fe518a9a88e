"""The CRDs in manifests/crds are what the models say, and are structural."""

from pathlib import Path
from typing import Any

import pytest

from meta_cluster.cli.crds import FOLDER, crd_files, stale_files, write_files
from operators.api import KINDS
from operators.api.base import Model, Resource
from operators.api.schema import crd_of, structural
from operators.yaml_text import read

CRDS = [crd_of(kind) for kind in KINDS]
BOUNDED = {"string": ("maxLength", "enum", "pattern", "format"), "array": ("maxItems",), "integer": ("minimum",)}


def schema_of(crd: dict[str, Any]) -> dict[str, Any]:
    schema: dict[str, Any] = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return schema


def nodes(schema: Any, path: str = "") -> list[tuple[str, dict[str, Any]]]:
    """Every schema below `schema` with its path."""
    found = [(path, schema)]
    for name, child in schema.get("properties", {}).items():
        found += nodes(child, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            found += nodes(schema[key], f"{path}[]")
    return found


def test_should_have_committed_what_the_models_say() -> None:
    assert stale_files(FOLDER) == []


def test_should_notice_changed_missing_and_left_over_files(tmp_path: Path) -> None:
    assert sorted(write_files(tmp_path)) == sorted(crd_files())
    (tmp_path / "clusters.kok.dev.yaml").write_text("changed")
    (tmp_path / "ledgers.kok.dev.yaml").unlink()
    (tmp_path / "gone.kok.dev.yaml").write_text("kind: Gone")
    assert stale_files(tmp_path) == ["clusters.kok.dev.yaml", "gone.kok.dev.yaml", "ledgers.kok.dev.yaml"]
    write_files(tmp_path)
    assert stale_files(tmp_path) == []


def test_should_write_files_that_load_as_what_was_meant() -> None:
    assert [read(text) for text in crd_files().values()] == CRDS


@pytest.mark.parametrize("crd", CRDS, ids=lambda crd: crd["spec"]["names"]["kind"])
def test_should_be_structural(crd: dict[str, Any]) -> None:
    for path, node in nodes(schema_of(crd)):
        assert "type" in node, f"{path} has no type"
        assert not node.keys() & {"$ref", "anyOf", "oneOf", "allOf", "title", "const", "exclusiveMinimum"}, path
        assert node.get("default", 0) is not None, path


@pytest.mark.parametrize("crd", CRDS, ids=lambda crd: crd["spec"]["names"]["kind"])
def test_should_bound_every_string_list_map_and_number(crd: dict[str, Any]) -> None:
    for path, node in nodes(schema_of(crd)):
        if path in (".apiVersion", ".kind", ".metadata"):
            continue
        assert any(bound in node for bound in BOUNDED.get(node["type"], ("type",))), f"{path} is not bounded"
        if isinstance(node.get("additionalProperties"), dict):
            assert "maxProperties" in node, f"{path} is not bounded"


@pytest.mark.parametrize("crd", CRDS, ids=lambda crd: crd["spec"]["names"]["kind"])
def test_should_say_what_the_kind_is_for(crd: dict[str, Any]) -> None:
    assert len(schema_of(crd)["description"]) > 20


@pytest.mark.parametrize("crd", CRDS, ids=lambda crd: crd["spec"]["names"]["kind"])
def test_should_say_what_every_field_is(crd: dict[str, Any]) -> None:
    """What `kubectl explain` shows."""
    top = {"apiVersion", "kind", "metadata"}
    silent = [
        f"{path}.{name}"
        for path, node in [("", schema_of(crd)), *nodes(schema_of(crd))]
        for name, field in (node.get("properties") or {}).items()
        if not field.get("description") and not (path == "" and name in top)
    ]
    assert silent == []


def test_should_be_in_the_category_kok() -> None:
    assert all(crd["spec"]["names"]["categories"] == ["kok"] for crd in CRDS)


def test_should_use_each_short_name_once() -> None:
    short = [name for crd in CRDS for name in crd["spec"]["names"].get("shortNames", [])]
    assert len(short) == len(set(short))


class Inner(Model):
    """A part."""

    limit: int | None = None
    other: int = 3


class Outer(Resource):
    """A whole."""

    inner: Inner = Inner()


def test_should_leave_unset_fields_out_of_a_default_object() -> None:
    assert structural(Outer.model_json_schema(by_alias=True))["properties"]["inner"]["default"] == {"other": 3}


AUTHORED = ("Cluster", "MachinePool", "FleetRollout", "OperationBudget", "ClusterPackageVersion", "MachinePackageVersion")


def has_default(schema: dict[str, Any]) -> bool:
    return any("default" in node for _, node in nodes(schema))


@pytest.mark.parametrize(
    "crd", [each for each in CRDS if each["spec"]["names"]["kind"] in AUTHORED], ids=lambda each: each["metadata"]["name"]
)
def test_should_merge_lists_by_key_where_the_server_fills_in_their_items(crd: dict[str, Any]) -> None:
    """A list that is replaced as a whole loses the defaults of its items at every server-side apply: with our status as second applier of the object,
    applying it again would be a write.
    """
    lists = [(path, node) for path, node in nodes(schema_of(crd)["properties"]["spec"]) if node.get("type") == "array"]
    atomic = [path for path, node in lists if node.get("x-kubernetes-list-type", "atomic") == "atomic" and has_default(node["items"])]
    assert atomic == []
