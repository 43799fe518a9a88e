"""One lab per run, a namespace per story. The lab that this run started is taken down at its end; one that was there stays.

The fleet of `make demo` is the ground of all stories, so the demo itself is the first thing that is proven.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

import pytest

from meta_cluster.assets.folder import AssetsFolder
from meta_cluster.demo import stories
from tests.e2e.ground import ROOT, Fleet, lab_status


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "/e2e/" in str(item.path):
            item.add_marker(pytest.mark.e2e)


@pytest.fixture(scope="session")
def fleet() -> Iterator[Fleet]:
    was_up = bool(lab_status().get("kubeconfig"))
    done = subprocess.run(["make", "demo"], cwd=ROOT, stdout=subprocess.PIPE, text=True, timeout=3600, check=False)
    try:
        assert done.returncode == 0, f"make demo failed:\n{done.stdout}"
        demo = stories.Demo(kubectl_binary=AssetsFolder().get(stories.KUBECTL), lab=lab_status())
        yield Fleet(demo.lab, demo.meta, demo.business, done.stdout)
    finally:
        if not was_up and not os.environ.get("KOK_KEEP_LAB"):
            subprocess.run(["make", "demo-down"], cwd=ROOT, timeout=600, check=True)
