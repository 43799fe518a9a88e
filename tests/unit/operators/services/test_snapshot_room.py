"""Room for one more snapshot: the newest stays, half-written ones go, nothing else is touched."""

from __future__ import annotations

import os
from pathlib import Path

from operators.services.snapshot_room import make_room


def test_should_keep_the_newest_and_what_is_not_its_own(tmp_path: Path) -> None:
    for age, name in enumerate(["snapshot-3.db", "snapshot-2.db", "snapshot-1.db"]):
        (tmp_path / name).write_text(name)
        os.utime(tmp_path / name, (1_000_000 - age, 1_000_000 - age))
    for name in ("snapshot-4.db.part", "notes.txt"):
        (tmp_path / name).write_text(name)
    assert sorted(make_room(tmp_path)) == ["snapshot-1.db", "snapshot-2.db", "snapshot-4.db.part"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notes.txt", "snapshot-3.db"]
    assert make_room(tmp_path) == []
