"""Simulated hosts that keep state, and the SSH port that looks at them. For tests and simulations of many hosts; same contract as adapters/ssh.py.

A SimHost is a small world: what was installed, who owns it, what a person changed by hand (`spoil_*`), and how it fails (`fault`). Changed by
adapters/sim_ansible.py only.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum

from operators.domain.machine.host import DesiredFile, DesiredPackage, FileReport, HostReport, Owner, PackageReport, UnitReport
from operators.errors import ErrorCode, KokError
from operators.ports.ssh import SshTarget


class HostFault(Enum):
    """How a simulated host misbehaves."""

    Nothing = "Nothing"
    RefusesConnections = "RefusesConnections"
    RefusesKey = "RefusesKey"
    Hangs = "Hangs"
    NoSudo = "NoSudo"
    DiskFull = "DiskFull"
    FailsOnApply = "FailsOnApply"


ABSENT = PackageReport("")


@dataclass(slots=True)
class SimHost:
    """One host's state."""

    name: str
    host_key: str
    fault: HostFault = HostFault.Nothing
    boot_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    machine_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    booted: float = field(default_factory=time.monotonic)
    owner: Owner | None = None
    installed: dict[str, PackageReport] = field(default_factory=dict)
    """By component, in full."""
    desired: dict[str, DesiredPackage] = field(default_factory=dict)
    """What was applied last, by component."""
    bootstrap_kubeconfig: str = field(default="", repr=False)
    kubelet_credentials: bool = False
    store: set[str] = field(default_factory=set)
    """Digests of artifacts that it has."""
    staged: set[str] = field(default_factory=set)
    """Those of them that were sent ahead."""
    probes: int = 0
    jobs: int = 0

    def install(self, package: DesiredPackage) -> None:
        """Everything of the package is there now."""
        self.store |= {artifact.sha256 for artifact in package.artifacts}
        self.installed[package.component] = report_as_wanted(package)
        self.desired[package.component] = package

    def remove(self, component: str) -> bool:
        """Takes a component away; True when it was there."""
        self.desired.pop(component, None)
        return self.installed.pop(component, None) is not None

    def spoil_file(self, component: str, path: str) -> None:
        """Somebody edits a file."""
        self._spoil(component, files={**self.installed[component].files, path: FileReport("0" * 64, "0644")})

    def spoil_unit(self, component: str, unit: str) -> None:
        """Somebody stops a unit."""
        found = self.installed[component].units[unit]
        self._spoil(component, units={**self.installed[component].units, unit: replace(found, active=False)})

    def spoil_sysctl(self, component: str, key: str) -> None:
        """Somebody sets another value."""
        self._spoil(component, sysctls={**self.installed[component].sysctls, key: "spoiled"})

    def spoil_artifact(self, component: str, artifact: str) -> None:
        """Somebody damages what an artifact put there."""
        self._spoil(component, artifacts={**self.installed[component].artifacts, artifact: False})

    def _spoil(self, component: str, **changes: object) -> None:
        self.installed[component] = replace(self.installed[component], **changes)  # type: ignore[arg-type]


def report_as_wanted(package: DesiredPackage) -> PackageReport:
    """What a probe finds of a package that is completely there."""
    return PackageReport(
        component=package.component,
        name=package.name,
        version=package.version,
        order=package.order,
        artifacts={artifact.name: True for artifact in package.artifacts},
        files={file.path: FileReport(file.sha256, file.mode) for file in package.files},
        units={unit.name: UnitReport(unit.running, unit.running, _unit_digest(unit.name, unit.content)) for unit in package.units},
        sysctls=dict(package.sysctls),
        kernel_modules=dict.fromkeys(package.kernel_modules, True),
    )


def _unit_digest(name: str, content: str) -> str:
    return DesiredFile(f"/etc/systemd/system/{name}", content).sha256 if content else ""


