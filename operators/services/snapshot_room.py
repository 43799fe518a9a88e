"""Makes room for one more etcd snapshot: of those that are there the newest stays, so that the volume never fills. Touches only `*.db*` of its folder.

Run in a pod, before `etcdctl snapshot save`: `python3 -m operators.services.snapshot_room FOLDER`.
"""

from __future__ import annotations

import sys
from pathlib import Path

KEPT = 1


def make_room(folder: Path, *, kept: int = KEPT) -> list[str]:
    """Remove all but the newest `kept` snapshots, and what a broken save left (`.part`); returns the names removed."""
    whole = sorted(folder.glob("*.db"), key=lambda path: path.stat().st_mtime, reverse=True)
    doomed = [*whole[kept:], *folder.glob("*.db.part")]
    for path in doomed:
        path.unlink(missing_ok=True)
    return [path.name for path in doomed]


if __name__ == "__main__":
    sys.stdout.write(f"removed: {' '.join(make_room(Path(sys.argv[1])))}\n")
