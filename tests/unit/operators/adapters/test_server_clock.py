"""The time of an API server: its Date plus what passed since."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from operators.adapters.server_clock import ServerClock

OWN = datetime(2020, 1, 1, tzinfo=UTC)
DATE = "Sun, 01 Mar 2026 12:00:00 GMT"


@pytest.mark.parametrize(
    ("dates", "expected"),
    [
        ([], OWN),
        (["", "yesterday"], OWN),
        ([DATE], datetime(2026, 3, 1, 12, 0, 30, tzinfo=UTC)),
        (["Sun, 01 Mar 2026 15:00:00 GMT", DATE], datetime(2026, 3, 1, 12, 0, 30, tzinfo=UTC)),
        ([DATE, "nonsense"], datetime(2026, 3, 1, 12, 0, 30, tzinfo=UTC)),
    ],
)
def test_should_tell_the_servers_time(dates: list[str], expected: datetime) -> None:
    passed = [100.0]
    clock = ServerClock(seconds=lambda: passed[0], own=lambda: OWN)
    for date in dates:
        clock.heard(date)
    passed[0] += 30
    assert clock.now() == expected
