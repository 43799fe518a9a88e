"""From a pool to open nodes, and nothing more after that."""

from __future__ import annotations

import asyncio
import time

import pytest

from operators.machine_operator import kinds
from operators.machine_operator.tokens import token_ref
from tests.integration.machine_operator.rig import Rig, condition

pytestmark = pytest.mark.integration


async def test_should_make_hosts_open_nodes_and_then_write_nothing(rig: Rig) -> None:
    one, two = rig.host("m1", 1), rig.host("m2", 2)
    await rig.pool([one, two], labels={"tier": "web"}, taints=[{"key": "dedicated", "value": "x", "effect": "PreferNoSchedule"}])
    assembly = await rig.start()
    began = time.monotonic()
    await rig.until(lambda: rig.is_open(one, two))
    print(f"open after {time.monotonic() - began:.1f} s, {assembly.jobs.runs} runs")
    machine, node = await rig.machine(one), await rig.node(one)
    assert machine["spec"]["packages"] == ["containerd-1-r1", "kubelet-1-r1"]
    assert {c["type"]: c["status"] for c in machine["status"]["conditions"]} == {
        "Ready": "True", "Reconciling": "False", "Stalled": "False", "HostReachable": "True", "PackagesReady": "True", "NodeReady": "True", "GatesOpen": "True",
    }  # fmt: skip
    assert node is not None
    assert node["metadata"]["labels"]["tier"] == "web"
    assert [taint["key"] for taint in node["spec"]["taints"]] == ["dedicated"]
    assert assembly.jobs.runs == 1, "two hosts that need the same share one run"
    assert await rig.business.get(token_ref(machine["metadata"]["uid"])) is None, "the token is deleted after use"
    pool = await rig.until(lambda: _ready_pool(rig))
    assert (pool["status"]["machines"], pool["status"]["ready"]) == (2, 2)
    text = assembly.process.metrics.text().decode()
    assert 'kok_machines{state="open"} 2.0' in text
    assert "kok_ansible_runs 1.0" in text
    await _assert_quiet(rig, runs=1)


async def _ready_pool(rig: Rig) -> dict:  # type: ignore[type-arg]
    pool = await rig.meta.get(kinds.MACHINE_POOL.ref("workers", rig.namespace)) or {}
    return pool if condition(pool, "Ready").get("status") == "True" else {}


async def _assert_quiet(rig: Rig, *, runs: int) -> None:
    """Passes go on (each probe is one), writes do not; also not after a start anew."""
    assert rig.assembly is not None
    await asyncio.sleep(1)
    meta, business, looks = len(rig.meta_record.writes), len(rig.business_record.writes), rig.assembly.world.hands.probes.looks
    await asyncio.sleep(3 * rig.probe_seconds)
    assert rig.assembly.world.hands.probes.looks > looks, "the hosts are still looked at"
    assert (rig.meta_record.writes[meta:], rig.business_record.writes[business:]) == ([], [])
    await rig.stop()
    await rig.start()
    await asyncio.sleep(3 * rig.probe_seconds)
    assert (rig.meta_record.written()[meta:], rig.business_record.written()[business:]) == ([], [])
    assert len(rig.ansible.jobs) == runs
