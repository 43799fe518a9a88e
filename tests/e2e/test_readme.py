"""README's commands, run as they stand there: each `sh` block of "Five minutes", in one shell, in order, on the demo's fleet."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from tests.e2e.ground import ROOT, Fleet

FENCE = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)


def section(text: str, title: str) -> str:
    """The text below a heading, up to the next of the same level."""
    return text.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def commands(title: str) -> list[str]:
    """The `sh` blocks of a section, in order."""
    blocks = FENCE.findall(section((ROOT / "README.md").read_text(), title))
    assert blocks, f"README's '{title}' has no commands"
    return blocks


def run_as_written(*blocks: str, folder: Path = ROOT, seconds: float = 300) -> str:
    """In one shell, in order, until the first that fails; what was printed."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(blocks)], cwd=folder, capture_output=True, text=True, timeout=seconds, check=False
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def test_should_run_every_command_of_five_minutes(fleet: Fleet) -> None:
    run_as_written(*commands("Five minutes"))


def test_should_name_the_two_commands_that_ci_runs() -> None:
    assert [line.split()[1] for line in commands("Two commands")[0].splitlines()] == ["demo", "test"]
    assert "make test" in (ROOT / ".ci/run").read_text()
