"""One lab per run, a namespace per story. The lab that this run started is taken down at its end; one that was there stays.

The fleet of `make demo` is the ground of all stories, so the demo itself is the first thing that is proven.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from meta_cluster.assets.folder import AssetsFolder
from meta_cluster.demo import fleet as wish
from meta_cluster.demo import stories
from meta_cluster.lab import layout
from meta_cluster.lab.audit import audit_lines
from tests.e2e.audit import acts_in, acts_without_leave
from tests.e2e.ground import ROOT, Fleet, lab_status
from tests.e2e.plane_logs import PlaneLogs

UNMATCHED = pytest.StashKey[bool]()
WITHOUT_LEAVE = 3
"""How a run ends whose acts do not match its grants: not as one whose stories failed, for what was done cannot be seen in another run."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "/e2e/" in str(item.path):
            item.add_marker(pytest.mark.e2e)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if session.config.stash.get(UNMATCHED, False):
        session.exitstatus = WITHOUT_LEAVE


@pytest.fixture(scope="session")
def fleet(request: pytest.FixtureRequest) -> Iterator[Fleet]:
    began, logs = datetime.now(UTC), PlaneLogs()
    logs.start()
    ours = not os.environ.get("KOK_KEEP_LAB") and (not lab_status().get("kubeconfig") or _is_of_killed_tests())
    if ours:
        os.environ["KOK_LAB_OF"] = "tests"
    done = subprocess.run(["make", "demo"], cwd=ROOT, capture_output=True, text=True, timeout=3600, check=False)
    try:
        assert done.returncode == 0, f"make demo failed:\n{done.stdout}\n{done.stderr}"
        demo = stories.Demo(kubectl_binary=AssetsFolder().get(stories.KUBECTL), lab=lab_status())
        yield Fleet(demo.lab, demo.meta, demo.business, done.stdout)
        try:
            check_grants(began, logs.lines())
        except AssertionError:
            request.config.stash[UNMATCHED] = True
            raise
    finally:
        logs.stop()
        if ours:
            subprocess.run(["make", "demo-down"], cwd=ROOT, timeout=600, check=True)


def _is_of_killed_tests() -> bool:
    """Whether the lab that is up was made by tests which did not come to their end."""
    return layout.owner_path().is_file() and layout.owner_path().read_text() == "tests"


def check_grants(began: datetime, inside: dict[str, list[str]]) -> None:
    """Every deletion, eviction and cordon that an operator did in this run was done under a live grant, by the audit logs of the API servers.

    `inside`: namespace of a Cluster -> what its own API servers wrote.
    """
    lines = audit_lines()
    assert lines is not None, "this lab keeps no audit log, so acts cannot be matched to grants: kok lab down, and run again"
    assert inside.get(wish.NAMESPACE), "the demo's API server wrote no audit line, not even of the taints that its nodes lost"
    here, there = len(acts_in(lines, began)), len(acts_in([], began, inside))
    print(f"dangerous acts in audit logs: {here} in the meta cluster, {there} inside {len(inside)} business clusters")
    assert lines, "the audit log has not even the grant under which the demo rolls an API server: it was not written, or it was cut off"
    assert acts_without_leave(lines, began, inside) == [], "acts without a live grant"