def found_of(package: DesiredPackage, installed: PackageReport) -> PackageReport:
    """What is installed, told in terms of what is wanted: paths that are not there are reported absent."""
    return PackageReport(
        component=package.component,
        name=installed.name,
        version=installed.version,
        order=package.order,
        artifacts={artifact.name: installed.artifacts.get(artifact.name, False) for artifact in package.artifacts},
        files={file.path: installed.files.get(file.path, FileReport()) for file in package.files},
        units={unit.name: installed.units.get(unit.name, UnitReport()) for unit in package.units},
        sysctls={key: installed.sysctls.get(key, "unset") for key in package.sysctls},
        kernel_modules={module: installed.kernel_modules.get(module, False) for module in package.kernel_modules},
    )


class SimFleet:
    """All simulated hosts, by (address, port)."""

    def __init__(self) -> None:
        self.hosts: dict[tuple[str, int], SimHost] = {}

    def add(self, name: str, address: str, *, port: int = 22, host_key: str = "ssh-ed25519 AAAA") -> SimHost:
        """A new host with nothing on it."""
        self.hosts[address, port] = host = SimHost(name, host_key)
        return host

    def reinstall(self, address: str, *, port: int = 22, host_key: str) -> SimHost:
        """A new system on the same address."""
        return self.add(self.hosts[address, port].name, address, port=port, host_key=host_key)

    def reboot(self, address: str, *, port: int = 22) -> None:
        """A new boot id, and no uptime."""
        host = self.hosts[address, port]
        host.boot_id, host.booted = str(uuid.uuid4()), time.monotonic()

    async def reach(self, target: SshTarget, *, deadline: float) -> SimHost:
        """The host behind a target, with the errors of the real thing."""
        where = f"{target.name} ({target.address}:{target.port})"
        if not target.host_keys:
            raise KokError(ErrorCode.HostKeyMissing, f"no host key is pinned for {target.name} ({target.address})", "kok host scan")
        host = self.hosts.get((target.address, target.port))
        if host is None or host.fault is HostFault.RefusesConnections:
            raise KokError(ErrorCode.HostRefused, f"{where}: the connection was refused: nothing listens on that port")
        if host.fault is HostFault.Hangs:
            await asyncio.sleep(deadline)
            raise KokError(ErrorCode.HostTimeout, f"{where} did not answer within {deadline:.0f}s")
        if host.host_key not in target.host_keys:
            raise KokError(ErrorCode.HostKeyChanged, f"{where} shows a host key that is not pinned", "kok host scan")
        if host.fault is HostFault.RefusesKey:
            raise KokError(ErrorCode.HostRefused, f"{where} refuses the key of user {target.user}: Permission denied")
        if host.fault is HostFault.NoSudo:
            raise KokError(ErrorCode.HostNoSudo, f"{where}: user {target.user} may not become root: sudo: a password is required")
        return host


class SimSsh:
    """Looks at simulated hosts; see ports.ssh.SshPort."""

    def __init__(self, fleet: SimFleet) -> None:
        self._fleet = fleet

    async def probe(self, target: SshTarget, wanted: tuple[DesiredPackage, ...], *, deadline: float) -> HostReport:
        """What is on the host."""
        host = await self._fleet.reach(target, deadline=deadline)
        host.probes += 1
        asked = {package.component: found_of(package, host.installed.get(package.component, ABSENT)) for package in wanted}
        others = {component: _only_named(report) for component, report in host.installed.items() if component not in asked}
        return HostReport(
            hostname=host.name,
            boot_id=host.boot_id,
            machine_id=host.machine_id,
            os_release="Simulated GNU/Linux 1",
            disk_free_bytes=0 if host.fault is HostFault.DiskFull else 20 << 30,
            disk_total_bytes=40 << 30,
            owner=host.owner,
            packages={**asked, **others},
            kubelet_credentials=host.kubelet_credentials,
            uptime_seconds=time.monotonic() - host.booted,
            stored=frozenset(host.store),
            staged=frozenset(host.staged & host.store),
        )


def _only_named(report: PackageReport) -> PackageReport:
    return PackageReport(report.component, report.name, report.version, report.order)


def hosts_by_name(fleet: SimFleet) -> Mapping[str, SimHost]:
    """For simulations that speak of machines."""
    return {host.name: host for host in fleet.hosts.values()}
