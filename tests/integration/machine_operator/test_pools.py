"""Pools that cannot be wished, hosts that belong to somebody else, updates in batches."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from operators.adapters.sim_ssh import HostFault
from operators.machine_operator import kinds
from operators.machine_operator.claims import claim_name
from tests.integration.machine_operator.rig import Rig, condition

pytestmark = pytest.mark.integration


INSIDE = "10.245.7.7"
"""An address of the pods' range that a Cluster has by default."""


async def _pool_stalled(rig: Rig, reason: str, name: str = "workers") -> str:
    pool = await rig.meta.get(kinds.MACHINE_POOL.ref(name, rig.namespace)) or {}
    found = condition(pool, "Stalled")
    return str(found["message"]) if found.get("status") == "True" and found["reason"] == reason else ""


async def _says(rig: Rig, reason: str, words: str) -> bool:
    return words in await _pool_stalled(rig, reason)


async def test_should_touch_nothing_while_a_pool_is_wrong_and_heal_when_it_is_corrected(rig: Rig) -> None:
    one, two = rig.host("m1", 1), rig.host("m2", 2)
    taken = rig.host("m3", 3)
    await rig.pool([taken], name="older")
    await asyncio.sleep(1.1)  # creation times are whole seconds
    await rig.start()
    await rig.until(lambda: rig.is_open(taken))
    wrong = [
        ([one, {**taken, "name": rig.name("m9")}], {}, "HostDuplicate", "have the same address"),
        ([one, {**taken, "address": "10.200.0.1"}], {}, "HostDuplicate", "is also in pool older"),
        ([one, {**two, "address": INSIDE}], {}, "NetworkOverlap", f"spec.hosts[1].address: {INSIDE} of host {two['name']} lies in"),
        ([one, {**two, "hostKeys": []}], {}, "HostKeyMissing", "has no hostKeys"),
        ([one], {"packages": {"explicit": ["nonesuch-1-r1"]}}, "PackageMissing", "nonesuch-1-r1 is not in the meta cluster"),
        ([one], {"packages": {"explicit": ["kubelet-1-r1", "kubelet-1-r2"]}}, "PackageConflict", "are both kubelet"),
    ]
    for hosts, spec, reason, words in wrong:
        await rig.pool(hosts, **spec)
        await rig.until(lambda reason=reason, words=words: _says(rig, reason, words))
    assert await rig.meta.get(kinds.POOL_RELEASE.ref("workers", rig.namespace)) is None
    assert len(rig.ansible.jobs) == 1, "the older pool's host, and nothing else"
    assert not await rig.machine(one)
    assert await rig.is_open(taken)
    await rig.pool([one, two])
    await rig.until(lambda: rig.is_open(one, two))


async def test_should_say_who_has_a_host_and_take_it_when_it_is_free(rig: Rig) -> None:
    one = rig.host("m1", 1)
    spec = {"address": one["address"], "port": 22, "namespace": "elsewhere", "cluster": "prod", "pool": "blue", "host": "b1"}
    spec |= {"poolUid": "x", "claimedAt": "2026-01-01T00:00:00Z", "connection": {**one, "name": "b1"}}
    ref = kinds.HOST_CLAIM.ref(claim_name(one["address"], 22))
    head = {"apiVersion": "kok.dev/v1alpha1", "kind": "HostClaim", "metadata": {"name": ref.name}}
    await rig.meta.create({**head, "spec": spec})
    await rig.pool([one])
    await rig.start()
    message = await rig.until(lambda: _pool_stalled(rig, "HostClaimed"))
    assert "claimed by pool elsewhere/blue (host b1" in message
    stalled = condition(await rig.machine(one), "Stalled")
    assert (stalled["status"], stalled["reason"]) == ("True", "HostClaimed")
    assert rig.sim(one).probes == 0, "nothing connects to a host that is somebody else's"
    await rig.meta.delete(ref)
    await rig.until(lambda: rig.is_open(one), seconds=90)  # whoever waits for a host asks again every 30 s


