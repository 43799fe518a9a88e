"""Packages of a living host: upgraded, downgraded, reconfigured, spoiled and removed, while a container counts on. Real debs, a real systemd."""

from __future__ import annotations

import asyncio
import copy
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from meta_cluster.assets.folder import AssetsFolder
from meta_cluster.lab.catalogue import AssetFacts, lab_packages
from operators.adapters.ansible import AnsibleRunner
from operators.adapters.artifacts_http import HttpArtifacts
from operators.api.packages import MachinePackageVersion
from operators.api.pending import Effect
from operators.domain.machine.difference import differences
from operators.domain.machine.host import DesiredPackage
from operators.domain.machine.render import ClusterFacts, HostFacts, NodeFacts, desired_package
from operators.ports.ansible import HostOutcome
from tests import howto
from tests.contract.hosts import Ports
from tests.integration.adapters_host.lab_bench import PLAYBOOKS, LabBench

pytestmark = pytest.mark.integration

CLUSTER = ClusterFacts("demo", "https://10.89.0.2:31443", "", "10.97.0.10", "cluster.local", "10.245.0.0/16")
ROOT = "/var/tmp/counter"
COUNTER = f"""
rm -rf {ROOT}; mkdir -p {ROOT}
cp -L --parents /bin/sh /bin/sleep /lib/x86_64-linux-gnu/libc.so.6 /lib64/ld-linux-x86-64.so.2 {ROOT}
ctr -n k8s.io run -d --rootfs {ROOT} counter /bin/sh -c 'n=0; while :; do n=$((n+1)); echo $n > /count; sleep 0.1; done'
"""
STARTED = "pid=$(ctr -n k8s.io tasks list | awk '$1 == \"counter\" {print $2}'); echo $pid $(awk '{print $22}' /proc/$pid/stat)"


@pytest.fixture
def node(bench: LabBench) -> LabBench:
    """The bench with the assets and whatever a test keeps in its store."""
    for digest in AssetsFolder().root.joinpath("artifacts").iterdir():
        if not (bench.store / digest.name).exists():
            (bench.store / digest.name).symlink_to(digest.resolve())
    bench.runner = AnsibleRunner(HttpArtifacts(f"file://{bench.store}", bench.folder / "cache"), PLAYBOOKS, grants=bench.leave)
    bench.ports = Ports(bench.ports.ssh, bench.runner)
    return bench


def containerd() -> dict[str, Any]:
    """The lab's variant of the shipped package, without the images, which would only take time."""
    assets = {name: AssetFacts(entry.sha256, _deb_version(entry.path)) for name, entry in AssetsFolder().index().items()}
    path = next((PLAYBOOKS.parent / "packages/machine/containerd").glob("*.yaml"))
    released = yaml.safe_load(path.read_text())
    released["spec"]["artifacts"] = [each for each in released["spec"]["artifacts"] if each["as"] == "Deb"]
    (found,) = lab_packages([released], assets=assets, operator_image="unused")
    return found


def _deb_version(path: str) -> str:
    return _field(AssetsFolder().root / path, "Version") if path.endswith(".deb") else ""


def _field(deb: Path, name: str) -> str:
    return subprocess.run(["dpkg-deb", "-f", str(deb), name], capture_output=True, text=True, check=True, timeout=30).stdout.strip()


def filled(manifest: dict[str, Any], bench: LabBench) -> DesiredPackage:
    facts = HostFacts(NodeFacts(bench.name, bench.target.address), CLUSTER)
    return desired_package(MachinePackageVersion.model_validate(manifest), facts)


def another_deb(folder: Path) -> Path:
    """containerd in another Debian version: the one that apt has beside the shipped one, else the shipped one under another version."""
    shipped = AssetsFolder().root / AssetsFolder().index()["containerd-1.6.20"].path
    known = subprocess.run(["apt-cache", "madison", "containerd"], capture_output=True, text=True, check=False, timeout=60).stdout
    for version in {line.split("|")[1].strip() for line in known.splitlines()} - {_field(shipped, "Version")}:
        command = ["apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", f"containerd={version}"]
        if (
            version.startswith("1.6.20")
            and subprocess.run(command, cwd=folder, capture_output=True, check=False, timeout=120).returncode == 0
        ):
            return next(folder.glob("containerd_*.deb"))
    root = folder / "repacked"
    subprocess.run(["dpkg-deb", "-R", str(shipped), str(root)], check=True, timeout=120)
    control = root / "DEBIAN/control"
    control.write_text(control.read_text().replace(_field(shipped, "Version"), _field(shipped, "Version") + "+again1"))
    subprocess.run(["dpkg-deb", "-Znone", "-b", str(root), str(folder / "containerd.deb")], check=True, capture_output=True, timeout=120)
    return folder / "containerd.deb"


def reconfigured(manifest: dict[str, Any]) -> dict[str, Any]:
    """The next revision: one more setting."""
    found = copy.deepcopy(manifest)
    found["metadata"]["name"] += "-next"
    found["spec"]["files"][0]["content"] += '\n[debug]\nlevel = "info"\n'
    return found


