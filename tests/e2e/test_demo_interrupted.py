"""`make demo`, killed again and again on its way from nothing, ends as the undisturbed one; `make demo-down` removes what demos made and nothing else.

At the end of each story the fleet of everybody else's stories is there again.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from meta_cluster.assets.folder import AssetsFolder
from meta_cluster.demo import fleet as wish
from meta_cluster.demo.kubectl import Kubectl
from meta_cluster.demo.stories import KUBECTL, is_open
from meta_cluster.lab import engine, layout
from meta_cluster.lab.docker import attempt, docker, inspect, labelled
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
def there_again(fleet: Fleet) -> Iterator[None]:
    """The fleet is there again at the end, whatever happened."""
    yield
    subprocess.run(["make", "demo"], cwd=ROOT, timeout=1200, check=True)


@pytest.fixture
def foreign(fleet: Fleet) -> Iterator[str]:
    """The name of a container, a network and a volume that look as if they were the lab's and do not carry its label."""
    name = "kok-control-plane2"
    image = inspected("container", layout.META_NODE)["Config"]["Image"]
    try:
        docker("network", "create", name)
        docker("volume", "create", name)
        docker("create", "--name", name, "--network", name, "--volume", f"{name}:/kept", "--entrypoint", "sleep", image, "infinity")
        docker("start", name)
        yield name
    finally:
        attempt("rm", "--force", name)
        attempt("network", "rm", name)
        attempt("volume", "rm", name)


@pytest.mark.usefixtures("there_again")
def test_should_remove_exactly_what_demos_made(foreign: str) -> None:
    lab = labelled("container", layout.LABELLED)
    assert len(lab) >= 3, "the meta cluster's node and two hosts"
    volumes = {mount["Name"] for name in lab for mount in inspected("container", name)["Mounts"] if mount["Type"] == "volume"}
    before = {kind: things(kind) for kind in ("container", "network", "volume")}
    subprocess.run(["make", "demo-down"], cwd=ROOT, timeout=600, check=True)
    gone = {kind: before[kind] - things(kind) for kind in before}
    assert gone == {"container": set(lab), "network": {layout.NETWORK}, "volume": volumes}
    assert volumes, "a lab of machines without volumes proves less"
    assert inspected("container", foreign)["State"]["Running"], "somebody else's container was stopped"
    assert not engine.fence_is_up(), "rules of the fence stayed"
    left = {path.name for path in layout.state_folder().iterdir()}
    assert not left & {"kubeconfig", "meta-node-id", "demo.kubeconfig"}, "credentials of what is gone"
    assert AssetsFolder().get(KUBECTL).is_file(), "assets are not the demo's: the next one needs them"
    subprocess.run(["make", "demo-down"], cwd=ROOT, timeout=600, check=True)


def things(kind: str) -> set[str]:
    """Names of all that Docker has of a kind."""
    form = "{{.Names}}" if kind == "container" else "{{.Name}}"
    return set(docker(kind, "ls", *(["--all"] if kind == "container" else []), "--format", form).split())


def inspected(kind: str, name: str) -> Mapping[str, Any]:
    found = inspect(kind, name)
    assert found, f"no {kind} {name}"
    return found


@pytest.fixture
def nothing(there_again: None) -> None:
    """No lab at all."""
    subprocess.run(["make", "demo-down"], cwd=ROOT, timeout=600, check=True)
    assert not lab_status().get("kubeconfig")


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
