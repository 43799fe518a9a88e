from __future__ import annotations

from dataclasses import replace

import pytest

from operators.adapters.sim_ansible import SimAnsible
from operators.adapters.sim_ssh import HostFault, SimFleet, SimSsh
from operators.ports.ssh import SshTarget
from tests.contract.hosts import Fault, HostBench, HostContract, Ports, Spoil, service
from tests.contract.leave import Leave

KEY = "ssh-ed25519 AAAA"


class SimBench(HostBench):
    def __init__(self) -> None:
        fleet, self.leave = SimFleet(), Leave()
        self.host = fleet.add("sim-1", "10.0.0.1", host_key=KEY)
        self.fleet = fleet
        self.ports = Ports(SimSsh(fleet), SimAnsible(fleet, grants=self.leave))
        self.target = SshTarget("sim-1", "10.0.0.1", 22, "root", (KEY,), "key")

    def spoil(self, what: Spoil) -> None:
        package = service()
        match what:
            case Spoil.File:
                self.host.spoil_file("service", package.files[0].path)
            case Spoil.Unit:
                self.host.spoil_unit("service", package.units[0].name)
            case Spoil.Sysctl:
                self.host.spoil_sysctl("service", next(iter(package.sysctls)))
            case Spoil.Artifact:
                self.host.spoil_artifact("service", package.artifacts[0].name)

    def out_of_reach(self, fault: Fault) -> SshTarget:
        match fault:
            case Fault.OtherHostKey:
                return replace(self.target, host_keys=("ssh-ed25519 BBBB",))
            case Fault.NoHostKey:
                return replace(self.target, host_keys=())
        other = self.fleet.add("sim-2", "10.0.0.2", host_key=KEY)
        other.fault = HostFault[fault.name]
        return replace(self.target, name="sim-2", address="10.0.0.2")


@pytest.mark.looptime
class TestSimulatedHosts(HostContract):
    @pytest.fixture
    def bench(self) -> SimBench:
        return SimBench()

    async def test_should_report_a_full_disk_and_a_failing_task(self, bench: SimBench) -> None:
        bench.host.fault = HostFault.DiskFull
        assert "disk full" in (await bench.apply(service())).message
        bench.host.fault = HostFault.FailsOnApply
        outcome = await bench.apply(service())
        assert (outcome.failed, outcome.task) == (True, "apply service-1.2.3-r1")
