"""What every pair of SshPort and AnsiblePort does, whoever implements it. Run over the simulated hosts (tests/unit) and over a real one (tests/integration)."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum

import pytest

from operators.api.packages import Artifact, Effects, InstallAs, Observe, Removal, Unit
from operators.api.risk import Operation, Outcome
from operators.domain.machine.difference import differences
from operators.domain.machine.host import DesiredFile, DesiredPackage, HostReport, Owner
from operators.errors import ErrorCode, KokError
from operators.ports.ansible import LEAVE_LEFT, AnsibleJob, AnsiblePort, HostOutcome, HostWork, JobAction
from operators.ports.ssh import SshPort, SshTarget
from tests.contract.leave import Leave

OWNER = Owner("claim-1", "demo", "workers", 7)
SCRIPT = b"#!/bin/sh\necho demo 1.2.3\n"
TRAP = "every {{ 6 * 7 }} and {% raw %} arrives as it is\n"
"""Ansible must not read its own templates in somebody's file."""


class Spoil(Enum):
    """What a person changes by hand."""

    File = "File"
    Unit = "Unit"
    Sysctl = "Sysctl"
    Artifact = "Artifact"


class Fault(Enum):
    """How a host is out of reach."""

    RefusesConnections = ErrorCode.HostRefused
    RefusesKey = "RefusesKey"
    Hangs = ErrorCode.HostTimeout
    OtherHostKey = ErrorCode.HostKeyChanged
    NoHostKey = ErrorCode.HostKeyMissing
    NoSudo = ErrorCode.HostNoSudo


class Withdrawal(Enum):
    """How leave that was given does not hold any more, or never was for this."""

    Settled = "Settled"
    RunsOut = "RunsOut"
    OtherOperation = "OtherOperation"
    OtherTarget = "OtherTarget"


EXPECTED = {fault: ErrorCode.HostRefused if fault is Fault.RefusesKey else fault.value for fault in Fault}


@dataclass(frozen=True, slots=True)
class Ports:
    """The pair under test."""

    ssh: SshPort
    ansible: AnsiblePort


class HostBench(ABC):
    """One host that a test may spoil."""

    ports: Ports
    target: SshTarget
    leave: Leave

    @abstractmethod
    def spoil(self, what: Spoil) -> None:
        """Changes something of package `service` by hand."""

    @abstractmethod
    def out_of_reach(self, fault: Fault) -> SshTarget:
        """A target that fails in this way."""

    async def probe(self, *packages: DesiredPackage) -> HostReport:
        return await self.ports.ssh.probe(self.target, packages, deadline=20)

    async def apply(self, *packages: DesiredPackage, owner: Owner = OWNER, remove: tuple[str, ...] = ()) -> HostOutcome:
        work = HostWork(self.target, owner, packages, remove, grant=None)
        return (await self.run(JobAction.Apply, work))[self.target.name]

    async def stage(self, *artifacts: Artifact, owner: Owner = OWNER, keep: tuple[str, ...] | None = None) -> HostOutcome:
        kept = tuple(artifact.sha256 for artifact in artifacts) if keep is None else keep
        work = HostWork(self.target, owner, artifacts=artifacts, keep=kept, grant=None)
        return (await self.run(JobAction.Stage, work))[self.target.name]

    async def clean(self, owner: Owner = OWNER) -> HostOutcome:
        grant = self.leave.given(Operation.DeleteMachine, self.target.name)
        return (await self.run(JobAction.Clean, HostWork(self.target, owner, grant=grant)))[self.target.name]

    async def run(self, action: JobAction, *works: HostWork) -> Mapping[str, HostOutcome]:
        return await self.ports.ansible.run(AnsibleJob("contract", action, works, timeout=90))


def service() -> DesiredPackage:
    """A package with one of everything that needs no distribution package."""
    return DesiredPackage(
        name="service-1.2.3-r1",
        component="service",
        version="1.2.3",
        order=10,
        effect=Effects(),
        artifacts=(
            Artifact.model_validate(
                {"name": "demo", "sha256": hashlib.sha256(SCRIPT).hexdigest(), "as": InstallAs.File, "path": "/usr/local/bin/kok-demo"}
            ),
        ),
        files=(DesiredFile("/etc/kok-demo/demo.conf", TRAP, notify="kok-demo.service"), DesiredFile("/etc/kok-demo/key", "k\n", "0600")),
        units=(Unit(name="kok-demo.service", content="[Service]\nExecStart=/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n"),),
        sysctls={"net.ipv4.tcp_slow_start_after_idle": "0", "net.ipv4.ip_local_port_range": "10240 60999"},
        kernel_modules=("overlay",),
        observe=Observe(command=("/usr/local/bin/kok-demo",), pattern=r"demo (\S+)"),
        remove=Removal(purge=("/var/lib/kok-demo",)),
    )


