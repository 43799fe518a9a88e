"""`docs/reference/cli.md` from the commands' own help: `python -m meta_cluster.cli.cli_reference [--check]`. Run by `make crds` and `make lint`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.main

from meta_cluster.cli.generated import write_or_check
from meta_cluster.cli.main import VERBS, app_for

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "cli.md"
WIDTH = 100
HELP_NAMES = ["-h", "--help"]
HEAD = """# Commands
Made from the commands' own `--help` by `make crds`. `kubectl kok` is the same as `kok`. `kok completion bash` (zsh, fish) prints completion for the shell.

| exit code | when |
|---|---|
| 0 | done; `kok diff`: nothing would change |
| 1 | any error, also a command line that was not understood; `kok diff`: something would change; `kok plan` and `kok upgrade`: refused, failed or rolled back |
| 4 | `kok upgrade --follow` and `kok rollout status --follow`: time-out; the rollout goes on |
| 130 | interrupted; what was begun in the cluster goes on |
"""


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    for verb in VERBS:
        root: Any = typer.main.get_command(app_for([verb]))
        parts += _told(root.commands[verb], f"kok {verb}", level=2)
    return "\n".join(parts)


def _told(command: Any, name: str, *, level: int) -> Iterator[str]:
    """The command's help, and that of its own commands."""
    context = command.context_class(command, info_name=name, terminal_width=WIDTH, max_content_width=WIDTH, help_option_names=HELP_NAMES)
    lines = "\n".join(line.rstrip() for line in command.get_help(context).splitlines())
    yield f"{'#' * level} {name}\n```text\n{lines.strip()}\n```\n"
    for word, each in getattr(command, "commands", {}).items():
        yield from _told(each, f"{name} {word}", level=level + 1)


def main(arguments: list[str]) -> int:
    """0 if nothing is wrong; with --check 1 if the page is stale."""
    return write_or_check(PAGE, page(), arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
