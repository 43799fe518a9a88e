"""Three bare hosts of the lab become a meta cluster, and kok is installed on it: looked at, made, repeated, drifted, repeated."""

from __future__ import annotations

import json
import os
import re
import shlex
import stat
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import yaml

from meta_cluster.assets.folder import AssetsFolder
from meta_cluster.demo.kubectl import Kubectl, wait_until
from meta_cluster.lab import hosts, layout, lifecycle
from tests.e2e.ground import KOK, ROOT, Fleet
from tests.e2e.test_readme import commands, run_as_written

NAMES = ("meta-1", "meta-2", "meta-3")


def kok(*words: str, seconds: float = 1500) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(KOK), *words], capture_output=True, text=True, timeout=seconds, check=False)


def words_of(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def bare_hosts(fleet: Fleet) -> Iterator[list[hosts.Host]]:
    """Three fresh hosts beside the fleet, removed at the end."""
    image, ground = lifecycle.host_ground()
    with lifecycle.exclusive():
        found = [hosts.add(name, image=image, ground=ground) for name in NAMES]
    yield found
    for name in NAMES:
        hosts.remove(name)


def inventory_of(found: Sequence[hosts.Host], path: Path) -> Path:
    wish = {
        "sshKeyFile": str(layout.ssh_key_path()),
        "endpoint": {"host": found[0].address},
        "insideContainers": True,
        "nameservers": [str(layout.GATEWAY)],
        "hosts": [{"name": one.name, "address": one.address, "hostKeys": list(one.host_keys)} for one in found],
    }
    path.write_text(yaml.safe_dump(wish))
    return path


@pytest.fixture
def inventory(bare_hosts: list[hosts.Host], tmp_path: Path) -> Path:
    return inventory_of(bare_hosts, tmp_path / "hosts.yaml")


@pytest.mark.slow
def test_should_make_a_meta_cluster_of_three_hosts_and_install_kok_on_it(inventory: Path, tmp_path: Path) -> None:
    kubeconfig = tmp_path / "meta.kubeconfig"
    init = ("meta", "init", "--inventory", str(inventory), "--kubeconfig-out", str(kubeconfig))
    plan = words_of(kok(*init, "--dry-run"))
    assert all(f"would run kubeadm: it becomes a part of the control plane, on {name}" in plan for name in NAMES)
    assert not kubeconfig.exists()

    said = words_of(kok(*init))
    assert "the meta cluster meta is ready" in said
    assert stat.S_IMODE(os.stat(kubeconfig).st_mode) == 0o600
    meta = Kubectl(AssetsFolder().get("kubectl-1.35.4"), kubeconfig)
    assert {node["metadata"]["name"] for node in meta.items("nodes")} == set(NAMES)
    etcd = meta.items("pods", "-n", "kube-system", "-l", "component=etcd")
    assert len(etcd) == 3

    versions = {one["metadata"]["uid"]: one["metadata"]["generation"] for one in meta.items("deployments,daemonsets", "-A")}
    assert "0 changes: meta is as it should be" in words_of(kok(*init))
    assert {one["metadata"]["uid"]: one["metadata"]["generation"] for one in meta.items("deployments,daemonsets", "-A")} == versions

    subprocess.run(["docker", "exec", NAMES[2], "rm", "/usr/local/bin/kubeadm"], check=True, timeout=30)
    assert "packages: 1 hosts changed, 2 as they were" in words_of(kok(*init))

    image = next(word for word in said.split() if word.startswith("registry.kok.dev/kok:"))
    words_of(
        kok(
            "meta", "install", "--kubeconfig", str(kubeconfig), "--image", image, "--artifacts", "/var/cache/kok/sha256", "--timeout", "600"
        )
    )
    wait_until("kok is whole there", lambda: kok("meta", "status", "--kubeconfig", str(kubeconfig)).returncode == 0, timeout=120)
    assert (
        json.loads(meta.run("get", "deployment", "kok-cluster-operator", "-n", "kok-system", "-o", "json"))["status"]["readyReplicas"] == 2
    )


@pytest.mark.slow
def test_should_refuse_hosts_of_somebody_else_before_anything_is_touched(fleet: Fleet, inventory: Path) -> None:
    """The demo's hosts belong to its pool: nothing is changed on any host, theirs or ours."""
    wish = yaml.safe_load(inventory.read_text())
    owned = next(host for host in fleet.lab["hosts"] if host["name"].startswith("demo-"))
    wish["hosts"][2] |= {"name": owned["name"], "address": owned["address"], "hostKeys": owned["hostKeys"]}
    inventory.write_text(yaml.safe_dump(wish))
    done = kok("meta", "init", "--inventory", str(inventory))
    assert done.returncode != 0
    assert f"{owned['name']}: it belongs to pool" in done.stderr
    assert subprocess.run(["docker", "exec", NAMES[0], "test", "-e", "/etc/kok"], timeout=30, check=False).returncode == 1


def links_to_the_tree(folder: Path) -> Path:
    """As a clone, but what is written beside its files is not written into the work tree."""
    folder.mkdir()
    for entry in ROOT.iterdir():
        (folder / entry.name).symlink_to(entry)
    return folder


@pytest.mark.slow
def test_should_come_to_an_open_node_by_the_words_of_the_readme(bare_hosts: list[hosts.Host], tmp_path: Path) -> None:
    """A meta cluster of one host, then README's block with values of this machine: a plane, a node, both Ready.

    One thing is not as written: hosts that are containers need the lab's variants of packages, so these are in the catalogue too.
    """
    kubeconfig, node = tmp_path / "meta.kubeconfig", bare_hosts[1]
    said = words_of(
        kok("meta", "init", "--inventory", str(inventory_of(bare_hosts[:1], tmp_path / "hosts.yaml")), "--kubeconfig-out", str(kubeconfig))
    )
    install = next(line for line in said.splitlines() if "kok meta install" in line).partition(str(kubeconfig))[2].strip()
    packages = lifecycle.variants(AssetsFolder())
    values, block = commands("On your own meta cluster")
    mine = {
        "KUBECONFIG": str(kubeconfig),
        "INSTALL": install,
        "ENDPOINT": bare_hosts[0].address,
        "HOST": node.address,
        "SSH_KEY": str(layout.ssh_key_path()),
        "PACKAGE": packages[-1]["metadata"]["name"],
    }
    assert set(re.findall(r"\b([A-Z_]+)=", values)) == set(mine), "README's first block names what the second one uses"
    before, installed, after = block.partition("\nkubectl create namespace demo\n")
    catalogue = tmp_path / "lab-packages.json"
    catalogue.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": packages}))
    given = "\n".join(f"export {name}={shlex.quote(value)}" for name, value in mine.items())
    packages_too = f"kubectl apply --server-side -f {shlex.quote(str(catalogue))}"
    out = run_as_written(given, before, packages_too, installed, after, folder=links_to_the_tree(tmp_path / "kok"), seconds=2400)
    assert "Ready=True" in out
    again = words_of(kok("meta", "install", "--kubeconfig", str(kubeconfig), *shlex.split(install)))
    assert again.startswith("0 changes"), "a second run changes nothing"
