"""One thing goes wrong on one host: one clear condition there, the others go on, and it heals when the cause is gone."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from operators.adapters.sim_ssh import HostFault
from operators.machine_operator import kinds, probes
from tests.integration.machine_operator.rig import KEY, Rig, condition

pytestmark = pytest.mark.integration

FAULTS = [
    (HostFault.RefusesConnections, "HostRefused", "the connection was refused"),
    (HostFault.RefusesKey, "HostRefused", "Permission denied"),
    (HostFault.NoSudo, "HostNoSudo", "a password is required"),
    (HostFault.DiskFull, "HostDiskFull", "only 0 MiB of 40960 MiB are free"),
    (HostFault.FailsOnApply, "AnsibleFailed", "dpkg --install: simulated failure"),
    (HostFault.Hangs, "HostTimeout", "did not answer within 2s"),
]


async def _stalled(rig: Rig, host: dict[str, Any], reason: str) -> dict[str, Any]:
    found = condition(await rig.machine(host), "Stalled")
    return found if found.get("status") == "True" and found["reason"] == reason else {}


async def test_should_show_one_clear_condition_each_let_others_go_on_and_heal(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every fault at once, each on a host of its own, beside one that is well."""
    monkeypatch.setattr(probes, "DEADLINE_SECONDS", 2.0)
    good, bad = rig.host("good", 1), [rig.host(f"bad{number}", number + 2) for number in range(len(FAULTS))]
    for host, (fault, _, _) in zip(bad, FAULTS, strict=True):
        rig.sim(host).fault = fault
    await rig.pool([good, *bad])
    await rig.start()
    await rig.until(lambda: rig.is_open(good))
    for host, (_, reason, words) in zip(bad, FAULTS, strict=True):
        found = await rig.until(lambda host=host, reason=reason: _stalled(rig, host, reason))
        assert words in found["message"]
        assert condition(await rig.machine(host), "Ready")["status"] == "False"
    for host in bad:
        rig.sim(host).fault = HostFault.Nothing
    await rig.until(lambda: rig.is_open(*bad))
    for host in bad:
        assert condition(await rig.machine(host), "Stalled")["status"] == "False"


async def test_should_know_that_it_is_us_when_ssh_to_many_fails_and_begin_nothing(rig: Rig) -> None:
    """A new version of a package is on its way; SSH is lost to all but two hosts while their kubelets report. The control is one host that is lost."""
    hosts = [rig.host(f"m{number}", number + 1) for number in range(5)]
    await rig.pool(hosts)
    await rig.start()
    await rig.until(lambda: rig.is_open(*hosts))
    rig.sim(hosts[0]).fault = HostFault.RefusesConnections
    await rig.until(lambda: _stalled(rig, hosts[0], "HostRefused"))
    for host in hosts[1:3]:
        rig.sim(host).fault = HostFault.RefusesConnections
    found = await rig.until(lambda: _stalled(rig, hosts[1], "ManyUnreachable"))
    assert "SSH fails to 3 of 5 hosts although their nodes are Ready" in found["message"]
    await rig.until(lambda: _stalled(rig, hosts[0], "ManyUnreachable"))
    runs = len(rig.ansible.jobs)
    rig.sim(hosts[4]).spoil_unit("containerd", "containerd.service")
    found = await rig.until(lambda: _stalled(rig, hosts[4], "ManyUnreachable"))
    assert len(rig.ansible.jobs) == runs, "nothing is begun, not even on a host that answers"
    assert condition(await rig.machine(hosts[3]), "Ready")["status"] == "True"
    for host in hosts[:3]:
        rig.sim(host).fault = HostFault.Nothing
    await rig.until(lambda: rig.is_open(*hosts))
    assert len(rig.ansible.jobs) > runs


async def test_should_try_a_failing_host_less_and_less_often(rig: Rig) -> None:
    bad = rig.host("bad", 1)
    rig.sim(bad).fault = HostFault.FailsOnApply
    await rig.pool([bad])
    await rig.start()
    await rig.until(lambda: _stalled(rig, bad, "AnsibleFailed"))
    seen: list[float] = []

    async def tried_often() -> bool:
        seen.extend([time.monotonic()] * (rig.sim(bad).jobs - len(seen)))
        return len(seen) >= 5

    await rig.until(tried_often)
    pauses = [later - earlier for earlier, later in pairwise(seen)]
    assert pauses[2] > 0.8, f"0.3, 0.6, 1.2, 2 s between tries, or more on a busy machine: {pauses}"
    assert pauses[3] > 1.5, pauses
    idents = [job.ident for job in rig.ansible.jobs]
    assert len(set(idents)) == len(idents), "another try has another id"


