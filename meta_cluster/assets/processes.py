"""Child processes of asset builds and the lab: run by argument list, output kept for the error message. Touches nothing else."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from operators.errors import ErrorCode, KokError

TAIL_LINES = 15


def run(argv: Sequence[str | Path], *, env: Mapping[str, str] | None = None, cwd: Path | None = None, stdin: str | None = None) -> str:
    """Run to the end and return stdout; `env` is laid over this process's own.

    Raises KokError AssetUnavailable with the last lines of output when the command is missing or fails.
    """
    words = [str(word) for word in argv]
    merged = {**os.environ, **(env or {})}
    try:
        done = subprocess.run(words, env=merged, cwd=cwd, input=stdin, text=True, capture_output=True, check=False)
    except OSError as error:
        raise KokError(ErrorCode.AssetUnavailable, f"cannot run {words[0]}: {error.strerror}", f"install {words[0]}") from error
    if done.returncode != 0:
        tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-TAIL_LINES:])
        raise KokError(ErrorCode.AssetUnavailable, f"`{' '.join(words[:6])} ...` exited {done.returncode}:\n{tail}")
    return done.stdout
