"""When the leave of a run's hosts is looked at: after the wait for a slot and for artifacts, and never is an error a yes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from operators.adapters import ansible
from operators.adapters.ansible import AnsibleRunner, Limits
from operators.adapters.ansible_leave import NOT_HARMLESS, WITHHELD, with_leave
from operators.api.packages import Artifact
from operators.api.risk import Operation, Outcome
from operators.domain.machine.host import Owner
from operators.errors import ErrorCode, KokError
from operators.ports.ansible import AnsibleJob, HostOutcome, HostWork, JobAction, require_leave
from operators.ports.grants import Grant, GrantsPort
from operators.ports.ssh import SshTarget
from tests.contract.leave import Leave

DIGEST = "a" * 64


class Store:
    """Artifacts that arrive when a test says so."""

    def __init__(self, file: Path) -> None:
        self.file, self.asked, self.arrives = file, asyncio.Event(), asyncio.Event()

    async def fetch(self, sha256: str, *, deadline: float) -> Path:
        self.asked.set()
        await self.arrives.wait()
        return self.file


class Runner(AnsibleRunner):
    """Knows what would have been played."""

    def __init__(self, store: Store, leave: Leave, folder: Path) -> None:
        super().__init__(store, folder, Limits(runs=1), grants=leave)
        self.played: list[str] = []

    async def _play(self, job: AnsibleJob, folder: Path) -> dict[str, HostOutcome]:
        self.played += [work.target.name for work in job.hosts]
        return {work.target.name: HostOutcome(1, failed=False) for work in job.hosts}


def work(host: str, grant: Grant | None) -> HostWork:
    artifact = Artifact.model_validate({"name": "x", "sha256": DIGEST, "as": "File", "path": "/x"})
    target = SshTarget(host, "10.0.0.1", 22, "root", ("k",), "key")
    return HostWork(target, Owner("c", "demo", "w"), artifacts=(artifact,), grant=grant)


def job(*works: HostWork, action: JobAction = JobAction.Apply) -> AnsibleJob:
    return AnsibleJob("x", action, works, 60)


async def unseen(job: AnsibleJob, grants: GrantsPort) -> tuple[AnsibleJob, dict[str, HostOutcome]]:
    return job, {}


@pytest.mark.parametrize("second_look", [True, False])
@pytest.mark.parametrize("first", [None, "another run"])
async def test_should_look_after_the_wait_for_a_slot_and_for_artifacts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: str | None, second_look: bool
) -> None:
    if not second_look:
        monkeypatch.setattr(ansible, "with_leave", unseen)
    store, leave = Store(tmp_path / "artifact"), Leave()
    runner = Runner(store, leave, tmp_path)
    before = asyncio.create_task(runner.run(job(work(first, None)))) if first else None
    grants = {name: leave.given(Operation.ApplyPackage, name) for name in ("m1", "m2")}
    run = asyncio.create_task(runner.run(job(*(work(name, grant) for name, grant in grants.items()), work("m3", None))))
    async with asyncio.timeout(10):
        await store.asked.wait()
        await leave.settle(grants["m1"], Outcome.Cancelled)
        store.arrives.set()
        outcomes = await run
        if before:
            await before
    assert runner.played == [*([first] if first else []), *([] if second_look else ["m1"]), "m2", "m3"]
    assert outcomes["m1"].withheld is second_look
    assert outcomes["m1"].message.startswith(WITHHELD) is second_look
    assert [outcomes[name].failed for name in ("m2", "m3")] == [False, False]


async def test_should_play_nothing_when_no_leave_of_a_run_holds(tmp_path: Path) -> None:
    store, leave = Store(tmp_path / "artifact"), Leave()
    store.arrives.set()
    runner, grant = Runner(store, leave, tmp_path), leave.given(Operation.DeleteMachine, "m1")
    await leave.settle(grant, Outcome.Cancelled)
    outcomes = await runner.run(job(work("m1", grant), action=JobAction.Clean))
    assert outcomes["m1"].withheld
    assert runner.played == []


@pytest.mark.parametrize("error", [KokError(ErrorCode.GrantInvalid, "no"), RuntimeError("no"), TimeoutError("no")])
async def test_should_take_every_error_for_a_no(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    leave = Leave()
    granted = work("m1", leave.given(Operation.ApplyPackage, "m1"))
    assert (await with_leave(job(granted), leave)) == (job(granted), {}), "the control: it would hold"

    async def fails(*given: Any, **named: Any) -> None:
        raise error

    monkeypatch.setattr(leave, "verify", fails)
    allowed, refused = await with_leave(job(granted, work("m2", None)), leave)
    assert [each.target.name for each in allowed.hosts] == ["m2"]
    assert list(refused) == ["m1"]


async def test_should_know_no_leave_for_staging() -> None:
    leave = Leave()
    _, refused = await with_leave(job(work("m1", leave.given(Operation.ApplyPackage, "m1")), action=JobAction.Stage), leave)
    assert refused["m1"].withheld


@pytest.mark.parametrize("make", [lambda work: job(work, action=JobAction.Clean), lambda work: require_leave(JobAction.Clean, work)])
def test_should_make_no_cleaning_without_leave(make: Callable[[HostWork], object]) -> None:
    make(work("m1", Leave().given(Operation.DeleteMachine, "m1")))
    with pytest.raises(KokError) as caught:
        make(work("m1", None))
    assert caught.value.code is ErrorCode.GrantInvalid


@pytest.mark.parametrize("judged", [True, False])
async def test_should_not_play_what_became_dangerous_while_it_waited(tmp_path: Path, judged: bool) -> None:
    """The control: without the second judgement it is run on a host whose node has registered meanwhile."""
    store, registered = Store(tmp_path / "artifact"), []
    runner = Runner(store, Leave(), tmp_path)

    async def hurts_by_now() -> str:
        return "node m1 has registered meanwhile" if registered else ""

    early = replace(work("m1", None), hurts_by_now=hurts_by_now if judged else None)
    running = asyncio.create_task(runner.run(job(early, work("m2", None))))
    await store.asked.wait()
    registered.append("m1")
    store.arrives.set()
    outcomes = await running
    assert runner.played == (["m2"] if judged else ["m1", "m2"])
    assert outcomes["m1"].withheld is judged
    assert outcomes["m1"].message.startswith(NOT_HARMLESS) is judged


@pytest.mark.parametrize("error", [KokError(ErrorCode.Unreachable, "no"), RuntimeError("no"), TimeoutError("no")])
async def test_should_take_every_error_of_a_judgement_for_a_no(error: Exception) -> None:
    async def fails() -> str:
        raise error

    allowed, refused = await with_leave(job(replace(work("m1", None), hurts_by_now=fails), work("m2", None)), Leave())
    assert [each.target.name for each in allowed.hosts] == ["m2"]
    assert refused["m1"].withheld
