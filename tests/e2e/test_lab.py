"""What can happen to a lab host happens to it as to a server, and nothing of the lab reaches outside."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest

from meta_cluster.lab import layout
from tests.e2e.ground import KOK, Fleet

HOST = "lab-story"
OUTSIDE = "192.0.2.1"  # an address of documentation (RFC 5737): nobody has it


def lab(*words: str) -> str:
    done = subprocess.run([str(KOK), "lab", *words], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def one_host(*words: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = json.loads(lab("host", *words, "-o", "json"))
    return found[0]


def on_host(*command: str) -> str:
    return lab("host", "exec", HOST, "--", *command).strip()


def boot_id() -> str:
    return on_host("cat", "/proc/sys/kernel/random/boot_id")


def answers(address: str) -> bool:
    try:
        socket.create_connection((address, 22), timeout=2).close()
    except OSError:
        return False
    return True


@pytest.fixture(scope="module")
def host_of_its_own(fleet: Fleet) -> Iterator[None]:
    """One for all of these stories: each leaves it running."""
    yield
    lab("host", "remove", HOST)


@pytest.fixture
def host(host_of_its_own: None) -> dict[str, Any]:
    """What the lab says of it, running."""
    return one_host("add", HOST)


def test_should_reboot_with_a_new_boot_id_and_the_same_disk(host: dict[str, Any]) -> None:
    before = boot_id()
    on_host("touch", "/root/mark")
    after = one_host("reboot", HOST)
    assert boot_id() != before
    assert on_host("ls", "/root/mark") == "/root/mark"
    assert after["hostKeys"] == host["hostKeys"]


def test_should_come_back_from_a_power_cycle_with_its_disk(host: dict[str, Any]) -> None:
    on_host("touch", "/root/mark")
    assert one_host("kill", HOST)["state"] == "exited"
    assert one_host("start", HOST)["state"] == "running"
    assert on_host("ls", "/root/mark") == "/root/mark"


def test_should_have_a_new_disk_and_host_key_after_a_reinstall(host: dict[str, Any]) -> None:
    on_host("touch", "/root/mark")
    after = one_host("reinstall", HOST)
    assert after["address"] == host["address"]
    assert after["hostKeys"] != host["hostKeys"]
    assert on_host("sh", "-c", "ls /root/mark || echo gone").endswith("gone")


def test_should_lose_and_find_its_network(host: dict[str, Any]) -> None:
    on_host("ip", "route", "add", "10.254.0.0/24", "via", str(layout.GATEWAY), "dev", "eth0")  # as a CNI does
    routes = on_host("ip", "route")
    assert answers(host["address"])
    assert one_host("partition", HOST)["state"] == "partitioned"
    assert one_host("partition", HOST)["state"] == "partitioned", "a second time changes nothing"
    assert not answers(host["address"])
    assert one_host("heal", HOST)["address"] == host["address"]
    assert answers(host["address"])
    assert on_host("ip", "route") == routes, "what was on the interface is lost"
    on_host("ip", "route", "del", "10.254.0.0/24")


def test_should_leave_a_host_that_runs_alone(host: dict[str, Any]) -> None:
    before = boot_id()
    assert one_host("add", HOST) == host
    assert boot_id() == before


@pytest.mark.parametrize("machine", [HOST, layout.META_NODE])
def test_should_refuse_what_wants_to_leave_the_machine_at_once(host: dict[str, Any], machine: str) -> None:
    began = time.monotonic()
    outward = ["docker", "exec", machine, "curl", "-sS", "-m", "8", f"http://{OUTSIDE}/"]
    done = subprocess.run(outward, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 7, f"not refused: {done.stdout}{done.stderr}"  # curl: could not connect; 28 would be a time-out
    assert time.monotonic() - began < 3


def test_should_touch_no_container_that_is_not_its_own(fleet: Fleet) -> None:
    done = subprocess.run([str(KOK), "lab", "host", "kill", layout.META_NODE], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert f"the lab has no host {layout.META_NODE}" in done.stderr