def with_deb(manifest: dict[str, Any], deb: Path, bench: LabBench) -> dict[str, Any]:
    found = copy.deepcopy(manifest)
    found["metadata"]["name"] += "-deb"
    artifact = next(each for each in found["spec"]["artifacts"] if each["name"] == "containerd")
    artifact |= {"sha256": bench.keep(deb.read_bytes()), "packageVersion": _field(deb, "Version")}
    return found


async def counted(node: LabBench) -> int:
    for _ in range(50):
        if text := (await asyncio.to_thread(node.shell, f"cat {ROOT}/count")).strip():
            return int(text)
        await asyncio.sleep(0.05)  # it is being written: emptied, and not filled yet
    raise AssertionError("the counter's file stays empty")


@pytest.mark.slow
async def test_should_change_containerd_under_a_running_container(node: LabBench, tmp_path: Path) -> None:
    """Up, down and over settings, and what a person did is put back."""
    changes = ("reconfigured", "another deb", "back")
    shipped = containerd()
    deb = another_deb(tmp_path)
    steps = {
        "reconfigured": filled(reconfigured(shipped), node),
        "another deb": filled(with_deb(shipped, deb, node), node),
        "back": filled(shipped, node),
    }
    first = filled(shipped, node)
    outcome = await node.apply(first)
    assert not outcome.failed, outcome
    node.shell(COUNTER)
    started = node.shell(STARTED)
    for words in changes:
        wanted = steps[words]
        (found,) = differences((wanted,), await node.probe(wanted))
        assert found.effect is Effect.Restart, words
        before, main_pid = await counted(node), node.shell("systemctl show -p MainPID containerd")
        done = await node.apply(wanted)
        assert not done.failed, done
        assert differences((wanted,), await node.probe(wanted)) == (), words
        assert node.shell("systemctl show -p MainPID containerd") != main_pid, f"{words}: containerd itself was restarted"
        assert node.shell(STARTED) == started, f"{words}: the container's process is another one"
        await asyncio.sleep(0.5)
        assert await counted(node) > before, f"{words}: it does not count any more"
        assert await node.apply(wanted) == HostOutcome(0, failed=False), f"{words}: the second pass changes nothing"
    await _put_back(node, first, deb)
    assert (await node.apply(remove=("containerd",))).changed
    assert node.shell("dpkg-query -W -f '${Status}' containerd 2>/dev/null || true") in ("", "unknown ok not-installed")
    assert node.shell("test -e /etc/containerd || echo gone") == "gone\n"
    node.shell(f"rm -rf {ROOT}")


async def _put_back(node: LabBench, wanted: DesiredPackage, deb: Path) -> None:
    """The package downgraded by hand, as apt would: found, and put back."""
    node.copy_in(deb, "/root/other.deb")
    node.shell("dpkg --force-confold --force-downgrade -i /root/other.deb >/dev/null 2>&1; rm /root/other.deb")
    (found,) = differences((wanted,), await node.probe(wanted))
    assert found.words == "artifact containerd is missing or differs"
    assert not (await node.apply(wanted)).failed
    assert differences((wanted,), await node.probe(wanted)) == ()


@pytest.mark.slow
async def test_should_install_upgrade_mend_and_remove_the_package_of_the_how_to(node: LabBench) -> None:
    before = node.changed_files()
    keepalive = node.shell("cat /proc/sys/net/ipv4/tcp_keepalive_time")
    one = filled(howto.package(), node)
    two = filled(yaml.safe_load(howto.package_text().replace("1.0.0", "1.1.0")), node)
    assert not (await node.apply(one)).failed
    assert differences((one,), await node.probe(one)) == ()
    assert node.shell("until test -s /run/disk-watch; do sleep 0.1; done; cat /run/disk-watch").startswith(f"{node.name} ")
    spoiled = {
        "unit disk-watch.service is not running": "systemctl stop disk-watch.service",
        "sysctl net.ipv4.tcp_keepalive_time is 7200 (persisted: 600), wanted 600": "echo 7200 > /proc/sys/net/ipv4/tcp_keepalive_time",
        "disk-watch says version nothing, wanted 1.0.0": "rm /usr/local/bin/disk-watch",
    }
    for words, command in spoiled.items():
        node.shell(command)
        assert [each.words for each in differences((one,), await node.probe(one))] == [words]
        assert not (await node.apply(one)).failed
        assert differences((one,), await node.probe(one)) == ()
    (change,) = differences((two,), await node.probe(two))
    assert (change.words, change.effect) == ("disk-watch-1.0.0-r1 is installed, wanted disk-watch-1.1.0-r1", Effect.Restart)
    pid = node.shell("systemctl show -p MainPID disk-watch")
    assert not (await node.apply(two)).failed
    assert node.shell("/usr/local/bin/disk-watch --version") == "disk-watch 1.1.0\n"
    assert node.shell("systemctl show -p MainPID disk-watch") != pid
    assert (await node.apply(remove=("disk-watch",))).changed
    assert node.shell("cat /proc/sys/net/ipv4/tcp_keepalive_time") == keepalive
    assert node.shell("systemctl list-unit-files disk-watch.service --no-legend || true") == ""
    assert {path for path in node.changed_files() - before if "kok" not in path and path != "/var/cache"} == set()
