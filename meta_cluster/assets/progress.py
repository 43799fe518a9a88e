"""One line on stderr for each thing that is installed, built or found: what, which way, how long. Never stdout: that is for results.

Used by everything in meta_cluster that takes longer than a second.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()


def say(line: str) -> None:
    """Print one whole line on stderr, also from several threads."""
    with _lock:
        sys.stderr.write(line + "\n")
        sys.stderr.flush()


@contextmanager
def timed(subject: str, doing: str) -> Iterator[None]:
    """Say what begins, and how long it took when it ends well."""
    say(f"  {subject}: {doing}")
    began = time.monotonic()
    yield
    say(f"  {subject}: done in {time.monotonic() - began:.1f}s")
