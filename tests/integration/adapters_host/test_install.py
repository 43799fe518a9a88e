"""The packages of a node, whole, on a real host: installed, right at once, put back after every sort of drift, and gone again without a trace."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from meta_cluster.assets.folder import AssetsFolder
from meta_cluster.lab.catalogue import AssetFacts, lab_packages
from operators.adapters.ansible import AnsibleRunner
from operators.adapters.artifacts_http import HttpArtifacts
from operators.api.packages import MachinePackageVersion
from operators.domain.machine.difference import differences
from operators.domain.machine.host import DesiredPackage
from operators.domain.machine.render import ClusterFacts, HostFacts, NodeFacts, desired_package
from operators.ports.ansible import HostOutcome, HostWork, JobAction
from tests.contract.hosts import OWNER, Ports
from tests.integration.adapters_host.lab_bench import PLAYBOOKS, LabBench

pytestmark = pytest.mark.integration

PACKAGES = PLAYBOOKS.parent / "packages/machine"
OF_A_NODE = {
    "containerd": "containerd-1.6.20-r1",
    "cni-plugins": "cni-plugins-1.1.1-r1",
    "kubelet": "kubelet-1.35.4-r1",
    "sysctl-base": "sysctl-base-1-r1",
}
BOOTSTRAP = yaml.safe_dump(
    {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "t", "cluster": {"server": "https://127.0.0.1:1"}}],
        "users": [{"name": "t", "user": {"token": "abcdef.0123456789abcdef"}}],
        "contexts": [{"name": "t", "context": {"cluster": "t", "user": "t"}}],
        "current-context": "t",
    }
)
"""Of an API server that nobody is: a kubelet waits a minute for one before it ends; without any server in it, it ends at once."""
DRIFT = {
    "containerd": {
        "file /etc/containerd/config.toml is missing": "rm /etc/containerd/config.toml",
        "artifact images-node": "ctr -n k8s.io images rm registry.k8s.io/pause:3.10",
        "artifact containerd": "echo edited >> /usr/bin/ctr",
    },
    "cni-plugins": {"artifact plugins": "rm /opt/cni/bin/ptp"},
    "kubelet": {
        "file /etc/sysctl.d/90-kok-kubelet.conf was edited by hand": "echo '# edited' >> /etc/sysctl.d/90-kok-kubelet.conf",
        "file /etc/sysctl.d/90-kok-kubelet.conf says 0 for sysctl net.ipv4.ip_forward": "sed -i 's/ip_forward = 1/ip_forward = 0/' /etc/sysctl.d/90-kok-kubelet.conf",
        "file /etc/kubernetes/kubelet.yaml has mode 0600": "chmod 600 /etc/kubernetes/kubelet.yaml",
        "file /etc/kubernetes/kubelet.yaml was changed": "echo '# edited' >> /etc/kubernetes/kubelet.yaml",
        "artifact kubelet": "rm /usr/local/bin/kubelet",
        "unit file of kubelet.service was changed": "echo '# edited' >> /etc/systemd/system/kubelet.service",
        "unit kubelet.service is not enabled": "systemctl disable kubelet.service",
    },
}
"""Component -> what the probe says -> what a person did; in an order in which each is the first difference when it comes."""
HIDING = {"artifact kubelet": "kubelet says version nothing"}
"""Where a damage is named by what is seen of it first."""


@pytest.fixture
def node(bench: LabBench) -> LabBench:
    """The bench with the real store of artifacts."""
    artifacts = HttpArtifacts(f"file://{AssetsFolder().root / 'artifacts'}", bench.folder / "cache")
    bench.runner = AnsibleRunner(artifacts, PLAYBOOKS, grants=bench.leave)
    bench.ports = Ports(bench.ports.ssh, bench.runner)
    return bench


def node_packages(bench: LabBench, *, endpoint: str = "https://10.89.0.2:31443") -> tuple[DesiredPackage, ...]:
    """containerd, CNI plugins, kubelet and a sysctl profile, with the lab's settings."""
    assets = {name: AssetFacts(entry.sha256) for name, entry in AssetsFolder().index().items()}
    released = [yaml.safe_load((PACKAGES / component / f"{name}.yaml").read_text()) for component, name in OF_A_NODE.items()]
    variants = [m for m in lab_packages(released, assets=assets, operator_image="unused") if m["kind"] == "MachinePackageVersion"]
    ca = bench.shell(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout /dev/null -subj /CN=t -days 1 2>/dev/null"
    )
    cluster = ClusterFacts("demo", endpoint, ca, "10.97.0.10", "cluster.local", "10.245.0.0/16")
    facts = HostFacts(NodeFacts(bench.name, bench.target.address), cluster)
    wanted = [desired_package(MachinePackageVersion.model_validate(m), facts) for m in variants]
    return tuple(sorted(wanted, key=lambda package: package.order))


