"""The Docker command line behind a few verbs. Decides nothing; the one place of the lab that runs `docker`."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from typing import Any

from operators.errors import ErrorCode, KokError


def docker(*words: str, stdin: str | None = None, timeout: float = 600) -> str:
    """Run one docker command and return its stdout. Raises KokError LabFailed with its last words."""
    done = attempt(*words, stdin=stdin, timeout=timeout)
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines()[-8:]
        raise KokError(ErrorCode.LabFailed, f"docker {' '.join(words[:2])} failed: " + "\n".join(said), "kok lab status")
    return done.stdout


def attempt(*words: str, stdin: str | None = None, timeout: float = 600) -> subprocess.CompletedProcess[str]:
    """Run one docker command and return how it ended, well or not."""
    try:
        return subprocess.run(["docker", *words], input=stdin, capture_output=True, text=True, timeout=timeout, check=False)
    except OSError as error:
        raise KokError(ErrorCode.LabFailed, f"cannot run docker: {error.strerror}", "kok lab up installs it (as root)") from error
    except subprocess.TimeoutExpired as error:
        raise KokError(ErrorCode.Timeout, f"docker {' '.join(words[:2])} took longer than {timeout:.0f}s", "kok lab status") from error


def inspect(kind: str, name: str) -> Mapping[str, Any] | None:
    """What docker knows of a container, network or image; None if there is none of that name."""
    done = attempt(kind, "inspect", name)
    return json.loads(done.stdout)[0] if done.returncode == 0 else None


def labelled(kind: str, label: str) -> list[str]:
    """Names of all containers (also stopped ones) or networks with a label, sorted."""
    form = {"container": "{{.Names}}", "network": "{{.Name}}"}[kind]
    every = ["--all"] if kind == "container" else []
    return sorted(docker(kind, "ls", *every, "--filter", f"label={label}", "--format", form).split())
