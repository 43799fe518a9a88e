"""A tree as text: what is fine is folded into one line, what is not is shown whole. Pure; used by `kok describe`."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace

from meta_cluster.cli.console import NARROW, Paint, painted

MARK = "!"
"""Label of a line that only says what is wrong with its parent."""


@dataclass(frozen=True, slots=True)
class Node:
    """One line. `wrong` marks what is not fine; its parents are unfolded, its fine siblings folded together."""

    label: str
    text: str = ""
    wrong: bool = False
    children: tuple[Node, ...] = ()
    paint: Paint | None = None

    @property
    def needs_eye(self) -> bool:
        """Whether it, or anything below it, is not fine."""
        return self.wrong or any(child.needs_eye for child in self.children)


def folded(node: Node) -> Node:
    """The node with its fine children folded into one line. The first level stays: it is the outline."""
    return replace(node, children=tuple(_folded(child) for child in node.children))


def _folded(node: Node) -> Node:
    fine = [child for child in node.children if not child.needs_eye]
    shown = [_folded(child) for child in node.children if child.needs_eye]
    if len(fine) == 1 and shown:
        shown.append(replace(fine[0], children=()))
    elif fine and shown:
        shown.append(Node(f"({len(fine)} fine)", paint=Paint.Dim))
    return replace(node, children=tuple(shown))


def rendered(root: Node, *, width: int | None = NARROW, coloured: bool = False) -> str:
    """The tree with its guides; long texts are wrapped under themselves so that every line fits `width` (None: one line each)."""
    label = painted(root.label, Paint.Strong, coloured=coloured)
    first, *more = _wrapped(root.text, None if width is None else width - len(root.label) - 3)
    head = f"{label}{'   ' if first else ''}{_tinted(root, first, coloured)}"
    guide = "│  " if root.children else "   "
    rest = [f"{guide}{_tinted(root, line, coloured)}" for line in more]
    return "\n".join([head, *rest, *_branches(root.children, "", width, coloured)])


def _branches(nodes: Sequence[Node], guide: str, width: int | None, coloured: bool) -> list[str]:
    lines: list[str] = []
    labels = [node.label for node in nodes if node.text]
    room = max(map(len, labels), default=0) + (1 if set(labels) == {MARK} else 3)
    for index, node in enumerate(nodes):
        last = index == len(nodes) - 1
        elbow, stem = ("└─ ", "   ") if last else ("├─ ", "│  ")
        below = f"{guide}{stem}"
        label = node.label.ljust(room) if node.text else node.label
        wrapped = _wrapped(node.text, None if width is None else width - len(guide) - 3 - room)
        lines.append(f"{guide}{elbow}{_tinted(node, label, coloured)}{_tinted(node, wrapped[0], coloured)}".rstrip())
        continuation = below + ("│" if node.children else "").ljust(room)
        lines += [f"{continuation}{_tinted(node, line, coloured)}" for line in wrapped[1:]]
        lines += _branches(node.children, below, width, coloured)
    return lines


def _wrapped(text: str, size: int | None) -> list[str]:
    if size is None or len(text) <= size:
        return [text]
    return textwrap.wrap(text, max(size, 20), break_on_hyphens=False, break_long_words=False) or [""]


def _tinted(node: Node, text: str, coloured: bool) -> str:
    paint = node.paint or (Paint.Bad if node.wrong else None)
    return painted(text, paint, coloured=coloured)
