"""What the lab sets on the machine itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from meta_cluster.lab.engine import WATCHERS, ensure_inotify


@pytest.mark.parametrize(("before", "after", "told"), [("128\n", str(WATCHERS), "raised from 128"), ("8192\n", "8192", "")])
def test_should_raise_a_low_limit_and_leave_a_high_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], before: str, after: str, told: str
) -> None:
    limit = tmp_path / "max_user_instances"
    limit.write_text(before)
    ensure_inotify(limit)
    assert limit.read_text().strip() == after
    said = capsys.readouterr()
    assert told in said.out + said.err


def test_should_go_on_where_it_may_not(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    limit = tmp_path / "max_user_instances"
    limit.write_text("128")

    def refuse(self: Path, data: str) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "write_text", refuse)
    ensure_inotify(limit)
    said = capsys.readouterr()
    assert "cannot be raised (Permission denied)" in said.out + said.err
