"""The nodes' proxy over several meta addresses, on a real host: installed with what it needs of Debian, reloaded, gone again."""

from __future__ import annotations

import pytest
import yaml

from meta_cluster.assets import versions as v
from meta_cluster.assets.builder import Builder
from meta_cluster.assets.folder import AssetsFolder
from meta_cluster.assets.table import table
from meta_cluster.lab.catalogue import AssetFacts, lab_packages
from meta_cluster.lab.lifecycle import deb_version
from operators.adapters.ansible import AnsibleRunner
from operators.adapters.artifacts_http import HttpArtifacts
from operators.api.packages import MachinePackageVersion
from operators.domain.machine.difference import differences
from operators.domain.machine.host import DesiredPackage
from operators.domain.machine.render import ClusterFacts, HostFacts, NodeFacts, desired_package
from tests.contract.hosts import Ports
from tests.integration.adapters_host.lab_bench import PLAYBOOKS, LabBench

pytestmark = pytest.mark.integration
RELEASED = PLAYBOOKS.parent / "packages/machine/api-proxy/api-proxy-2.6.12-r1.yaml"
ASSETS = [f"haproxy-{v.HAPROXY}", *v.HAPROXY_LIBRARIES]
USERS = {f"/etc/{name}{end}" for name in ("passwd", "shadow", "group", "gshadow", "subuid", "subgid") for end in ("", "-")}
LIBRARIES = {"/etc/ld.so.cache", "/var/cache", "/var/cache/ldconfig", "/var/cache/ldconfig/aux-cache"}
DEBIANS_OWN = USERS | LIBRARIES
"""Rewritten by Debian when a package makes a user or brings a library, and when they go."""


def package(*hosts: str) -> DesiredPackage:
    folder = AssetsFolder()
    Builder(folder, table()).ensure(ASSETS)
    facts = {name: AssetFacts(entry.sha256, deb_version(folder, entry)) for name, entry in folder.index().items() if name in ASSETS}
    (variant,) = lab_packages([yaml.safe_load(RELEASED.read_text())], assets=facts, operator_image="unused")
    cluster = ClusterFacts("demo", "https://127.0.0.1:6443", "ca", "10.97.0.10", "cluster.local", "10.245.0.0/16", hosts, 31443, 31444)
    return desired_package(MachinePackageVersion.model_validate(variant), HostFacts(NodeFacts("n1", "10.0.0.1"), cluster))


@pytest.mark.slow
async def test_should_install_reload_and_leave_nothing(bench: LabBench) -> None:
    bench.runner = AnsibleRunner(
        HttpArtifacts(f"file://{AssetsFolder().root / 'artifacts'}", bench.folder / "cache"), PLAYBOOKS, grants=bench.leave
    )
    bench.ports = Ports(bench.ports.ssh, bench.runner)
    before, first, second = bench.changed_files(), package("10.89.0.2"), package("10.89.0.2", "10.89.0.3")

    installed = await bench.apply(first)
    assert not installed.failed, installed
    assert differences((first,), await bench.probe(first)) == ()
    assert {"127.0.0.1:6443", "127.0.0.1:8132"} <= set(bench.shell("ss -ltnH | awk '{print $4}'").split())

    process = main_process(bench)
    changed = await bench.apply(second)
    assert not changed.failed, changed
    assert main_process(bench) == process, "another list of addresses is a reload"
    assert "10.89.0.3:31443" in bench.shell("cat /etc/haproxy/haproxy.cfg")

    assert (await bench.clean()).changed
    assert bench.changed_files() - before - DEBIANS_OWN == set()
    assert bench.shell("ps ax -o comm | grep haproxy || true") == ""


def main_process(bench: LabBench) -> str:
    return bench.shell("systemctl show -p MainPID --value haproxy.service").strip()
