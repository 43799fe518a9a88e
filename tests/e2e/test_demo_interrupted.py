"""`make demo`, killed again and again on its way from nothing, ends as the undisturbed one: the fleet of everybody else's stories."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator

import pytest

from meta_cluster.demo import fleet as wish
from meta_cluster.demo.kubectl import Kubectl
from meta_cluster.demo.stories import is_open
from tests.e2e.ground import ROOT, Fleet, lab_status

MARKS = (
    "network kok-lab",
    "kind create cluster",
    "images: importing",
    "CustomResourceDefinitions",
    "catalogue:",
    "  meta cluster  ",
    "cluster demo",
    "breaking: Secret",
    "breaking: containerd",
)
"""Lines of its output, in order. Each is the last that one run gets to say, and half a second later it is gone; the next run begins anew."""
WITHIN = 600.0
pytestmark = pytest.mark.slow


@pytest.fixture
def nothing(fleet: Fleet) -> Iterator[None]:
    """No lab at all; at the end the fleet is there again, whatever happened."""
    subprocess.run(["make", "demo-down"], cwd=ROOT, timeout=600, check=True)
    assert not lab_status().get("kubeconfig")
    yield
    subprocess.run(["make", "demo"], cwd=ROOT, timeout=1200, check=True)


@pytest.mark.usefixtures("nothing")
def test_should_come_to_the_same_fleet_however_often_it_is_killed(fleet: Fleet) -> None:
    reached = [mark for mark in MARKS if killed_at(mark)]
    assert reached == list(MARKS), "marks that no run said: they are not in its output any more"
    done = subprocess.run(["make", "demo"], cwd=ROOT, capture_output=True, text=True, timeout=1200, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "answered demo-2 as web.default.svc" in done.stdout
    lab = lab_status()
    business = Kubectl(fleet.business.binary, fleet.business.kubeconfig)
    assert {host["name"] for host in lab["hosts"]} >= set(wish.HOSTS)
    assert all(is_open(business, name) for name in wish.HOSTS)


def killed_at(mark: str) -> bool:
    """Run the demo until it says the mark, then SIGKILL it with all its children; whether it said it."""
    end_at = time.monotonic() + WITHIN
    with subprocess.Popen(
        ["make", "demo"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    ) as demo:
        try:
            assert demo.stdout
            for line in demo.stdout:
                if mark in line:
                    time.sleep(0.5)
                    return True
                assert time.monotonic() < end_at, f"nothing said {mark!r} within {WITHIN:.0f} s"
            return False
        finally:
            os.killpg(demo.pid, signal.SIGKILL)