async def test_should_change_hosts_one_after_the_other_and_stop_at_the_first_failure(rig: Rig) -> None:
    hosts = [rig.host(f"m{number}", number) for number in range(1, 4)]
    await rig.pool(hosts, packages={"explicit": ["containerd-1-r1", "kubelet-1-r1"]})
    await rig.start()
    await rig.until(lambda: rig.is_open(*hosts))
    await rig.pool(hosts, packages={"explicit": ["containerd-1-r1", "kubelet-1-r2"]})
    most = 0

    async def all_new() -> bool:
        nonlocal most
        names = {host["name"]: (await rig.node(host) or {}) for host in hosts}
        closed = [n for n, node in names.items() if any(t["key"] == "kok.dev/not-ready" for t in node["spec"].get("taints") or [])]
        most = max(most, len(closed))
        return all(rig.sim(host).installed["kubelet"].name == "kubelet-1-r2" for host in hosts) and await rig.is_open(*hosts)

    await rig.until(all_new)
    assert most <= 1, "at most one of three is out of service"
    assert [len(job.hosts) for job in rig.ansible.jobs[-3:]] == [1, 1, 1]
    rig.sim(hosts[0]).fault = HostFault.FailsOnApply
    await rig.pool(hosts, packages={"explicit": ["containerd-1-r1", "kubelet-1-r1"]})
    message = await rig.until(lambda: _waiting(rig))
    assert f"{hosts[0]['name']}" in message
    await asyncio.sleep(2)
    assert [rig.sim(host).installed["kubelet"].name for host in hosts[1:]] == ["kubelet-1-r2"] * 2


async def _waiting(rig: Rig) -> str:
    pool: dict[str, Any] = await rig.meta.get(kinds.MACHINE_POOL.ref("workers", rig.namespace)) or {}
    message = str((pool.get("status") or {}).get("message", ""))
    return message if "simulated failure" in message else ""


async def test_should_drain_with_leave_before_a_change_that_needs_it(rig: Rig) -> None:
    one = rig.host("m1", 1)
    await rig.pool([one])
    await rig.start()
    await rig.until(lambda: rig.is_open(one))
    assert rig.centre.granted == [], "a first installation needs no leave"
    rig.centre.says_yes = False
    await rig.pool([one], packages={"follow": "Cluster", "extra": ["kubelet-2-r1"]})

    async def waits() -> bool:
        return "ApplyPackage" in (await rig.machine(one))["status"]["message"]

    await rig.until(waits)
    assert len(rig.ansible.jobs) == 1
    rig.centre.says_yes = True

    async def done() -> bool:
        node = await rig.node(one) or {}
        return rig.sim(one).installed["kubelet"].name == "kubelet-2-r1" and not node["spec"].get("unschedulable") and await rig.is_open(one)

    await rig.until(done)
    assert rig.centre.granted == [f"ApplyPackage {one['name']}"]

    async def settled() -> bool:
        grants = (await rig.meta.list(kinds.GRANT, namespace=rig.namespace)).items
        return [grant["spec"].get("outcome") for grant in grants] == ["Succeeded"]

    await rig.until(settled)


async def test_should_report_runs_that_failed_under_leave_as_failures_and_ask_anew(rig: Rig) -> None:
    """What breakers count: each run that failed; what did not is a success, and nothing is reported twice."""
    one = rig.host("m1", 1)
    await rig.pool([one])
    await rig.start()
    await rig.until(lambda: rig.is_open(one))
    rig.sim(one).fault = HostFault.FailsOnApply
    await rig.pool([one], packages={"follow": "Cluster", "extra": ["kubelet-2-r1"]})

    async def outcomes() -> list[str]:
        grants = (await rig.meta.list(kinds.GRANT, namespace=rig.namespace)).items
        return sorted(str(grant["spec"].get("outcome", "")) for grant in grants)

    async def failed_twice() -> bool:
        return (await outcomes()).count("Failed") >= 2

    await rig.until(failed_twice)
    failed = rig.sim(one).jobs - 1  # but the installation
    assert failed - 1 <= (await outcomes()).count("Failed") <= failed
    rig.sim(one).fault = HostFault.Nothing

    async def done() -> bool:
        return rig.sim(one).installed["kubelet"].name == "kubelet-2-r1" and await rig.is_open(one)

    await rig.until(done)

    async def settled() -> bool:
        found = await outcomes()
        return found.count("Succeeded") == 1 and "" not in found

    await rig.until(settled)


async def test_should_take_nothing_away_while_the_pool_that_a_host_left_is_wrong(rig: Rig) -> None:
    one, two = rig.host("m1", 1), rig.host("m2", 2)
    await rig.pool([one, two])
    await rig.start()
    await rig.until(lambda: rig.is_open(one, two))
    await rig.pool([one], packages={"explicit": ["nonesuch-1-r1"]})

    async def kept() -> bool:
        return "is kept as it is" in (await rig.machine(two))["status"]["message"]

    await rig.until(kept)
    await asyncio.sleep(1)
    assert rig.centre.granted == []
    assert rig.sim(two).owner is not None
    await rig.pool([one])

    async def gone() -> bool:
        return not await rig.machine(two) and rig.sim(two).owner is None

    await rig.until(gone)
