"""Lines of text that fit a terminal, and numbers of things in words. Pure; used by what prints sentences."""

from __future__ import annotations

import textwrap


def hanging(label: str, words: str, width: int) -> str:
    """`label words` in lines of at most `width` (0: one line), continued under the words; a word (a path, a command's option) is never broken."""
    if not width:
        return label + words
    indent = " " * min(len(label), width // 3)
    lines = textwrap.wrap(words, width, initial_indent=label, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    return "\n".join(lines) or label.rstrip()


def counted(number: int, what: str) -> str:
    """`1 cluster`, `2 clusters`."""
    return f"{number} {what}{'' if number == 1 else 's'}"
