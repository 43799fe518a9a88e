"""The inventory of a meta cluster: what is taken, and the words of every refusal, each beside a neighbour that is taken."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from meta_cluster.bootstrap.inventory import Inventory, private_key_of, read_inventory
from meta_cluster.bootstrap.kubeadm import ignored_errors, init_documents, join_document
from operators.errors import ErrorCode, KokError

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGr"
ONE: dict[str, Any] = {"sshKeyFile": "id", "hosts": [{"name": "meta-1", "address": "192.0.2.11", "hostKeys": [KEY]}]}
THREE: dict[str, Any] = {
    "sshKeyFile": "id",
    "endpoint": {"host": "api.meta.example.org"},
    "hosts": [{"name": f"meta-{n}", "address": f"192.0.2.1{n}", "hostKeys": [KEY]} for n in (1, 2, 3)],
}


def read(folder: Path, content: dict[str, Any] | str) -> Inventory:
    path = folder / "hosts.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return read_inventory(path)


def changed(base: dict[str, Any], change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    content = copy.deepcopy(base)
    change(content)
    return content


@pytest.mark.parametrize("content", [ONE, THREE], ids=["one host", "three hosts"])
def test_should_take_one_host_or_three(tmp_path: Path, content: dict[str, Any]) -> None:
    found = read(tmp_path, content)
    assert (found.claim, found.api.port) == ("meta-cluster-meta", 6443)
    assert found.api.host == ("192.0.2.11" if content is ONE else "api.meta.example.org")
    assert found.ssh_key_file == tmp_path / "id"


@pytest.mark.parametrize(
    ("base", "change", "words"),
    [
        (THREE, lambda c: c["hosts"].pop(), "2 hosts are one too few"),
        (THREE, lambda c: c["hosts"].append(c["hosts"][0] | {"name": "meta-4", "address": "192.0.2.14"}), "hosts: .*at most 3 items"),
        (ONE, lambda c: c["hosts"].clear(), "hosts: .*at least 1 item"),
        (ONE, lambda c: c.pop("hosts"), "hosts: is missing"),
        (ONE, lambda c: c.pop("sshKeyFile"), "sshKeyFile: is missing"),
        (ONE, lambda c: c.update(nodes=[]), "nodes: there is no such field"),
        (ONE, lambda c: c["hosts"][0].update(name="Meta_1"), "hosts.0.name: 'Meta_1': String should match pattern"),
        (ONE, lambda c: c["hosts"][0].update(port=0), "hosts.0.port: '0': Input should be greater than or equal to 1"),
        (ONE, lambda c: c["hosts"][0].update(address="192.0.2.11; rm"), "hosts.0.address: '192.0.2.11; rm'"),
        (ONE, lambda c: c["hosts"][0].update(hostKeys=[]), "hosts.0.hostKeys: meta-1 has none; kok host scan 192.0.2.11"),
        (ONE, lambda c: c["hosts"][0].update(hostKeys=["garbage"]), "hosts.0.hostKeys.0: 'garbage'"),
        (THREE, lambda c: c["hosts"][1].update(name="meta-1"), "name meta-1 is there twice"),
        (THREE, lambda c: c["hosts"][1].update(address="192.0.2.11"), "address 192.0.2.11 is there twice"),
        (THREE, lambda c: c.pop("endpoint"), "endpoint: is missing; with three hosts"),
        (THREE, lambda c: c["endpoint"].update(port=70000), "endpoint.port: '70000'"),
        (ONE, lambda c: c.update(network={"podCIDR": "10.0.0.0/33"}), "network.podCIDR: '10.0.0.0/33'"),
        (ONE, lambda c: c.update(network={"podCIDR": "10.0.0.1/16"}), "network.podCIDR: '10.0.0.1/16': Input is not a valid IPv4 network"),
        (ONE, lambda c: c.update(network={"podCIDR": "10.200.0.0/24"}), "10.200.0.0/24 is too small"),
        (ONE, lambda c: c.update(network={"podCIDR": "10.201.0.0/16"}), "podCIDR 10.201.0.0/16 and serviceCIDR 10.201.0.0/16 overlap"),
        (ONE, lambda c: c.update(network={"podCIDR": "192.0.0.0/16"}), "192.0.0.0/16 holds the address 192.0.2.11 of meta-1"),
        (ONE, lambda c: c.update(insideContainers="perhaps"), "insideContainers: 'perhaps'"),
    ],
)
def test_should_refuse_naming_field_and_value(tmp_path: Path, base: dict[str, Any], change: Callable[..., object], words: str) -> None:
    with pytest.raises(KokError, match=words) as raised:
        read(tmp_path, changed(base, change))
    assert raised.value.code is ErrorCode.Usage
    assert "nothing was touched" in raised.value.hint
    assert str(tmp_path / "hosts.yaml") in raised.value.message


@pytest.mark.parametrize(("content", "words"), [("a: [", "is no YAML"), ("- a", "holds no inventory"), ("", "holds no inventory")])
def test_should_refuse_a_file_that_is_no_inventory(tmp_path: Path, content: str, words: str) -> None:
    with pytest.raises(KokError, match=words):
        read(tmp_path, content)
    with pytest.raises(KokError, match="No such file"):
        read_inventory(tmp_path / "nonesuch.yaml")


def test_should_refuse_a_key_file_that_holds_no_private_key(tmp_path: Path) -> None:
    inventory = read(tmp_path, ONE)
    with pytest.raises(KokError, match=r"sshKeyFile: .*cannot be read"):
        private_key_of(inventory)
    inventory.ssh_key_file.write_text(KEY)
    with pytest.raises(KokError, match="holds no private key"):
        private_key_of(inventory)
    inventory.ssh_key_file.write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nx\n")
    assert "PRIVATE KEY" in private_key_of(inventory)


def test_should_tell_kubeadm_what_the_inventory_says(tmp_path: Path) -> None:
    inventory = read(tmp_path, THREE | {"nameservers": ["192.0.2.53"], "network": {"podCIDR": "10.50.0.0/16"}})
    first, cluster, kubelet, proxy = yaml.safe_load_all(init_documents(inventory, "k" * 64))
    assert (first["certificateKey"], first["nodeRegistration"]["name"], first["nodeRegistration"]["taints"]) == ("k" * 64, "meta-1", [])
    assert cluster["controlPlaneEndpoint"] == "api.meta.example.org:6443"
    assert set(cluster["apiServer"]["certSANs"]) >= {"api.meta.example.org", "192.0.2.12", "meta-3"}
    assert cluster["networking"] == {"podSubnet": "10.50.0.0/16", "serviceSubnet": "10.201.0.0/16"}
    assert (kubelet["cgroupDriver"], kubelet["resolvConf"], "failSwapOn" in kubelet) == ("systemd", "/etc/kok/resolv.conf", False)
    assert proxy["mode"] == "iptables"
    join = yaml.safe_load(join_document(inventory, inventory.hosts[2], "k" * 64))
    assert join["controlPlane"]["localAPIEndpoint"]["advertiseAddress"] == "192.0.2.13"
    assert join["discovery"]["bootstrapToken"]["token"] == "@TOKEN@"
    assert "SystemVerification" not in ignored_errors(inventory)


def test_should_set_what_containers_need_only_for_containers(tmp_path: Path) -> None:
    inventory = read(tmp_path, ONE | {"insideContainers": True})
    _, _, kubelet, proxy = yaml.safe_load_all(init_documents(inventory, "k"))
    assert (kubelet["cgroupDriver"], kubelet["failSwapOn"], proxy["conntrack"]) == ("cgroupfs", False, {"maxPerCore": 0})
    assert "SystemVerification" in ignored_errors(inventory)
