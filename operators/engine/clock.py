"""Where the engine takes time from, so that tests can give it another one. Called by the elector and the process runner."""

from __future__ import annotations

import time
from datetime import UTC, datetime


def boot_seconds() -> float:
    """Seconds that also pass while the process is stopped or the machine sleeps (CLOCK_BOOTTIME); only differences mean something."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def utc_now() -> datetime:
    """The wall clock, for what people read and for Lease times; never for measuring."""
    return datetime.now(UTC)
