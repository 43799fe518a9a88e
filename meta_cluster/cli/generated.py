"""Pages that are written from the code: one is written, or compared with --check. Touches that one file; called by the reference modules' `main`."""

from __future__ import annotations

import sys
from pathlib import Path

CHECK = "--check"
_ROOT = Path(__file__).parents[2]


def write_or_check(path: Path, text: str, arguments: list[str]) -> int:
    """Make the file `text`; with --check only say whether it is: 1 if not."""
    name = path.relative_to(_ROOT) if path.is_relative_to(_ROOT) else path
    if CHECK not in arguments:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        print(f"wrote {name}")
        return 0
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return 0
    print(f"stale: {name}; run `make crds` and commit the result", file=sys.stderr)
    return 1
