"""How long a test may take before it has failed: what hangs must not keep all others from being told of."""

from __future__ import annotations

import pytest

STORY_SECONDS = 20 * 60
SLOW_SECONDS = 90 * 60


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The default stands in pyproject.toml."""
    for item in items:
        if item.get_closest_marker("timeout"):
            continue
        if item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.timeout(SLOW_SECONDS, func_only=True))
        elif "/e2e/" in str(item.path):
            item.add_marker(pytest.mark.timeout(STORY_SECONDS, func_only=True))
