"""The time of an API server, by the Date of its answers and the seconds since. Decides nothing; one per connection, used by kube_transport.

Limits count by this time, so that an operator whose own clock jumps neither refills a window nor ends a grant. The header has whole
seconds and the way back takes some more: the time is up to a second and a round trip late, never early.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime


def boot_seconds() -> float:
    """Seconds that also pass while the process is stopped."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def own_time() -> datetime:
    """The wall clock of this machine."""
    return datetime.now(UTC)


class ServerClock:
    """Hears Dates, tells the time."""

    def __init__(self, *, seconds: Callable[[], float] = boot_seconds, own: Callable[[], datetime] = own_time) -> None:
        self._seconds, self._own = seconds, own
        self._heard: tuple[datetime, float] | None = None

    def heard(self, date: str) -> None:
        """Take the time of an answer; what is no date is not heard."""
        try:
            moment = parsedate_to_datetime(date)
        except ValueError:
            return
        self._heard = (moment.astimezone(UTC), self._seconds())

    def now(self) -> datetime:
        """The server's time; before its first answer our own."""
        if self._heard is None:
            return self._own()
        moment, at = self._heard
        return moment + timedelta(seconds=self._seconds() - at)
