"""The operator dies right after its n-th write, for every n of an installation and of a decommissioning; the next one ends the work, once."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest

from operators.domain.machine.view import MachineView
from operators.machine_operator import kinds
from operators.machine_operator.claims import claim_name
from operators.machine_operator.machine.act import Actor
from operators.ports.kube import KubePort, Ref
from tests.integration.kube_proxies import CrashingKube, RecordingKube
from tests.integration.machine_operator.rig import Rig

pytestmark = pytest.mark.integration
META, BUSINESS = "meta", "business"


async def _install(rig: Rig, host: dict[str, Any]) -> None:
    await rig.until(lambda: rig.is_open(host))


async def _leave(rig: Rig, host: dict[str, Any]) -> None:
    async def gone() -> bool:
        claim = await rig.meta.get(kinds.HOST_CLAIM.ref(claim_name(host["address"], 22)))
        return claim is None and not await rig.machine(host) and await rig.node(host) is None

    await rig.until(gone)


def _dying(rig: Rig, server: str, after: int) -> dict[str, KubePort]:
    kube = rig.meta_record.kube if server == META else rig.business_record.kube
    return {server: CrashingKube(kube, after=after)}


async def _until_dead(rig: Rig, ports: dict[str, KubePort], seconds: float = 30.0) -> bool:
    """Whether the operator died of its n-th write; False if it never came to it."""
    (port,) = ports.values()
    assert isinstance(port, CrashingKube)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while not port.dead:  # noqa: ASYNC110 - the port is the product's, not ours to signal
                await asyncio.sleep(0.05)
    with contextlib.suppress(BaseException):
        await asyncio.wait({rig.running}, timeout=10)
    return port.dead


async def _crash_matrix(rig: Rig, server: str, last: int) -> list[str]:
    """One host per n: killed at its n-th write of an installation, ended by another operator."""
    told = []
    for number in range(1, last + 1):
        host = rig.host(f"h{server[0]}{number}", number + (100 if server == BUSINESS else 0))
        pool = f"p{server[0]}{number}"
        ports = _dying(rig, server, number)
        await rig.pool([host], name=pool)
        await rig.start(**ports)
        dead = await _until_dead(rig, ports, seconds=20)
        await rig.stop()
        (port,) = ports.values()
        told.append(f"{server} {number}: {'killed after ' + str(port.written()[-1]) if dead else 'not reached'}")  # type: ignore[attr-defined]
        await rig.start()
        await _install(rig, host)
        await rig.stop()
        assert rig.sim(host).jobs <= 3, f"{told[-1]}: {rig.sim(host).jobs} jobs"
        await _forget_pool(rig, pool)
    print("\n".join(told))
    return told


async def _forget_pool(rig: Rig, pool: str) -> None:
    """Out of the way of the next n; by hand, so that it costs no time."""
    ref = kinds.MACHINE_POOL.ref(pool, rig.namespace)
    await rig.meta.patch_json(ref, {"metadata": {"finalizers": None}})
    await rig.meta.delete(ref)
    for claim in (await rig.meta.list(kinds.HOST_CLAIM)).items:
        if claim["spec"]["namespace"] == rig.namespace:
            await rig.meta.delete(kinds.HOST_CLAIM.ref(claim["metadata"]["name"]))
    await rig.empty_business()


async def _writes_of_an_installation(rig: Rig) -> tuple[int, int]:
    host = rig.host("count", 250)
    rig.meta_record, rig.business_record = RecordingKube(rig.meta_record.kube), RecordingKube(rig.business_record.kube)
    await rig.pool([host], name="count")
    await rig.start()
    await _install(rig, host)
    await asyncio.sleep(1)
    await rig.stop()
    await _forget_pool(rig, "count")
    return len(rig.meta_record.written()), len(rig.business_record.written())


@pytest.mark.slow
async def test_should_end_every_installation_that_was_killed_at_its_nth_write(rig: Rig) -> None:
    meta, business = await _writes_of_an_installation(rig)
    told = [*await _crash_matrix(rig, META, meta), *await _crash_matrix(rig, BUSINESS, business)]
    assert sum("killed" in line for line in told) >= len(told) - 3, told


@pytest.mark.parametrize(("server", "number"), [(META, 3), (BUSINESS, 5)])
async def test_should_end_an_installation_that_was_killed(rig: Rig, server: str, number: int) -> None:
    """The quick part of the matrix above."""
    host = rig.host("h1", 1)
    ports = _dying(rig, server, number)
    await rig.pool([host])
    await rig.start(**ports)
    assert await _until_dead(rig, ports)
    await rig.stop()
    await rig.start()
    await _install(rig, host)


async def _leave_killed_at(rig: Rig, server: str, number: int, host: dict[str, Any], pool: str) -> bool:
    """Installed, taken out of its pool by an operator that dies after that write, ended by another; whether it died."""
    await rig.pool([host], name=pool)
    await rig.start()
    await _install(rig, host)
    await rig.stop()
    await rig.pool([], name=pool)
    ports = _dying(rig, server, number)
    await rig.start(**ports)
    dead = await _until_dead(rig, ports)
    await rig.stop()
    await rig.start()
    await _leave(rig, host)
    await rig.stop()
    assert rig.sim(host).owner is None
    assert len(set(rig.centre.granted)) == len(rig.centre.granted), "nothing was asked for twice"
    return dead


@pytest.mark.parametrize(("server", "number"), [(META, 2), (BUSINESS, 4)])
async def test_should_end_a_decommissioning_that_was_killed(rig: Rig, server: str, number: int) -> None:
    """The quick part of the matrix below."""
    assert await _leave_killed_at(rig, server, number, rig.host("h1", 1), "workers")


@pytest.mark.slow
@pytest.mark.parametrize("server", [META, BUSINESS])
async def test_should_end_every_decommissioning_that_was_killed_at_its_nth_write(rig: Rig, server: str) -> None:
    for number in range(1, 40):
        if not await _leave_killed_at(rig, server, number, rig.host(f"h{number}", number), f"p{number}"):
            break
        await _forget_pool(rig, f"p{number}")
    print(f"a decommissioning takes {number - 1} writes to {server}")
    assert 5 < number < 39


@pytest.mark.slow  # a control
@pytest.mark.parametrize("believes", [True, False])
async def test_should_notice_an_operator_that_believes_its_own_marks(rig: Rig, monkeypatch: pytest.MonkeyPatch, believes: bool) -> None:
    """Positive control: one that notes a step as done before it does it, and is killed in between, leaves a host that is never installed."""
    issue, marks = Actor._issue_token, set[str]()

    async def marked_first(self: Actor, view: MachineView) -> str:
        if view.name in marks and believes:
            return ""
        marks.add(view.name)
        return await issue(self, view)

    monkeypatch.setattr(Actor, "_issue_token", marked_first)
    host = rig.host("h1", 1)
    ports: dict[str, KubePort] = {BUSINESS: KilledAtTheToken(rig.business_record.kube, after=10_000)}
    await rig.pool([host])
    await rig.start(**ports)
    assert await _until_dead(rig, ports)
    assert marks, "it was killed after its mark"
    await rig.stop()
    await rig.start()
    with pytest.raises(AssertionError) if believes else contextlib.nullcontext():
        await rig.until(lambda: rig.is_open(host), seconds=6 if believes else 30)


class KilledAtTheToken(CrashingKube):
    """Dies when it would write a bootstrap token."""

    def _before(self, verb: str, ref: Ref) -> None:
        if verb == "apply" and ref.kind == "Secret" and ref.name.startswith("bootstrap-token-"):
            self.dead = True
        super()._before(verb, ref)


async def test_should_notice_an_operator_that_drains_without_leave(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Positive control for "without leave nothing dangerous happens": with both checks taken out, it does."""
    from operators.adapters.kube_danger import KubeDanger
    from operators.ports.grants import Grant, OpId

    async def leave(self: Actor, view: Any, operation: Any, workflow: Any) -> Grant:
        from operators.api.risk import Target

        target = Target(kind="Machine", name=view.name, cluster="demo")
        return Grant(OpId("forged"), rig.namespace, "x", operation, target)

    async def verify(self: KubeDanger, *_: object) -> None:
        return None

    host = rig.host("h1", 1)
    await rig.pool([host])
    await rig.start()
    await _install(rig, host)
    rig.centre.says_yes = False
    monkeypatch.setattr(Actor, "_leave", leave)
    since = len(rig.business_record.writes)
    await rig.pool([])
    await asyncio.sleep(2)
    assert not any(write.verb == "patch_json" and write.ref.kind == "Node" for write in rig.business_record.writes[since:]), (
        "verified again"
    )
    monkeypatch.setattr(KubeDanger, "_verify", verify)

    async def cordoned() -> bool:
        return any(write.verb == "patch_json" and write.ref.kind == "Node" for write in rig.business_record.writes[since:])

    await rig.until(cordoned)
