"""The two sides of a host: what should be on it (`DesiredPackage`) and what one probe found (`HostReport`). Data only.

Made by machine_operator (desired) and by the ssh adapter (report); compared in `difference`, sent to the host by the ansible adapter.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from operators.api.packages import Artifact, Effects, Observe, Removal, Unit


@dataclass(frozen=True, slots=True)
class DesiredFile:
    """A file whose whole content kok owns, templates already filled in."""

    path: str
    content: str = field(repr=False)
    mode: str = "0644"
    notify: str = ""
    once: bool = False
    """Only its presence counts."""
    secret: bool = False

    @property
    def sha256(self) -> str:
        """Digest of the content as it shall lie on the host."""
        return hashlib.sha256(self.content.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class DesiredPackage:
    """One MachinePackageVersion, filled in for one host."""

    name: str
    """The MachinePackageVersion."""
    component: str
    version: str
    order: int
    effect: Effects
    artifacts: tuple[Artifact, ...] = ()
    files: tuple[DesiredFile, ...] = ()
    units: tuple[Unit, ...] = ()
    sysctls: Mapping[str, str] = field(default_factory=dict)
    kernel_modules: tuple[str, ...] = ()
    observe: Observe | None = None
    remove: Removal = field(default_factory=Removal)


@dataclass(frozen=True, slots=True)
class FileReport:
    """One path on the host. `sha256` is empty when it is absent."""

    sha256: str = ""
    mode: str = ""


@dataclass(frozen=True, slots=True)
class UnitReport:
    """One systemd unit on the host, as `systemctl show` says; `sha256` of the unit file kok wrote, empty when absent."""

    active: bool = False
    enabled: bool = False
    sha256: str = ""
    since: float | None = field(default=None, compare=False)
    """When its main process began, in seconds since 1970 by the host's clock; None: it did not, or the host does not say."""


@dataclass(frozen=True, slots=True)
class PackageReport:
    """What one probe found of one component."""

    component: str
    name: str = ""
    """MachinePackageVersion that was last applied completely, from kok's record on the host (/etc/kok/packages/<component>.json)."""
    version: str = ""
    """What `observe` printed; empty when it failed."""
    order: int = 100
    """Its place in the order of installation, from kok's record: what came last goes first."""
    artifacts: Mapping[str, bool] = field(default_factory=dict)
    """Artifact name -> present as wanted."""
    files: Mapping[str, FileReport] = field(default_factory=dict)
    units: Mapping[str, UnitReport] = field(default_factory=dict)
    sysctls: Mapping[str, str] = field(default_factory=dict)
    kernel_modules: Mapping[str, bool] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Owner:
    """kok's owner file on the host (/etc/kok/owner.json): which claim it belongs to, and the highest epoch that acted on it."""

    claim_uid: str
    cluster: str
    pool: str
    epoch: int = 0


@dataclass(frozen=True, slots=True)
class HostReport:
    """What one SSH command found on a host; no secrets in it."""

    hostname: str
    boot_id: str
    machine_id: str
    os_release: str
    """PRETTY_NAME of /etc/os-release."""
    disk_free_bytes: int
    """On the file system of /var."""
    disk_total_bytes: int
    owner: Owner | None
    packages: Mapping[str, PackageReport]
    """By component: those asked for, and those kok's records on the host name."""
    kubelet_credentials: bool
    """Whether the kubelet already holds a client certificate that has not expired."""
    uptime_seconds: float | None = None
    """Since the kernel booted, by its own clock; None: it did not say."""
    stored: frozenset[str] = frozenset()
    """Digests in the host's store of artifacts, by name alone: whoever uses one reads it in full first."""
    staged: frozenset[str] = frozenset()
    """Those of them that were sent ahead of a change."""