@pytest.mark.slow  # test_contract.py sees one drift of each sort; the demo installs two nodes
async def test_should_install_a_node_find_every_drift_and_leave_nothing(node: LabBench) -> None:
    before = node.changed_files()
    packages = node_packages(node)
    work = HostWork(node.target, OWNER, packages, bootstrap_kubeconfig=BOOTSTRAP, grant=None)

    first = (await node.run(JobAction.Apply, work))[node.name]
    assert not first.failed, first
    assert differences(packages, await node.probe(*packages)) == ()
    assert node.shell("systemctl is-active containerd").strip() == "active"
    assert node.shell("stat -c %a /etc/kubernetes/bootstrap-kubelet.conf").strip() == "600"
    assert (await node.run(JobAction.Apply, work))[node.name] == HostOutcome(0, failed=False)

    await see_every_drift(node, packages)
    again = (await node.run(JobAction.Apply, work))[node.name]
    assert (again.failed, again.changed) == (False, len(DRIFT)), again
    assert differences(packages, await node.probe(*packages)) == ()

    node.shell(run_a_container_as_a_pod_would())
    assert (await node.clean()).changed
    assert node.changed_files() - before == set()
    assert node.shell("ps ax -o comm | grep -E 'containerd|kubelet|pause' || true") == ""
    assert node.shell("grep -E ' /(var/lib/kubelet|run/containerd)/' /proc/mounts || true") == ""
    assert node.shell("iptables-save | grep -o -E 'KUBE-SERVICES|MINE' || true").split() == ["MINE"]
    assert node.shell("ip -o link show type bridge") == ""
    assert node.shell("cat /proc/sys/net/ipv4/ip_local_port_range").split() == ["32768", "60999"]
    assert node.shell("dpkg-query -W -f '${Package} ${Status}\\n' containerd runc 2>/dev/null || true") == ""


async def see_every_drift(node: LabBench, packages: tuple[DesiredPackage, ...]) -> None:
    for component, drifts in DRIFT.items():
        for words, command in drifts.items():
            node.shell(command)
            found = {d.component: d.words for d in differences(packages, await node.probe(*packages))}
            assert component in found, words
            assert HIDING.get(words, words) in found[component], (words, found)


def run_a_container_as_a_pod_would() -> str:
    """A container in containerd's namespace of pods, with mounts below the kubelet's folder and rules of a service proxy."""
    return (
        "mkdir -p /var/lib/kubelet/pods/p/volumes/v && mount -t tmpfs pod /var/lib/kubelet/pods/p/volumes/v;"
        "ctr -n k8s.io run -d registry.k8s.io/pause:3.10 leftover;"
        "ip link add cni0 type bridge; iptables -N KUBE-SERVICES; iptables -A INPUT -j KUBE-SERVICES; iptables -N MINE 2>/dev/null || true"
    )


async def test_should_finish_what_a_cut_play_began(node: LabBench) -> None:
    """The record of a cut play says what was to come: the next run restarts what it owes, and cleaning finds everything."""
    packages = node_packages(node)[:1]
    await node.apply(*packages)
    path = f"/etc/kok/packages/{packages[0].component}.json"
    record = json.loads(node.shell(f"cat {path}"))
    node.shell(f'sed -i \'s/"Applied"/"Applying"/\' {path}')
    assert record["state"] == "Applied"
    assert [d.package for d in differences(packages, await node.probe(*packages))] == [packages[0].name]
    assert (await node.apply(*packages)).changed == 1
    assert differences(packages, await node.probe(*packages)) == ()


async def test_should_name_the_disk_that_is_full(node: LabBench, tmp_path: Path) -> None:
    node.shell("mkdir -p /var/cache/kok && mount -t tmpfs -o size=8m small /var/cache/kok")
    try:
        outcome = await node.apply(*node_packages(node))
        assert outcome.failed
        assert "disk full: /var/cache/kok needs" in outcome.message
        assert "MiB are free" in outcome.message
    finally:
        node.shell("umount /var/cache/kok")


async def test_should_work_for_a_user_with_sudo(node: LabBench) -> None:
    node.shell("command -v sudo || exit 1; id admin 2>/dev/null || useradd -m -s /bin/sh admin; mkdir -p /home/admin/.ssh")
    node.shell("cp /root/.ssh/authorized_keys /home/admin/.ssh/; chown -R admin /home/admin/.ssh")
    node.shell("echo 'admin ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/admin")
    node.target = replace(node.target, user="admin")
    packages = tuple(p for p in node_packages(node) if p.component in ("cni-plugins", "sysctl-base"))
    outcome = await node.apply(*packages)
    assert not outcome.failed, outcome
    assert differences(packages, await node.probe(*packages)) == ()
