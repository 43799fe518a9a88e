"""Artifacts that a rollout will need are put into the hosts' stores beforehand: nothing that is installed changes, nothing waits for a host that fails."""

from __future__ import annotations

import asyncio
import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from operators.adapters.sim_ssh import HostFault
from operators.domain.machine import staging
from operators.machine_operator import kinds
from operators.machine_operator.machine.act import Actor
from operators.ports.ansible import JobAction
from operators.ports.kube import Manifest
from tests.integration.machine_operator.rig import Rig, condition, mpv

pytestmark = pytest.mark.integration
NEXT = "kubelet-3-r1"
DIGESTS = {hashlib.sha256(name.encode()).hexdigest() for name in ("kubelet", "images")}


async def live(rig: Rig, count: int = 2, *, start: bool = True) -> list[dict[str, Any]]:
    """Hosts in service, and a package that none of them has."""
    artifacts = [{"name": name, "sha256": hashlib.sha256(name.encode()).hexdigest()} for name in ("kubelet", "images")]
    placed = [{**each, "as": "File", "path": f"/usr/local/bin/{each['name']}"} for each in artifacts]
    await rig.meta.apply(mpv(NEXT, "kubelet", order=30, artifacts=placed))
    hosts = [rig.host(f"m{number}", number) for number in range(1, count + 1)]
    await rig.pool(hosts, packages={"explicit": ["containerd-1-r1", "kubelet-1-r1"]})
    if start:
        await rig.start()
        await rig.until(lambda: rig.is_open(*hosts))
    return hosts


async def wish(rig: Rig, *packages: str, hours: float = 1.0) -> None:
    """What a rollout wants staged, as the Cluster-Operator writes it."""
    until = (datetime.now(UTC) + timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M:%SZ")
    entries = [{"rollout": "train", "packages": list(packages), "until": until}] if packages else []
    await rig.meta.patch_json(kinds.POOL_RELEASE.ref("workers", rig.namespace), {"spec": {"staging": entries}})


async def shown(rig: Rig) -> dict[str, Any]:
    """What the pool says of the package."""
    pool: Manifest = await rig.meta.get(kinds.MACHINE_POOL.ref("workers", rig.namespace)) or {}
    return dict(((pool.get("status") or {}).get("staging") or [{}])[0])


async def counts(rig: Rig, *, staged: int, failed: int = 0, seconds: float = 30.0) -> dict[str, Any]:
    async def agrees() -> dict[str, Any]:
        found = await shown(rig)
        return found if (found.get("staged", -1), found.get("failed", -1)) == (staged, failed) else {}

    return dict(await rig.until(agrees, seconds=seconds))


def staging_jobs(rig: Rig) -> list[list[str]]:
    return [[work.target.name for work in job.hosts] for job in rig.ansible.jobs if job.action is JobAction.Stage]


async def quiet(rig: Rig, seconds: float) -> tuple[int, int]:
    await asyncio.sleep(seconds)
    return len(rig.ansible.jobs), len(rig.meta_record.written()) + len(rig.business_record.written())


async def test_should_stage_on_every_host_once_change_nothing_and_take_it_out_again(rig: Rig) -> None:
    hosts = await live(rig)
    before = {host["name"]: dict(rig.sim(host).installed) for host in hosts}
    await wish(rig, NEXT)
    assert (await counts(rig, staged=2))["hosts"] == 2
    assert all(rig.sim(host).staged == DIGESTS for host in hosts)
    assert staging_jobs(rig) == [[host["name"] for host in hosts]], "hosts that lack the same share one run"
    assert {host["name"]: dict(rig.sim(host).installed) for host in hosts} == before
    assert await rig.is_open(*hosts)
    assert condition(await rig.machine(hosts[0]), "Staged")["status"] == "True"
    calm = await quiet(rig, 1.5)
    assert await quiet(rig, 3.0) == calm, "a pass over hosts that have it runs and writes nothing"
    await wish(rig)

    async def gone() -> bool:
        return not any(rig.sim(host).store & DIGESTS for host in hosts) and not await shown(rig)

    await rig.until(gone, seconds=30)
    assert not condition(await rig.machine(hosts[0]), "Staged")


async def test_should_say_what_keeps_a_host_from_it_go_on_with_others_and_try_again(rig: Rig) -> None:
    hosts = await live(rig, 3)
    rig.sim(hosts[0]).fault, rig.sim(hosts[1]).fault = HostFault.DiskFull, HostFault.RefusesConnections
    await wish(rig, NEXT, "nobody-1-r1")
    found = await counts(rig, staged=1, failed=2)
    assert found["trouble"].startswith(f"{hosts[0]['name']}: task 'stage artifacts' failed: disk full")
    told = condition(await rig.machine(hosts[1]), "Staged")
    assert "MachinePackageVersion nobody-1-r1 is not in the meta cluster" in told["message"]
    for host in hosts[:2]:
        rig.sim(host).fault = HostFault.Nothing
    await counts(rig, staged=3)


async def test_should_take_a_host_there_although_it_could_not_be_staged(rig: Rig) -> None:
    (one,) = await live(rig, 1)
    rig.sim(one).fault = HostFault.DiskFull
    await wish(rig, NEXT)
    await counts(rig, staged=0, failed=1)
    rig.sim(one).fault = HostFault.Nothing
    await rig.pool([one], packages={"explicit": ["containerd-1-r1", NEXT]})

    async def there() -> bool:
        return rig.sim(one).installed["kubelet"].name == NEXT and await rig.is_open(one)

    await rig.until(there, seconds=30)
    await counts(rig, staged=1)


async def test_should_take_out_by_itself_what_a_rollout_left_behind(rig: Rig) -> None:
    (one,) = await live(rig, 1)
    await wish(rig, NEXT)
    await counts(rig, staged=1)
    await wish(rig, NEXT, hours=-1)

    async def gone() -> bool:
        return not rig.sim(one).staged and not await shown(rig)

    await rig.until(gone, seconds=30)


async def test_should_go_on_where_a_killed_operator_was(rig: Rig) -> None:
    hosts = await live(rig)
    rig.ansible.seconds = 1.0
    await wish(rig, NEXT)

    async def under_way() -> bool:
        return bool(staging_jobs(rig))

    await rig.until(under_way)
    await rig.stop()
    rig.sim(hosts[1]).store.clear()
    rig.sim(hosts[1]).staged.clear()
    rig.ansible.seconds = 0.0
    await rig.start()
    await counts(rig, staged=2)
    assert staging_jobs(rig)[1:] == [[hosts[1]["name"]]], "who has it gets it no second time"


async def test_should_notice_an_operator_that_believes_its_runs(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Positive control: where a run that ended counts as proof, a host that lost what it got is shown as staged."""
    monkeypatch.setattr(staging, "lacking", lambda package, report: ())
    (one,) = await live(rig, 1)
    await wish(rig, NEXT)
    with pytest.raises(AssertionError):
        await asyncio.wait_for(rig.until(lambda: _has(rig, one), seconds=3), 10)


async def test_should_notice_an_operator_that_stages_nothing(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Positive control of the first test."""

    async def nothing(self: Actor, view: object, step: object) -> None:
        return None

    monkeypatch.setattr(Actor, "stage", nothing)
    (one,) = await live(rig, 1)
    await wish(rig, NEXT)
    with pytest.raises(AssertionError):
        await rig.until(lambda: _has(rig, one), seconds=3)


async def _has(rig: Rig, host: dict[str, Any]) -> bool:
    return bool(rig.sim(host).staged)
