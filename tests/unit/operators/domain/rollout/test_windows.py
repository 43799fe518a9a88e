"""Change windows: open, closed, when next; time zones and daylight saving."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from operators.api.rollout import Window
from operators.domain.rollout.windows import WindowState, check, window_state
from operators.errors import ErrorCode, KokError


def window(cron: str, hours: float, zone: str = "UTC") -> Window:
    return Window(cron=cron, time_zone=zone, duration_seconds=int(hours * 3600))


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("windows", "now", "expected"),
    [
        ([], "2026-03-01T00:00", WindowState(True)),
        ([window("0 22 * * *", 2)], "2026-03-01T22:00", WindowState(True, at("2026-03-02T00:00"))),
        ([window("0 22 * * *", 2)], "2026-03-01T23:59", WindowState(True, at("2026-03-02T00:00"))),
        ([window("0 22 * * *", 2)], "2026-03-02T00:00", WindowState(False, at("2026-03-02T22:00"))),
        ([window("0 22 * * *", 2), window("0 23 * * *", 3)], "2026-03-01T23:30", WindowState(True, at("2026-03-02T02:00"))),
        ([window("0 2 * * *", 1, "Europe/Berlin")], "2026-01-10T01:30", WindowState(True, at("2026-01-10T02:00"))),
        ([window("0 2 * * *", 1, "Europe/Berlin")], "2026-07-10T01:30", WindowState(False, at("2026-07-11T00:00"))),
        ([window("0 8 * * 1", 4, "America/New_York")], "2026-03-09T12:30", WindowState(True, at("2026-03-09T16:00"))),
    ],
    ids=["none", "begins", "last minute", "over", "two overlap", "winter", "summer", "the Monday after the change"],
)
def test_should_tell_whether_one_is_open(windows: list[Window], now: str, expected: WindowState) -> None:
    assert window_state(windows, at(now)) == expected


def test_should_last_its_hours_when_the_clock_is_put_forward() -> None:
    night = window("30 1 * * *", 2, "Europe/Berlin")
    assert window_state([night], at("2026-03-29T02:20")) == WindowState(True, at("2026-03-29T02:30"))


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        ("2026-10-25T00:29", WindowState(False, at("2026-10-25T00:30"))),
        ("2026-10-25T00:30", WindowState(True, at("2026-10-25T02:30"))),
        ("2026-10-25T01:45", WindowState(True, at("2026-10-25T02:30"))),
        ("2026-10-25T02:30", WindowState(False, at("2026-10-26T01:30"))),
    ],
    ids=["before", "02:30 for the first time", "02:45 for the second time", "over"],
)
def test_should_open_once_and_last_its_hours_when_the_clock_is_put_back(now: str, expected: WindowState) -> None:
    """At 03:00 it is 02:00 again: 02:30 comes twice, and the window is two hours long, not three."""
    assert window_state([window("30 2 * * *", 2, "Europe/Berlin")], at(now)) == expected


@pytest.mark.parametrize("bad", [window("61 * * * *", 1), window("every day", 1), window("0 0 * * *", 1, "Europe/Atlantis")])
def test_should_refuse_what_nobody_can_read(bad: Window) -> None:
    with pytest.raises(KokError) as caught:
        check(bad)
    assert caught.value.code == ErrorCode.InvalidObject
    assert caught.value.hint


def test_should_be_closed_for_all_when_one_cannot_be_read() -> None:
    state = window_state([window("* * * * *", 1), window("0 0 * * *", 1, "Europe/Atlantis")], at("2026-03-01T12:00"))
    assert not state.is_open
    assert "Europe/Atlantis" in state.problem
