"""How a step on a host fails: one exception whose text is the sentence a person reads. Commands that must succeed raise it."""

from __future__ import annotations

import os
import subprocess


class Failure(Exception):
    """What went wrong, as one line."""


def attempt(*command, timeout=120, env=None):
    """Exit code and output of a command that changes something. Raises Failure when it cannot be run or does not end."""
    environment = dict(os.environ, LC_ALL="C", **(env or {}))
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout, env=environment
        )
    except subprocess.TimeoutExpired:
        raise Failure("{} did not end within {}s".format(" ".join(command[:3]), timeout)) from None
    except OSError as error:
        raise Failure(f"{command[0]}: {error.strerror or error}") from None
    return done.returncode, done.stdout.decode("utf-8", "replace")


def must(*command, timeout=120, env=None):
    """Output of a command that has to succeed; its last line is the failure's text."""
    code, out = attempt(*command, timeout=timeout, env=env)
    if code:
        raise Failure("{}: {}".format(" ".join(command[:3]), last_line(out) or f"exit code {code}"))
    return out


def last_line(text):
    """The last line that says something."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""
