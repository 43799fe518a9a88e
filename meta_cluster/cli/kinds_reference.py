"""docs/reference/kinds.md from the kinds: every field with its type, bounds, default and meaning. `make crds` writes it, CI runs it with --check.

Pure but for that one file. It reads the same structural schema that goes into the CRDs, so that the page says what the API server enforces.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from meta_cluster.cli.generated import write_or_check
from operators.api import API_VERSION, KINDS, Resource
from operators.api.base import DNS_LABEL, DNS_NAME
from operators.api.pools import PRINTABLE
from operators.api.schema import crd_of

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "kinds.md"
Schema = dict[str, Any]
HOMES = {"meta": "the meta cluster", "business": "business clusters"}
BOUNDS = {
    "minimum": "at least {}",
    "maximum": "at most {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {} items",
    "maxItems": "at most {} items",
    "maxProperties": "at most {} entries",
    "pattern": "matches `{}`",
    "format": "{}",
}
"""Keyword of the schema -> words."""
PATTERNS = {DNS_NAME: "a DNS name", DNS_LABEL: "a DNS label", PRINTABLE: "no control characters"}
"""Patterns that many fields share."""
SHOWN_DEFAULT = 60
"""A longer default is one of a whole object, which its fields tell."""


@cache
def page() -> str:
    """The whole page."""
    head = (
        "# Kinds\n\n"
        "<!-- Generated from operators/api by `make crds`; edit the models there. -->\n\n"
        f"All are `{API_VERSION}`. A field without a default may be left out unless it is *required*; `[]` is a list, `.*` a map's entry.\n"
        'What the API server checks stands under "bounds"; the operator refuses the rest with a condition `Stalled` (docs/reference/errors.md).\n\n'
    )
    contents = "".join(f"- [{kind.__name__}](#{kind.__name__.lower()})\n" for kind in KINDS)
    return head + contents + "".join(_section(kind) for kind in KINDS)


def _section(kind: type[Resource]) -> str:
    info = kind.INFO
    schema = crd_of(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    short = f", short {', '.join(f'`{name}`' for name in info.short)}" if info.short else ""
    place = "in a namespace of" if info.scope.value == "Namespaced" else "cluster-scoped in"
    lines = [
        f"\n## {kind.__name__}\n",
        f"{schema.get('description', '')}\n",
        f"`{info.plural}.kok.dev`{short}; {place} {HOMES[info.home]}.\n",
    ]
    lines += [f"- {message}" for message in (*_rules(schema), *_rules(schema["properties"]["spec"]))]
    for part in ("spec", "status"):
        if part in schema["properties"]:
            lines += [f"\n### {kind.__name__} {part}\n", "| field | type | default | bounds | meaning |", "|---|---|---|---|---|"]
            lines += [_row(*entry) for entry in _fields(schema["properties"][part], "")]
    return "\n".join(lines) + "\n"


def _fields(schema: Schema, path: str) -> Iterator[tuple[str, Schema, bool]]:
    """Every field below, in the models' order: its path, its schema, whether it is required."""
    required = schema.get("required", ())
    for name, inner in schema.get("properties", {}).items():
        yield (here := f"{path}{name}"), inner, name in required
        yield from _fields(inner, f"{here}.")
        if inner.get("type") == "array":
            yield from _fields(inner["items"], f"{here}[].")
        if isinstance(inner.get("additionalProperties"), dict):
            yield from _fields(inner["additionalProperties"], f"{here}.*.")


def _row(path: str, schema: Schema, required: bool) -> str:
    default = json.dumps(schema["default"]) if "default" in schema else ""
    shown = "*required*" if required else f"`{default}`" if 0 < len(default) <= SHOWN_DEFAULT and default not in ('""', "{}", "[]") else ""
    cells = (f"`{path}`", _type(schema), shown, "; ".join(_bounds(schema)), schema.get("description", ""))
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _type(schema: Schema) -> str:
    if "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_type(schema['items'])}"
    if isinstance(schema.get("additionalProperties"), dict):
        return f"map to {_type(schema['additionalProperties'])}"
    return str(schema.get("type", "anything"))


def _bounds(schema: Schema) -> Iterator[str]:
    for keyword, words in BOUNDS.items():
        if keyword in schema and "enum" not in schema:
            yield PATTERNS.get(str(schema[keyword]), words.format(schema[keyword]))
    yield from _rules(schema)
    for key, words in (("items", "each: "), ("additionalProperties", "each value: ")):
        inner = schema.get(key)
        if isinstance(inner, dict):  # the fields of an object have rows of their own
            yield from (words + bound.removeprefix(words) for bound in (_rules(inner) if "properties" in inner else _bounds(inner)))


def _rules(schema: Schema) -> Iterator[str]:
    return (rule["message"] for rule in schema.get("x-kubernetes-validations", ()))


def main(arguments: list[str]) -> int:
    """0 if nothing is wrong; with --check 1 if the page is stale."""
    return write_or_check(PAGE, page(), arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
