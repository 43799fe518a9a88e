"""A share of the slow tests, so that CI runs all of them in turn: one group of so many, for as long as there is time. `-p tests.share`, by .ci/run.

Groups are equally large; a test's place follows from its name alone. What there was no time for is skipped, and says so: it is no failure.
"""

from __future__ import annotations

import time
from zlib import crc32

import pytest

_DEADLINE = pytest.StashKey[float]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("share")
    group.addoption("--share", default="0/1", help="GROUP/GROUPS: run the tests of this group only (0 is the first).")
    group.addoption("--share-seconds", type=float, default=float("inf"), help="Begin no test later than this.")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_DEADLINE] = time.monotonic() + config.getoption("--share-seconds")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """After everything that deselects: the groups are of what is left. What failed is run again whole: it was of the share."""
    if config.getoption("lf", False):
        return
    number, groups = map(int, config.getoption("--share").split("/"))
    dealt = sorted(items, key=lambda item: crc32(item.nodeid.partition("@")[0].encode()))
    mine = set(dealt[number % groups :: groups])
    config.hook.pytest_deselected(items=[item for item in items if item not in mine])
    items[:] = [item for item in items if item in mine]


def pytest_runtest_setup(item: pytest.Item) -> None:
    if time.monotonic() > item.config.stash[_DEADLINE]:
        pytest.skip("there was no time left for it")
