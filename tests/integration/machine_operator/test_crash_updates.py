"""The operator dies right after its n-th write of an update that drains; the next one ends it: same end, nothing asked for twice, one host at a time."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from operators.machine_operator import kinds
from operators.machine_operator.machine.act import Actor
from operators.ports.kube import KubePort
from tests.integration.kube_proxies import CrashingKube, RecordingKube
from tests.integration.machine_operator.rig import Rig
from tests.integration.machine_operator.test_crash import BUSINESS, META, _dying, _until_dead

pytestmark = pytest.mark.integration

OLD, NEW = ["containerd-1-r1", "kubelet-1-r1"], ["containerd-1-r1", "kubelet-2-r1"]

PATIENCE = 90.0
"""Seconds: two hosts one after the other, each drained, on a machine that has other things to do."""


class Watch:
    """Looks at the nodes all the time: how many are out of service at once."""

    def __init__(self, rig: Rig, hosts: list[dict[str, Any]]) -> None:
        self._rig, self._hosts, self.most = rig, hosts, 0

    async def look(self) -> None:
        while True:
            nodes = [await self._rig.node(host) or {} for host in self._hosts]
            self.most = max(self.most, sum(1 for node in nodes if (node.get("spec") or {}).get("unschedulable")))
            await asyncio.sleep(0.05)


async def _settled(rig: Rig, hosts: list[dict[str, Any]], names: list[str]) -> bool:
    """The end of an update: packages, nodes in service, nothing of kok's left on them, every grant reported."""
    for host in hosts:
        node = await rig.node(host) or {"metadata": {}, "spec": {}}
        found = sorted(each.name for each in rig.sim(host).installed.values())
        if found != sorted(names) or node["spec"].get("unschedulable") or not await rig.is_open(host):
            return False
        if "kok.dev/cordon-claims" in (node["metadata"].get("annotations") or {}):
            return False
    grants = (await rig.meta.list(kinds.GRANT, namespace=rig.namespace)).items
    released = (await rig.meta.get(kinds.POOL_RELEASE.ref("workers", rig.namespace)) or {})["spec"]["hosts"]
    return all(grant["spec"].get("outcome") for grant in grants) and all(entry.get("openedAt") for entry in released)


async def _pool(rig: Rig, hosts: list[dict[str, Any]], names: list[str]) -> None:
    await rig.pool(hosts, packages={"explicit": names})


async def _in_service(rig: Rig) -> list[dict[str, Any]]:
    hosts = [rig.host("m1", 1), rig.host("m2", 2)]
    await _pool(rig, hosts, OLD)
    await rig.start()
    await rig.until(lambda: _settled(rig, hosts, OLD), seconds=PATIENCE)
    await rig.stop()
    return hosts


async def _killed_and_ended(rig: Rig, hosts: list[dict[str, Any]], names: list[str], at: tuple[str, int]) -> str:
    """One update, killed at that write; what it was killed after. It ends with `names`, whatever happened."""
    jobs, granted = {host["name"]: rig.sim(host).jobs for host in hosts}, len(rig.centre.granted)
    ports: dict[str, KubePort] = dict(_dying(rig, *at))
    watch = Watch(rig, hosts)
    looking = asyncio.create_task(watch.look())
    await _pool(rig, hosts, names)
    await rig.start(**ports)
    dead = await _until_dead(rig, ports, seconds=PATIENCE / 3)
    await rig.stop()
    (port,) = ports.values()
    assert isinstance(port, CrashingKube)
    told = f"{at[0]} {at[1]}: {f'killed after {port.written()[-1]}' if dead else 'not reached'}"
    await rig.start()
    await rig.until(lambda: _settled(rig, hosts, names), seconds=PATIENCE)
    await rig.stop()
    looking.cancel()
    new = rig.centre.granted[granted:]
    assert len(set(new)) == len(new), f"{told}: asked twice: {new}"
    assert all(rig.sim(host).jobs - jobs[host["name"]] <= 2 for host in hosts), told
    assert watch.most <= 1, f"{told}: both were cordoned at once"
    return told


@pytest.mark.parametrize("at", [(META, 4), (BUSINESS, 3)], ids=str)
async def test_should_end_an_update_that_was_killed(rig: Rig, at: tuple[str, int]) -> None:
    """The quick part of the matrix below."""
    hosts = await _in_service(rig)
    assert "killed after" in await _killed_and_ended(rig, hosts, NEW, at)


@pytest.mark.slow
async def test_should_end_every_update_that_was_killed_at_its_nth_write(rig: Rig) -> None:
    hosts = await _in_service(rig)
    meta, business = await _writes_of_an_update(rig, hosts)
    wishes, told = [NEW, OLD], []
    matrix = [*((META, number) for number in range(1, meta + 1)), *((BUSINESS, number) for number in range(1, business + 1))]
    for index, at in enumerate(matrix):
        told.append(await _killed_and_ended(rig, hosts, wishes[index % 2], at))
    print("\n".join(told))
    assert sum("killed" in line for line in told) >= len(told) * 3 // 4, told


async def _writes_of_an_update(rig: Rig, hosts: list[dict[str, Any]]) -> tuple[int, int]:
    rig.meta_record, rig.business_record = RecordingKube(rig.meta_record.kube), RecordingKube(rig.business_record.kube)
    for names in (NEW, OLD):
        await _pool(rig, hosts, names)
        await rig.start()
        await rig.until(lambda names=names: _settled(rig, hosts, names), seconds=PATIENCE)
        await rig.stop()
    return len(rig.meta_record.written()) // 2, len(rig.business_record.written()) // 2


@pytest.mark.slow  # a control
async def test_should_notice_an_operator_that_never_reports_an_end(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Positive control: leave that is never given back keeps the same test from ending."""

    reports: list[Actor] = []

    async def nothing(self: Actor, *_: object) -> str:
        reports.append(self)
        await asyncio.sleep(0.1)  # it reports again at once, and for ever
        return ""

    async def unheard() -> bool:
        return len(reports) > 5

    hosts = await _in_service(rig)
    monkeypatch.setattr(Actor, "_settle", nothing)
    await _pool(rig, hosts, NEW)
    await rig.start()
    await rig.until(unheard, seconds=PATIENCE)
    assert not await _settled(rig, hosts, NEW)
