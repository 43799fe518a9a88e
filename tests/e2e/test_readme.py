"""README's commands, run as they stand there: each `sh` block of "Five minutes", in one shell, in order, on the demo's fleet."""

from __future__ import annotations

import re
import subprocess

from tests.e2e.ground import ROOT, Fleet

FENCE = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)


def section(text: str, title: str) -> str:
    """The text below a heading, up to the next of the same level."""
    return text.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def test_should_run_every_command_of_five_minutes(fleet: Fleet) -> None:
    text = (ROOT / "README.md").read_text()
    blocks = FENCE.findall(section(text, "Five minutes"))
    assert blocks, "README's 'Five minutes' has no commands"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(blocks)], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


def test_should_name_the_two_commands_that_ci_runs() -> None:
    text = (ROOT / "README.md").read_text()
    commands = FENCE.findall(section(text, "Two commands"))[0]
    assert [line.split()[1] for line in commands.splitlines()] == ["demo", "test"]
    assert "make test" in (ROOT / ".ci/run").read_text()
