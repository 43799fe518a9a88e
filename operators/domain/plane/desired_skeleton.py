"""Reads a template's YAML once for many planes: what differs between them is values, and every value is a whole one. Pure; called by desired_rendering.

A template is rendered with a mark in place of each value; planes for which it takes the same branches give the same text, which is read once. The
marks are then replaced in what was read. Whatever is out of the ordinary (a mark within a longer text, a value that holds one) is None: the
caller then writes the values out and reads the whole text, which gives the same.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from operators.domain.plane.inputs import Manifest
from operators.yaml_text import read_all

EDGE = "\ue000"
"""Around the number of a value; of a private plane of Unicode, which no template and nearly no value uses."""
KNOWN_TEXTS = 256
"""A revision has some twenty templates of a few branches each."""


CAPTURING = re.compile(r"\{%[-+]?\s*(?:set\s+\w+\s*(?:\||[-+]?%\})|macro\b|call\b|filter\b|include\b|import\b|from\b|extends\b|block\b)")
"""Statements by which rendered text becomes a value: a mark in it could be hashed or cut."""


class Irregular(Exception):
    """A mark stands where no whole value does."""


class Values:
    """Collects values while a template is rendered; what is put into the text in place of each is its mark."""

    def __init__(self) -> None:
        self.written: list[str] = []

    def mark(self, written: str) -> str:
        """The mark of a value, given as JSON."""
        self.written.append(written)
        return f'"{EDGE}{len(self.written) - 1}{EDGE}"'


@lru_cache(maxsize=KNOWN_TEXTS)
def may_be_marked(source: str) -> bool:
    """Whether every value of a template goes straight into its text."""
    return not CAPTURING.search(source)


def filled(text: str, values: Sequence[str]) -> tuple[Manifest, ...] | None:
    """The documents of a marked text with these values, whole and new; None if it must be read with the values written out."""
    if any(EDGE in value or "\\ue000" in value for value in values):
        return None
    fills = [_reader(value) for value in values]
    try:
        return tuple(_filled(document, fills) for document in _documents(text))
    except (Irregular, TypeError):
        return None


@lru_cache(maxsize=KNOWN_TEXTS)
def _documents(text: str) -> tuple[Any, ...]:
    """Never handed out: what goes out is copied."""
    return tuple(read_all(text))


def _reader(value: str) -> Callable[[], Any]:
    return lambda: json.loads(value)


def _filled(node: Any, fills: Sequence[Callable[[], Any]]) -> Any:
    if isinstance(node, str):
        return _text(node, fills) if EDGE in node else node
    if isinstance(node, dict):
        return {(_text(key, fills) if isinstance(key, str) and EDGE in key else key): _filled(value, fills) for key, value in node.items()}
    if isinstance(node, list):
        return [_filled(value, fills) for value in node]
    return node


def _text(node: str, fills: Sequence[Callable[[], Any]]) -> Any:
    number = node[1:-1]
    if len(node) < 3 or node[0] != EDGE or node[-1] != EDGE or not number.isdecimal():
        raise Irregular(node)
    return fills[int(number)]()
