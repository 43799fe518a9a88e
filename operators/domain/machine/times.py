"""Times of the API server as datetimes. Pure; called by whoever reads them."""

from __future__ import annotations

from datetime import datetime


def parse_time(text: str) -> datetime | None:
    """An RFC 3339 time with its zone; None if it is none."""
    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00")) if text else None
    except ValueError:
        return None
    return moment if moment and moment.tzinfo else None
