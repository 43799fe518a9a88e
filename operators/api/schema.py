"""CRDs from the models: pydantic's JSON schema made structural. Pure; called by `make crds`, `kok meta install` and tests.

What is done to the schema and why (Kubernetes, "Specifying a structural schema"): references are inlined, the null branch of optional
fields goes (absent is how Kubernetes says null), titles go, constants become enums of one, and the envelope (apiVersion, kind, metadata) is the API server's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from operators.api.base import CATEGORY, GROUP, VERSION, Column, Resource

Schema = dict[str, Any]
NOT_OBSERVED = -1
"""Without a status an object would count as current for kstatus (Flux, Helm) before anybody has looked at it; with this default it does not."""
_DROPPED = frozenset({"title", "$defs", "additionalProperties:false"})


def crd_of(kind: type[Resource]) -> dict[str, Any]:
    """The CustomResourceDefinition of one kind, as a manifest."""
    info = kind.INFO
    name = kind.__name__
    version: dict[str, Any] = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": structural(kind.model_json_schema(by_alias=True, mode="validation"))},
        "additionalPrinterColumns": [_column(column) for column in info.columns],
    }
    if info.status:
        version["subresources"] = {"status": {}}
    names = {"kind": name, "listKind": f"{name}List", "plural": info.plural, "singular": name.lower(), "categories": [CATEGORY]}
    if info.short:
        names["shortNames"] = list(info.short)
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{info.plural}.{GROUP}", "labels": {"app.kubernetes.io/managed-by": "kok"}},
        "spec": {"group": GROUP, "names": names, "scope": info.scope.value, "versions": [version]},
    }


def structural(schema: Schema) -> Schema:
    """A structural schema of a kind: spec, status, and the envelope as plain types."""
    definitions = schema.get("$defs", {})
    root: Schema = _clean(schema, definitions)
    root["properties"]["apiVersion"] = {"type": "string"}
    root["properties"]["kind"] = {"type": "string"}
    root["properties"]["metadata"] = {"type": "object"}
    if "observedGeneration" in root["properties"].get("status", {}).get("properties", {}):
        root["properties"]["status"]["default"] = {"observedGeneration": NOT_OBSERVED}
    root["required"] = [field for field in root.get("required", []) if field == "spec"]
    return root


def _clean(node: Any, definitions: Mapping[str, Schema]) -> Any:
    if isinstance(node, list):
        return [_clean(item, definitions) for item in node]
    if not isinstance(node, dict):
        return node
    merged = _without_null(_inlined(node, definitions))
    if "$ref" in merged or "anyOf" in merged:
        return _clean(merged, definitions)
    cleaned = {key: _clean_value(key, value, definitions) for key, value in merged.items() if key not in _DROPPED}
    if "const" in cleaned:
        cleaned["enum"] = [cleaned.pop("const")]
    if cleaned.get("default", 0) is None:
        del cleaned["default"]
    if "description" in cleaned:
        cleaned["description"] = " ".join(cleaned["description"].split())
    return cleaned


def _clean_value(key: str, value: Any, definitions: Mapping[str, Schema]) -> Any:
    """Properties are a map of schemas whose names may look like keywords (`title`); defaults and enums are data."""
    if key == "properties":
        return {name: _clean(schema, definitions) for name, schema in value.items()}
    if key == "default":
        return _without_nulls(value)
    if key in ("enum", "x-kubernetes-validations", "required"):
        return value
    return _clean(value, definitions)


def _without_nulls(value: Any) -> Any:
    """A default object without the optional fields that nobody set; absent is how Kubernetes says null."""
    if isinstance(value, dict):
        return {name: _without_nulls(inner) for name, inner in value.items() if inner is not None}
    return value


def _inlined(node: Schema, definitions: Mapping[str, Schema]) -> Schema:
    if "$ref" not in node:
        return node
    target = definitions[node["$ref"].rsplit("/", 1)[1]]
    extra = {key: value for key, value in node.items() if key != "$ref"}
    return {**target, **extra}


def _without_null(node: Schema) -> Schema:
    branches = [branch for branch in node.get("anyOf", ()) if branch.get("type") != "null"]
    if len(branches) != 1:
        if branches:
            raise ValueError(f"a union cannot be structural: {node}")
        return node
    extra = {key: value for key, value in node.items() if key != "anyOf"}
    return {**branches[0], **extra}


def _column(column: Column) -> dict[str, Any]:
    rendered: dict[str, Any] = {"name": column.name, "type": column.type, "jsonPath": column.path}
    if column.priority:
        rendered["priority"] = column.priority
    return rendered
