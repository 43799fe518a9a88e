"""What keeps a host from becoming one of a meta cluster: each obstacle by itself, and all of them in one answer."""

from __future__ import annotations

import importlib.util
import json
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

PATH = Path(__file__).parents[4] / "playbooks" / "meta" / "library" / "kok_meta_check.py"
CLAIM = "meta-cluster-meta"
DEBIAN = 'ID=debian\nVERSION_ID="12"\n'
MEMORY = "MemTotal:        4000000 kB\n"
LISTENS = "  sl  local_address rem_address   st\n   0: 00000000:{:04X} 00000000:0000 0A 0 0\n"


@pytest.fixture
def check(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module on a host on which everything is right."""
    spec = importlib.util.spec_from_file_location("kok_meta_check", PATH)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.texts = {"/etc/os-release": DEBIAN, "/proc/meminfo": MEMORY, "/proc/swaps": "Filename\n"}
    monkeypatch.setattr(module, "read", lambda path: module.texts.get(path, ""))
    monkeypatch.setattr(module.os, "cpu_count", lambda: 4)
    monkeypatch.setattr(module.os.path, "exists", lambda path: path in module.texts)
    monkeypatch.setattr(module.os.path, "isdir", lambda path: True)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: SimpleNamespace(free=20 * 2**30))
    return module


def obstacles(check: ModuleType, *, containers: bool = False, now: float | None = None) -> str:
    return "; ".join([*check.ownership(CLAIM), *check.machine(containers), *check.clock(time.time() if now is None else now)])


def test_should_find_nothing_on_a_good_host(check: ModuleType) -> None:
    assert obstacles(check) == ""


@pytest.mark.parametrize(
    ("path", "text", "words"),
    [
        ("/etc/os-release", 'ID=ubuntu\nVERSION_ID="24.04"\n', "it runs ubuntu 24.04"),
        ("/etc/os-release", "", "it runs ? ?"),
        ("/proc/meminfo", "MemTotal: 1000000 kB\n", "it has 976 MiB of memory"),
        ("/proc/swaps", "Filename\n/dev/sda2 partition\n", "it swaps; swapoff -a"),
        ("/etc/kubernetes/kubelet.conf", "x", "a node of some Kubernetes cluster already"),
        ("/proc/net/tcp", LISTENS.format(6443), "port 6443 is taken, kube-apiserver needs it"),
        (
            "/etc/kok/owner.json",
            json.dumps({"claim_uid": "c", "pool": "workers", "cluster": "demo"}),
            "it belongs to pool workers of cluster demo",
        ),
        ("/etc/kok/owner.json", "{broken", "it belongs to pool ?"),
    ],
)
def test_should_name_what_is_in_the_way(check: ModuleType, path: str, text: str, words: str) -> None:
    check.texts[path] = text
    assert words in obstacles(check)


def test_should_name_everything_at_once(check: ModuleType) -> None:
    check.texts |= {"/proc/meminfo": "MemTotal: 1000 kB", "/etc/os-release": "ID=arch\n", "/proc/net/tcp6": LISTENS.format(2379)}
    found = obstacles(check, now=time.time() - 180)
    assert all(words in found for words in ("memory", "arch", "port 2379", "its clock is 180 s ahead"))


def test_should_let_pass_what_is_our_own(check: ModuleType) -> None:
    check.texts |= {
        "/etc/kok/owner.json": json.dumps({"claim_uid": CLAIM}),
        "/etc/kubernetes/kubelet.conf": "x",
        "/proc/net/tcp": LISTENS.format(6443),
    }
    assert obstacles(check) == ""
    del check.texts["/etc/kok/owner.json"]
    assert obstacles(check) != ""


def test_should_not_mind_swap_of_the_machine_around_a_container(check: ModuleType) -> None:
    check.texts["/proc/swaps"] = "Filename\n/dev/sda2 partition\n"
    assert (obstacles(check, containers=True), obstacles(check) != "") == ("", True)
