"""Keeps a status from being written at every pass only because its numbers moved: they are brought up to date at a bounded rate. Pure.

Whatever changes in kind (a phase, a verdict, a member, words) is shown at once. Called by `status`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from operators.domain.risk.identity import at, stamp

NUMBERS_EVERY = timedelta(seconds=30)
"""How often numbers alone are a reason to write."""
MEASURED = "measuredAt"
NUMBER = re.compile(r"(?<![\w./-])[-+]?\d+(?:[.,:]\d+)*(?:e[-+]?\d+)?%?(?![\w/-])")
"""A number that stands for itself, no part of a name."""


def calm(shown: Mapping[str, Any], wanted: dict[str, Any], now: datetime) -> dict[str, Any]:
    """What to show: as it is shown if nothing but numbers differs and those are fresh; else as wanted, with when that was."""
    before = {key: value for key, value in shown.items() if key != MEASURED}
    if before == wanted:
        return dict(shown)
    measured = shown.get(MEASURED)
    if measured and abs(now - at(measured)) < NUMBERS_EVERY and _masked(before) == _masked(wanted):
        return dict(shown)
    return {**wanted, MEASURED: stamp(now)}


def _masked(value: Any) -> Any:
    """The same without the numbers in its words."""
    if isinstance(value, str):
        return NUMBER.sub("#", value)
    if isinstance(value, Mapping):
        return {key: _masked(each) for key, each in value.items()}
    return [_masked(each) for each in value] if isinstance(value, list) else value
