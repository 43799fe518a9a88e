"""Another version and back over the same etcd, with real binaries of both minors: nothing that was written in between is lost.

The stages are those of a hop: the new binary emulating the old minor, then free, then emulating again, then the old binary.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from operators.api import ClusterPackageVersion
from operators.domain.plane.desired_preparation import preparation
from operators.domain.plane.hops import new_hop
from operators.domain.plane.inputs import Manifest
from operators.domain.plane.paths import Package
from tests.integration.api_server import asset
from tests.integration.plane.rendered_plane import RenderedPlane
from tests.unit.operators.domain.plane.rendered import ROOT, a_cluster, templates

pytestmark = pytest.mark.integration
OLD, NEW = "1.34.4", "1.35.4"
AS_OPERATOR = "demo-operator-kubeconfig"


def package(version: str) -> ClusterPackageVersion:
    return ClusterPackageVersion.parse(yaml.safe_load((ROOT / f"packages/cluster/kubernetes-{version}-r1.yaml").read_text()))


@pytest.fixture
def plane() -> Iterator[RenderedPlane]:
    running = RenderedPlane(a_cluster())
    try:
        assert running.start_member("demo-etcd-0").returncode == 0
        running.wait("etcd", lambda: running.probe("demo-etcd-0", "readinessProbe", running.members["demo-etcd-0"]) == 200)
        yield running
    finally:
        running.close()


def serve(plane: RenderedPlane, version: str, *, emulated: str = "") -> str:
    """Exchange the API server; what it says it is."""
    if "apiserver" in plane.children:
        plane.kill("apiserver")
    plane.change_to(package(version), emulated=emulated)
    plane.start("apiserver")
    plane.wait("the API server", lambda: plane.probe("apiserver", "readinessProbe", plane.address) == 200)
    shown = json.loads(plane.kubectl(AS_OPERATOR, "get", "--raw", "/version").stdout)
    return f"{shown['gitVersion']} as {shown.get('emulationMajor', shown['major'])}.{shown.get('emulationMinor', shown['minor'])}"


def write(plane: RenderedPlane, name: str) -> None:
    done = plane.kubectl(AS_OPERATOR, "create", "configmap", name, "--from-literal=written=here")
    assert done.returncode == 0, done.stderr


def written(plane: RenderedPlane) -> list[str]:
    items = json.loads(plane.kubectl(AS_OPERATOR, "get", "configmaps", "-o", "json").stdout)["items"]
    return sorted(each["metadata"]["name"] for each in items if (each.get("data") or {}).get("written") == "here")


@pytest.mark.slow  # its short twin is the next
def test_should_keep_what_was_written_at_every_stage_of_a_minor_up_and_back(plane: RenderedPlane) -> None:
    assert serve(plane, OLD) == "v1.34.4 as 1.34"
    write(plane, "w1-before")
    assert serve(plane, NEW, emulated="1.34") == "v1.35.4 as 1.34"
    write(plane, "w2-soak")
    assert serve(plane, OLD) == "v1.34.4 as 1.34"
    assert written(plane) == ["w1-before", "w2-soak"], "during the soak the old binary takes over directly"
    serve(plane, NEW, emulated="1.34")
    assert serve(plane, NEW) == "v1.35.4 as 1.35"
    write(plane, "w3-free")
    serve(plane, NEW, emulated="1.34")
    write(plane, "w4-lowered")
    assert serve(plane, OLD) == "v1.34.4 as 1.34"
    assert written(plane) == ["w1-before", "w2-soak", "w3-free", "w4-lowered"]


def test_should_run_the_new_minor_under_emulation_and_go_straight_back(plane: RenderedPlane) -> None:
    """Up to the soak: the API server and the controllers of the new minor, then the old binary over what was written meanwhile."""
    assert serve(plane, OLD) == "v1.34.4 as 1.34"
    write(plane, "w1-before")
    assert serve(plane, NEW, emulated="1.34") == "v1.35.4 as 1.34"
    write(plane, "w2-soak")
    for component in ("controller-manager", "scheduler"):
        plane.start(component)
    plane.wait(
        "controllers",
        lambda: all(plane.probe(name, "readinessProbe", plane.address) == 200 for name in ("controller-manager", "scheduler")),
    )
    for component in ("controller-manager", "scheduler"):
        plane.kill(component)
    assert serve(plane, OLD) == "v1.34.4 as 1.34"
    assert written(plane) == ["w1-before", "w2-soak"]


def test_should_take_a_snapshot_that_a_person_can_restore(plane: RenderedPlane, tmp_path: Path) -> None:
    """The Job's own commands; then etcdutl by hand into a new folder, and an etcd on it."""
    serve(plane, OLD)
    write(plane, "w1-before")
    job = next(each for each in snapshot_objects(plane) if each["kind"] == "Job")
    home = plane.run_once("snapshot", job["spec"]["template"]["spec"])
    (file,) = (home / "snapshots").glob("*.db")
    write(plane, "w2-after")
    for name in ("apiserver", "demo-etcd-0"):
        plane.kill(name)
    data = plane.data_of("demo-etcd-0")
    member = next(path for path in data.rglob("member") if path.is_dir())
    restored = tmp_path / "restored"
    peer = f"https://{plane.members['demo-etcd-0']}:2380"
    words = ["snapshot", "restore", str(file), "--data-dir", str(restored), "--bump-revision", "1000000000", "--mark-compacted"]
    words += ["--name", "demo-etcd-0", "--initial-cluster", f"demo-etcd-0={peer}", "--initial-advertise-peer-urls", peer]
    subprocess.run([asset("etcdutl-3.6.8"), *words], check=True, capture_output=True, timeout=60)
    member.rename(tmp_path / "lost")
    (restored / "member").rename(member)
    assert plane.start_member("demo-etcd-0").returncode == 0
    serve(plane, OLD)
    assert written(plane) == ["w1-before"], "what was written after the snapshot is gone, what was before is there"


def snapshot_objects(plane: RenderedPlane) -> tuple[Manifest, ...]:
    hop = new_hop(Package.of(package(OLD)), Package.of(package(NEW)), now="2026-03-01T12:00:00Z")
    return preparation(plane.inputs, templates(), hop, package(NEW))