def seen(what: Spoil, report: HostReport) -> object:
    """The part of a report that tells of one sort of spoiling."""
    found = report.packages["service"]
    return {Spoil.File: found.files, Spoil.Unit: found.units, Spoil.Sysctl: found.sysctls, Spoil.Artifact: found.artifacts}[what]


def settings(text: str = "b\n") -> DesiredPackage:
    """A package that is one file."""
    files = (DesiredFile("/etc/kok-settings/b.conf", text),)
    return DesiredPackage("settings-1-r1", "settings", "1", 20, Effects(), files=files)


class HostContract:
    """The tests; a subclass brings the fixture `bench`, whose host has nothing of kok on it."""

    async def test_should_report_nothing_of_a_fresh_host(self, bench: HostBench) -> None:
        report = await bench.probe(service())
        assert report.owner is None
        assert report.boot_id
        assert not report.kubelet_credentials
        assert [d.component for d in differences((service(),), report)] == ["service"]

    async def test_should_match_after_apply_and_change_nothing_the_second_time(self, bench: HostBench) -> None:
        first = await bench.apply(service(), settings())
        assert not first.failed, first
        assert first.changed
        report = await bench.probe(service(), settings())
        assert differences((service(), settings()), report) == ()
        assert report.owner == OWNER
        assert await bench.apply(service(), settings()) == HostOutcome(0, failed=False)

    async def test_should_see_and_put_back_what_a_person_changed(self, bench: HostBench) -> None:
        await bench.apply(service(), settings())
        for what in Spoil:
            before = await bench.probe(service(), settings())
            bench.spoil(what)
            report = await bench.probe(service(), settings())
            assert seen(what, before) != seen(what, report), what
            assert [d.component for d in differences((service(), settings()), report)] == ["service"], what
        assert (await bench.apply(service())).changed == 1
        assert differences((service(), settings()), await bench.probe(service(), settings())) == ()

    async def test_should_move_to_the_next_version_and_remove_what_nobody_wants(self, bench: HostBench) -> None:
        await bench.apply(service(), settings())
        newer = replace(settings("c\n"), name="settings-2-r1", version="2")
        found = {d.component: d.package for d in differences((newer,), await bench.probe(newer))}
        assert found == {"settings": "settings-2-r1", "service": ""}
        assert (await bench.apply(newer, remove=("service",))).changed == 2
        report = await bench.probe(newer)
        assert differences((newer,), report) == ()
        assert set(report.packages) == {"settings"}

    async def test_should_refuse_another_claim_and_an_older_operator(self, bench: HostBench) -> None:
        await bench.apply(settings())
        other = await bench.apply(settings("x\n"), owner=Owner("claim-2", "other", "pool", 99))
        assert other.failed
        assert "belongs to pool workers of cluster demo" in other.message
        older = await bench.apply(settings("x\n"), owner=replace(OWNER, epoch=6))
        assert older.failed
        assert "a newer operator (epoch 7)" in older.message
        assert (await bench.clean(owner=Owner("claim-2", "other", "pool", 99))).failed
        assert differences((settings(),), await bench.probe(settings())) == ()
        assert (await bench.apply(settings(), owner=replace(OWNER, epoch=8))).changed == 1
        report = await bench.probe(settings())
        assert report.owner is not None
        assert report.owner.epoch == 8

    async def test_should_stage_artifacts_ahead_once_and_change_nothing_that_is_installed(self, bench: HostBench) -> None:
        await bench.apply(settings())
        before = await bench.probe(service(), settings())
        assert (await bench.stage(*service().artifacts)).changed == 1
        report = await bench.probe(service(), settings())
        assert report.stored == report.staged == {artifact.sha256 for artifact in service().artifacts}
        assert report.packages == before.packages
        assert await bench.stage(*service().artifacts) == HostOutcome(0, failed=False)
        assert not (await bench.apply(service())).failed
        report = await bench.probe(service(), settings())
        assert differences((service(), settings()), report) == ()
        assert await bench.stage(keep=()) == HostOutcome(0, failed=False), "what is installed is nobody's to take out"
        report = await bench.probe(service())
        assert report.stored
        assert not report.staged

    async def test_should_take_out_what_was_staged_and_is_no_longer_wanted(self, bench: HostBench) -> None:
        await bench.apply(settings())
        await bench.stage(*service().artifacts)
        assert (await bench.stage(keep=())).changed == 1
        report = await bench.probe()
        assert not report.stored
        assert await bench.stage(keep=()) == HostOutcome(0, failed=False)

    async def test_should_stage_nothing_on_a_host_that_is_not_ours(self, bench: HostBench) -> None:
        fresh = await bench.stage(*service().artifacts)
        assert (fresh.failed, fresh.task) == (True, "stage artifacts")
        assert "this host was given back, or is not taken yet" in fresh.message
        await bench.apply(settings())
        other = await bench.stage(*service().artifacts, owner=Owner("claim-2", "other", "pool", 99))
        assert "belongs to pool workers of cluster demo" in other.message
        older = await bench.stage(*service().artifacts, owner=replace(OWNER, epoch=6))
        assert "a newer operator (epoch 7)" in older.message
        assert not (await bench.probe()).stored

    async def test_should_leave_nothing_after_clean(self, bench: HostBench) -> None:
        await bench.apply(service(), settings())
        assert (await bench.clean()).changed
        report = await bench.probe()
        assert (report.owner, dict(report.packages)) == (None, {})
        assert await bench.clean() == HostOutcome(0, failed=False)

    @pytest.mark.parametrize("fault", list(Fault))
    async def test_should_say_why_a_host_is_out_of_reach(self, bench: HostBench, fault: Fault) -> None:
        target = bench.out_of_reach(fault)
        with pytest.raises(KokError) as caught:
            await bench.ports.ssh.probe(target, (settings(),), deadline=4 if fault is Fault.Hangs else 20)
        assert caught.value.code is EXPECTED[fault], caught.value
        assert target.name in caught.value.message

    async def test_should_go_on_with_others_when_one_host_fails(self, bench: HostBench) -> None:
        refusing = replace(bench.out_of_reach(Fault.RefusesConnections), name="out-of-reach")
        works = (HostWork(target, OWNER, (settings(),), grant=None) for target in (refusing, bench.target))
        outcomes = await bench.run(JobAction.Apply, *works)
        assert outcomes["out-of-reach"].failed
        assert outcomes["out-of-reach"].message
        assert not outcomes[bench.target.name].failed

    @pytest.mark.parametrize("spoil", [*Withdrawal, None])
    async def test_should_leave_out_only_the_host_whose_leave_does_not_hold(self, bench: HostBench, spoil: Withdrawal | None) -> None:
        await bench.apply(settings())
        grant = bench.leave.given(Operation.ApplyPackage, bench.target.name)
        match spoil:
            case Withdrawal.Settled:
                await bench.leave.settle(grant, Outcome.Cancelled)
            case Withdrawal.RunsOut:
                bench.leave.left = LEAVE_LEFT
            case Withdrawal.OtherOperation:
                grant = bench.leave.given(Operation.DeleteMachine, bench.target.name)
            case Withdrawal.OtherTarget:
                grant = bench.leave.given(Operation.ApplyPackage, "another")
        other = replace(bench.target, name="same-host")
        changed = HostWork(bench.target, OWNER, (settings("c\n"),), grant=grant)
        outcomes = await bench.run(JobAction.Apply, changed, HostWork(other, OWNER, (service(),), grant=None))
        assert outcomes[bench.target.name].withheld is (spoil is not None), "the control: with leave that holds it is run"
        assert ("its leave was withdrawn or ran out" in outcomes[bench.target.name].message) is (spoil is not None)
        found = await bench.probe(service(), settings("c\n"))
        assert "service" in found.packages, "who needs no leave goes on"
        assert [d.component for d in differences((service(), settings("c\n")), found)] == (["settings"] if spoil else [])

    async def test_should_clean_nothing_whose_leave_was_withdrawn_while_it_waited(self, bench: HostBench) -> None:
        await bench.apply(settings())
        await bench.leave.settle(bench.leave.given(Operation.DeleteMachine, bench.target.name), Outcome.Cancelled)
        outcome = await bench.clean()
        assert (outcome.failed, outcome.withheld, outcome.changed) == (True, True, 0)
        assert differences((settings(),), await bench.probe(settings())) == ()
        with pytest.raises(KokError) as caught:
            await bench.run(JobAction.Clean, HostWork(bench.target, OWNER, grant=None))
        assert caught.value.code is ErrorCode.GrantInvalid

    async def test_should_start_nothing_after_close(self, bench: HostBench) -> None:
        await bench.ports.ansible.close()
        with pytest.raises(KokError) as caught:
            await bench.apply(settings())
        assert caught.value.code is ErrorCode.AnsibleFailed
