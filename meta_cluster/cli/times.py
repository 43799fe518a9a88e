"""Ages as kubectl prints them. Pure; used by tables, trees and chains of reasons."""

from __future__ import annotations

from datetime import UTC, datetime

_UNITS = ((86400 * 365, "y"), (86400, "d"), (3600, "h"), (60, "m"))


def age_of(stamp: str | None, now: datetime) -> str:
    """`41s`, `3m`, `2h`, `5d` since an RFC 3339 time; empty for none, `?` for text that is no time."""
    if not stamp:
        return ""
    try:
        then = datetime.fromisoformat(stamp)
    except ValueError:
        return "?"
    if then.tzinfo is None:
        then = then.replace(tzinfo=UTC)
    return span_of((now - then).total_seconds())


def span_of(seconds: float) -> str:
    """A duration in its largest unit; from 120 s on minutes, as in kubectl. Clocks that differ make no negative ages."""
    whole = max(0, int(seconds))
    if whole < 120:
        return f"{whole}s"
    for size, unit in _UNITS:
        if whole >= size:
            return f"{whole // size}{unit}"
    return f"{whole}s"


def now_utc() -> datetime:
    """The wall clock, at the edge only."""
    return datetime.now(UTC)