async def test_should_stop_at_a_changed_host_key(rig: Rig) -> None:
    one = rig.host("m1", 1)
    await rig.pool([one])
    await rig.start()
    await rig.until(lambda: rig.is_open(one))
    other = KEY.replace("AAAA", "BBBB")
    rig.fleet.reinstall(one["address"], host_key=other)
    found = await rig.until(lambda: _stalled(rig, one, "HostKeyChanged"))
    assert "not pinned" in found["message"]
    jobs = len(rig.ansible.jobs)
    await rig.pool([{**one, "hostKeys": [other]}])
    await rig.until(lambda: _installed_again(rig, one, jobs))
    await rig.until(lambda: rig.is_open(one))


async def _installed_again(rig: Rig, host: dict[str, Any], jobs: int) -> bool:
    return len(rig.ansible.jobs) > jobs and rig.sim(host).kubelet_credentials


async def test_should_heal_what_somebody_changed_on_a_host_with_one_run(rig: Rig) -> None:
    one = rig.host("m1", 1)
    await rig.pool([one])
    await rig.start()
    await rig.until(lambda: rig.is_open(one))
    rig.sim(one).spoil_unit("containerd", "containerd.service")
    await rig.until(lambda: _runs(rig, 2))
    assert [package.component for package in rig.ansible.jobs[1].hosts[0].packages] == ["containerd"], "only what differs is applied"
    await rig.until(lambda: rig.is_open(one))
    verbs = [f"{write.verb} {write.ref.kind}" for write in rig.business_record.writes]
    assert verbs.count("patch_json Node") >= 3, "opened, closed while it differed, opened again"


async def _runs(rig: Rig, count: int) -> bool:
    return len(rig.ansible.jobs) >= count


async def test_should_close_a_node_that_is_not_ready_or_was_booted_anew(rig: Rig) -> None:
    one = rig.host("m1", 1)
    await rig.pool([one])
    await rig.start()
    await rig.until(lambda: rig.is_open(one))
    kubelet = rig.ansible.kubelets[one["name"]]
    await kubelet.report(ready=False)
    await rig.until(lambda: _closed(rig, one))
    assert "container runtime is down" in (await rig.machine(one))["status"]["message"]
    await kubelet.report(ready=True)
    await rig.until(lambda: rig.is_open(one))
    closes = _node_patches(rig)
    rig.fleet.reboot(one["address"])
    await kubelet.report(ready=True)

    async def judged_anew() -> bool:
        node = await rig.node(one) or {}
        return node["metadata"]["annotations"]["kok.dev/opened-boot-id"] == rig.sim(one).boot_id and await rig.is_open(one)

    await rig.until(judged_anew)
    assert _node_patches(rig) >= closes + 2, "closed, and opened for the new boot id"


def _node_patches(rig: Rig) -> int:
    return sum(1 for write in rig.business_record.writes if write.ref.kind == "Node")


async def _closed(rig: Rig, host: dict[str, Any]) -> bool:
    node = await rig.node(host) or {}
    return any(taint["key"] == "kok.dev/not-ready" for taint in node["spec"].get("taints") or [])


async def test_should_not_obey_a_business_admin_about_packages(rig: Rig) -> None:
    one = rig.host("m1", 1)
    await rig.pool([one])
    await rig.start()
    await rig.until(lambda: rig.is_open(one))
    ref = kinds.MACHINE_KIND.ref(one["name"])
    await rig.business.patch_json(ref, {"spec": {"packages": ["sysctl-1-r1"], "pool": "other"}})

    async def put_back() -> bool:
        return (await rig.machine(one))["spec"]["packages"] == ["containerd-1-r1", "kubelet-1-r1"]

    await rig.until(put_back)
    assert len(rig.ansible.jobs) == 1
    assert "sysctl" not in rig.sim(one).installed


async def test_should_wait_for_the_gates_of_the_pool(rig: Rig) -> None:
    one = rig.host("m1", 1)
    gates = [{"type": "DiskChecked", "source": "NodeCondition"}]
    await rig.pool([one], readinessGates=gates)
    await rig.start()
    found = await rig.until(lambda: _gate(rig, one))
    assert "the Node has no such condition" in found["message"]
    kubelet = rig.ansible.kubelets[one["name"]]
    node = await rig.node(one) or {}
    now = (datetime.now(UTC) + timedelta(seconds=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    conditions = [
        *node["status"]["conditions"],
        {"type": "DiskChecked", "status": "True", "reason": "Checked", "message": "", "lastHeartbeatTime": now},
    ]
    assert kubelet.client is not None
    from operators.ports.kube import Subresource

    await kubelet.client.patch_json(kinds.NODE.ref(one["name"]), {"status": {"conditions": conditions}}, subresource=Subresource.Status)
    await rig.until(lambda: rig.is_open(one))


async def _gate(rig: Rig, host: dict[str, Any]) -> dict[str, Any]:
    found = condition(await rig.machine(host), "DiskChecked")
    ready = condition(await rig.machine(host), "NodeReady")
    return found if ready.get("status") == "True" and found.get("status") == "False" else {}
