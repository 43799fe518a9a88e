"""May a new member be started now? Change windows: cron expressions with a time zone, daylight saving followed. Pure: `now` comes in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from operators.api.rollout import Window
from operators.errors import ErrorCode, KokError

LOOK_BACK = timedelta(days=7)
"""A window is at most this long, so an open one began within it."""


@dataclass(frozen=True, slots=True)
class WindowState:
    """Whether one is open, and when that changes (None: never)."""

    is_open: bool
    changes_at: datetime | None = None
    problem: str = ""
    """Why they cannot be read; then none is open."""


def check(window: Window) -> None:
    """Raise KokError InvalidObject, naming field and value, for a cron expression or time zone that nobody knows."""
    try:
        zone = ZoneInfo(window.time_zone)
    except (KeyError, ValueError, OSError) as error:
        message = f"spec.windows: timeZone {window.time_zone!r} is not known"
        raise KokError(ErrorCode.InvalidObject, message, "use an IANA name, for example Europe/Berlin") from error
    try:
        CronSim(window.cron, datetime(2024, 1, 1, tzinfo=zone))
    except CronSimError as error:
        message = f"spec.windows: cron {window.cron!r} is not a cron expression: {error}"
        raise KokError(
            ErrorCode.InvalidObject, message, "five fields: minute hour day month weekday, for example '0 22 * * 1-5'"
        ) from error


def window_state(windows: Sequence[Window], now: datetime) -> WindowState:
    """Open when no windows are given or one is open now. One that cannot be read closes all, and stops nothing but new members. `now` is aware."""
    if not windows:
        return WindowState(is_open=True)
    try:
        spans = [_readable_span(window, now) for window in windows]
    except KokError as error:
        return WindowState(is_open=False, problem=error.message)
    closing = [end for start, end in spans if start <= now < end]
    if closing:
        return WindowState(True, max(closing))
    return WindowState(False, min(start for start, _ in spans))


def _readable_span(window: Window, now: datetime) -> tuple[datetime, datetime]:
    check(window)
    return _span(window, now)


def _span(window: Window, now: datetime) -> tuple[datetime, datetime]:
    """The window that is open at `now`, or else the next one, in UTC. Its length is absolute: an hour is an hour, also when clocks change."""
    length = timedelta(seconds=window.duration_seconds)
    local = (now - min(length, LOOK_BACK)).astimezone(ZoneInfo(window.time_zone))
    for start in CronSim(window.cron, local):
        begin = start.astimezone(UTC)
        if begin + length > now:
            return begin, begin + length
    raise KokError(ErrorCode.InvalidObject, f"spec.windows: cron {window.cron!r} names no time", "correct it")
