"""Tables of objects, from the kinds' printer columns. Pure functions of manifests and `now`; used by `kok get`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from meta_cluster.cli.kinds import NamedKind
from meta_cluster.cli.lines import hanging
from meta_cluster.cli.times import age_of
from operators.api.base import Column
from operators.ports.kube import Manifest

_STEP = re.compile(r"\.([A-Za-z0-9_-]+)|\[\?\(@\.([A-Za-z0-9_]+)=='([^']*)'\)\]")
GAP = "   "
ELLIPSIS = "…"
MESSAGES_SHOWN = 10
CLUSTER = "kok.dev/shown-cluster"
"""Annotation that `kok get` puts on a Machine to say whose it is (namespace/cluster); never stored."""


@dataclass(frozen=True, slots=True)
class Table:
    """Headings and rows of text."""

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def value_at(manifest: Manifest, path: str) -> Any:
    """What a printer column's JSONPath finds: fields, and a list filtered by one field. None if nothing."""
    node: Any = manifest
    for step in _STEP.finditer(path):
        name, key, wanted = step.groups()
        if name:
            node = node.get(name) if isinstance(node, dict) else None
        else:
            node = next((item for item in node or () if item.get(key) == wanted), None)
        if node is None:
            return None
    return node


def table_of(kind: NamedKind, manifests: Sequence[Manifest], now: datetime, *, wide: bool = False, namespaces: bool = False) -> Table:
    """One row per object, by namespace and name. Without `wide` only what kubectl shows: `messages_of` says the rest below it."""
    columns = [column for column in kind.columns if wide or column.priority == 0]
    clusters = kind.home == "business"
    first = ("NAMESPACE",) if namespaces and kind.namespaced else ("CLUSTER",) if clusters else ()
    headings = (*first, "NAME", *(column.name.upper() for column in columns))
    rows = []
    for manifest in sorted(manifests, key=_order):
        metadata = manifest["metadata"]
        place = (metadata.get("annotations") or {}).get(CLUSTER, "") if clusters else metadata.get("namespace") or ""
        cells = [_cell(manifest, column, now) for column in columns]
        rows.append((*((place,) if first else ()), metadata["name"], *cells))
    return Table(headings, tuple(rows))


def messages_of(kind: NamedKind, manifests: Sequence[Manifest], width: int) -> str:
    """The whole message of each object that is not fine, one below the other; empty if all are. Of many only the first: wide output has all."""
    column = next((column for column in kind.columns if column.name == "Message"), None)
    if column is None:
        return ""
    said = [(str(each["metadata"]["name"]), value_at(each, column.path)) for each in sorted(manifests, key=_order) if not is_fine(each)]
    told = [(name, " ".join(str(message).split())) for name, message in said if message]
    lines = [hanging(f"{name}: ", message.removeprefix(f"{name}: "), width) for name, message in told[:MESSAGES_SHOWN]]
    more = [f"({len(told) - MESSAGES_SHOWN} more messages: -o wide)"] if len(told) > MESSAGES_SHOWN else []
    return "\n".join([*lines, *more])


def is_fine(manifest: Manifest) -> bool:
    """Whether nothing about the object needs a person's eye: Ready, and not Stalled."""
    conditions: dict[str, str] = {c["type"]: c["status"] for c in (manifest.get("status") or {}).get("conditions") or ()}
    return conditions.get("Ready", "True") == "True" and conditions.get("Stalled", "False") != "True"


def _order(manifest: Manifest) -> tuple[str, str, str]:
    metadata = manifest["metadata"]
    return (metadata.get("annotations") or {}).get(CLUSTER, ""), metadata.get("namespace") or "", metadata["name"]


def _cell(manifest: Manifest, column: Column, now: datetime) -> str:
    value = value_at(manifest, column.path)
    if column.type == "date":
        return age_of(value, now)
    if column.name == "Message" and is_fine(manifest):
        return ""
    return "" if value is None else " ".join(str(value).split())


def rendered(table: Table, *, width: int | None = None, headings: bool = True) -> str:
    """The table as text, columns aligned. With `width` the longest columns are shortened until it fits."""
    lines = [table.headings, *table.rows] if headings else list(table.rows)
    widths = column_widths(table, width)
    return "\n".join(_line(line, widths) for line in lines)


def column_widths(table: Table, width: int | None) -> list[int]:
    """Characters per column."""
    widths = [max(len(line[index]) for line in (table.headings, *table.rows)) for index in range(len(table.headings))]
    if width is None:
        return widths
    room = width - len(GAP) * (len(widths) - 1)
    while sum(widths) > room and max(widths) > 8:
        longest = max(range(len(widths)), key=lambda index: (widths[index], index))
        widths[longest] = max(8, widths[longest] - (sum(widths) - room))
    return widths


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return GAP.join(shortened(cell, size).ljust(size) for cell, size in zip(cells, widths, strict=True)).rstrip()


def shortened(text: str, size: int) -> str:
    """At most `size` characters, the cut marked."""
    return text if len(text) <= size else f"{text[: size - 1]}{ELLIPSIS}"
