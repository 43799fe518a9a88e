"""A host of the lab for these tests alone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from meta_cluster.lab import hosts, lifecycle
from tests.integration.adapters_host.lab_bench import LabBench


@pytest.fixture(scope="session")
def lab_host() -> Iterator[hosts.Host]:
    """A fresh host; removed at the end, unless it was there before (KOK_TEST_HOST keeps one between runs)."""
    name = os.environ.get("KOK_TEST_HOST", f"adapters-{os.getpid()}")
    image, ground = lifecycle.host_ground()
    with lifecycle.exclusive():
        host = hosts.add(name, image=image, ground=ground)
    yield host
    if "KOK_TEST_HOST" not in os.environ:
        hosts.remove(name)


@pytest.fixture
def bench(lab_host: hosts.Host, tmp_path: Path) -> LabBench:
    """The host with nothing of kok on it."""
    bench = LabBench(hosts.host(lab_host.name), tmp_path)
    if bench.shell("test ! -e /etc/kok || echo used"):
        bench.wipe()
    return bench
