"""What a person reads: colour only on a terminal, progress and errors on stderr. Touches the two streams and nothing else; used by every verb."""

from __future__ import annotations

import os
import shutil
import sys
from enum import StrEnum
from typing import TextIO

from operators.errors import ErrorCode, KokError

NARROW = 100
"""Columns that tables and trees fit into, unless -o wide."""


class Paint(StrEnum):
    """What a piece of text means; how it looks is decided here."""

    Bad = "\x1b[31m"
    Waiting = "\x1b[33m"
    Good = "\x1b[32m"
    Dim = "\x1b[2m"
    Strong = "\x1b[1m"


_END = "\x1b[0m"


def is_coloured(stream: TextIO) -> bool:
    """Whether it is a terminal that nobody asked to stay plain (NO_COLOR, TERM=dumb)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def painted(text: str, paint: Paint | None, *, coloured: bool) -> str:
    """The text, in its colour where there is colour."""
    return f"{paint}{text}{_END}" if paint and coloured and text else text


def width() -> int:
    """Columns to wrap sentences at: NARROW, or fewer on a narrower terminal."""
    return min(NARROW, shutil.get_terminal_size((NARROW, 24)).columns) if sys.stdout.isatty() else NARROW


def table_width() -> int | None:
    """Columns that a table has to fit; None off a terminal, where what is cut would be missing to whoever reads on, as with kubectl."""
    return width() if sys.stdout.isatty() else None


def say(text: str) -> None:
    """A result, to stdout."""
    sys.stdout.write(text if text.endswith("\n") else f"{text}\n")
    sys.stdout.flush()


def tell(line: str) -> None:
    """A line of progress, to stderr."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def confirm(what: str, *, yes: bool) -> None:
    """Ask whether to go on with what `what` says ("removes all of it"). KokError Usage where nobody can be asked; typer.Abort for a no."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise KokError(ErrorCode.Usage, f"this {what}, and nobody is here to be asked", "pass --yes")
    import typer

    typer.confirm(f"This {what}. Go on?", abort=True, err=True)


class Progress:
    """Lines of progress on stderr; on a terminal the last one may be rewritten in place until the next line follows."""

    def __init__(self) -> None:
        self._open = False

    def tell(self, line: str) -> None:
        """A line that stays."""
        self._clear()
        tell(line)

    def rewrite(self, line: str) -> None:
        """A line that the next one replaces. Only for terminals."""
        self._clear()
        room = shutil.get_terminal_size((NARROW, 24)).columns - 1
        sys.stderr.write(line if len(line) <= room else f"{line[: room - 1]}…")
        sys.stderr.flush()
        self._open = True

    def end(self) -> None:
        """Leave no half line behind."""
        self._clear()

    def _clear(self) -> None:
        if self._open:
            sys.stderr.write("\r\x1b[2K")
            self._open = False


SELF_EVIDENT = frozenset({ErrorCode.NotFound})
"""Codes of which the message says already why."""


def error_text(error: KokError, *, coloured: bool = False) -> str:
    """error, why, do, code: one line each, the same shape for every failure."""
    from meta_cluster.cli.errors_reference import REFERENCE

    entry = REFERENCE.get(error.code)
    lines = [f"{painted('error:', Paint.Bad, coloured=coloured)} {' '.join(error.message.split())}"]
    if entry and entry.meaning and error.code not in SELF_EVIDENT:
        lines.append(f"  why   {entry.meaning}")
    if remedy := error.hint or (entry.remedy if entry else ""):
        lines.append(f"  do    {remedy}")
    explain = f"   (kok explain {error.code})" if error.code is not ErrorCode.Usage else "   (--help shows examples)"
    return "\n".join([*lines, f"  code  {error.code}{explain}"])


def tell_error(error: KokError) -> None:
    """To stderr."""
    tell(error_text(error, coloured=is_coloured(sys.stderr)))
