"""docs/howto/add-a-machine-package.md as tests read it: its package and its commands, to the letter."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

PAGE = Path(__file__).parents[1] / "docs" / "howto" / "add-a-machine-package.md"
SECTION = "## A package of your own, from the first line to its removal"


def section() -> str:
    text = PAGE.read_text()
    start = text.index(SECTION)
    return text[start : text.index("\n## ", start + 1)]


def package_text() -> str:
    """disk-watch.yaml."""
    (found,) = re.findall(r"```yaml\n(.*?)```", section(), re.S)
    return str(found)


def package() -> dict[str, Any]:
    found = yaml.safe_load(package_text())
    assert isinstance(found, dict)
    return found


def commands() -> list[str]:
    """The three scripts: install, upgrade, remove."""
    return [str(found) for found in re.findall(r"```sh\n(.*?)```", section(), re.S)]
