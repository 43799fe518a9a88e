"""Stands before `docker` for the kind process only: adds the lab's label and the fixed address, and replaces `--privileged` where it cannot be.

Pure but for the final exec. kind calls it some twenty times, so it imports nothing of the project.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence

REAL = "KOK_REAL_DOCKER"
RUN_OPTIONS = "KOK_DOCKER_RUN_OPTIONS"
POWER_OPTIONS = "KOK_DOCKER_POWER_OPTIONS"


def rewritten(words: Sequence[str], *, run_options: Sequence[str], power_options: Sequence[str]) -> list[str]:
    """The docker words that are really run: `run` gets `run_options` and has `--privileged` replaced; `exec` loses it where it cannot work."""
    words = list(words)
    if words[:1] == ["run"]:
        kept: list[str] = []
        for word in words[1:]:
            kept += power_options if word == "--privileged" else [word]
        return ["run", *run_options, *kept]
    if words[:1] == ["exec"] and list(power_options) != ["--privileged"]:
        return [word for position, word in enumerate(words) if word != "--privileged" or position > 3]
    return words


def main() -> None:
    """Replace this process by the real docker."""
    options = {
        name: json.loads(os.environ[variable]) for name, variable in (("run_options", RUN_OPTIONS), ("power_options", POWER_OPTIONS))
    }
    real = os.environ[REAL]
    os.execv(real, ["docker", *rewritten(sys.argv[1:], **options)])  # noqa: S606 - the very purpose


if __name__ == "__main__":
    main()
