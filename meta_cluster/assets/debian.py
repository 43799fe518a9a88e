"""Debian packages: tools that this machine needs (installed by apt, each one said), packages for hosts (downloaded), root file systems.

Never names a mirror: the machine's own apt configuration says where packages come from. Called by recipes and by the lab.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from meta_cluster.assets.processes import run
from meta_cluster.assets.progress import say
from meta_cluster.assets.recipe import Inputs, Lane, key_from
from operators.errors import ErrorCode, KokError

SUITE = "bookworm"
C_COMPILER = (("gcc", "gcc"), ("/usr/include/stdio.h", "libc6-dev"))
MIRROR_VARIABLE = "KOK_DEBIAN_MIRROR"


def missing_tools(tools: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Which of the (command or file, package) pairs have no such command on PATH or in the sbin folders, or no such file."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin:/usr/local/sbin"
    return [
        (name, package) for name, package in tools if not (Path(name).exists() if name.startswith("/") else shutil.which(name, path=path))
    ]


def install_tools(tools: Iterable[tuple[str, str]]) -> None:
    """Install the packages of missing commands, saying a line for each. Raises KokError where there is neither root nor apt."""
    missing = missing_tools(tools)
    if not missing:
        return
    names = sorted({package for _, package in missing})
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        commands = ", ".join(command for command, _ in missing)
        raise KokError(ErrorCode.AssetUnavailable, f"not installed: {commands}", f"as root: apt-get install {' '.join(names)}")
    for command, package in missing:
        say(f"  apt: installing {package} (for {command})")
    environment = {"DEBIAN_FRONTEND": "noninteractive"}
    run(["apt-get", "-q", "update"], env=environment)
    run(["apt-get", "-q", "-o", "DPkg::Lock::Timeout=300", "install", "-y", "--no-install-recommends", *names], env=environment)


def sources() -> list[str]:
    """`deb ...` lines for the suite: from KOK_DEBIAN_MIRROR if set, else what this machine's apt uses for it."""
    if mirror := os.environ.get(MIRROR_VARIABLE):
        return [f"deb {mirror} {SUITE} main"]
    targets = run(["apt-get", "indextargets", "--format", "$(SITE) $(RELEASE) $(COMPONENT)"]).split("\n")
    wanted = {f"{SUITE}", f"{SUITE}-security", f"{SUITE}-updates"}
    found = sorted({f"deb {line}" for line in targets if line and line.split()[1] in wanted and line.split()[2] == "main"})
    if not found:
        hint = f"set {MIRROR_VARIABLE} to a mirror of Debian {SUITE}"
        raise KokError(ErrorCode.AssetUnavailable, f"this machine's apt knows no Debian {SUITE}", hint)
    return found


@dataclass(frozen=True, slots=True)
class Deb:
    """One Debian package file, as apt has it; `version` is the upstream version it must start with."""

    package: str
    version: str
    lane: Lane = field(default=Lane.PACK, init=False)

    def key(self, inputs: Inputs) -> str:
        """Name and upstream version: a security rebuild of the same version is as good."""
        return key_from(inputs, "deb-1", self.package, self.version)

    def make(self, inputs: Inputs, work: Path) -> Path:
        """Download it; raises KokError when apt has another upstream version."""
        download = ["apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", self.package]
        try:
            run(download, cwd=work)
        except KokError:  # package lists that are missing or old
            run(["apt-get", "-q", "update"])
            run(download, cwd=work)
        found = next(work.glob("*.deb"))
        version = run(["dpkg-deb", "-f", found, "Version"]).strip()
        if not version.removeprefix("1:").startswith(self.version):
            raise KokError(
                ErrorCode.AssetUnavailable, f"apt has {self.package} {version}, wanted {self.version}", f"use a Debian {SUITE} machine"
            )
        return found


@dataclass(frozen=True, slots=True)
class ProgramOfDeb:
    """One program out of a Debian package, without installing the package: this machine has the libraries it needs."""

    package: str
    path: str
    lane: Lane = field(default=Lane.PACK, init=False)

    def key(self, inputs: Inputs) -> str:
        """Package and path; whatever version the suite has is as good."""
        return key_from(inputs, "program-of-deb-1", SUITE, self.package, self.path)

    def make(self, inputs: Inputs, work: Path) -> Path:
        """Download the package, take the program out."""
        deb = Deb(self.package, "").make(inputs, work)
        run(["dpkg-deb", "-x", deb, work / "unpacked"])
        return work / "unpacked" / self.path.lstrip("/")


@dataclass(frozen=True, slots=True)
class RootFilesystem:
    """A Debian root file system as one tar, made by mmdebstrap on this machine."""

    packages: tuple[str, ...]
    lane: Lane = field(default=Lane.PACK, init=False)

    def key(self, inputs: Inputs) -> str:
        """The package list; the suite's point releases do not matter."""
        return key_from(inputs, "rootfs-1", SUITE, self.packages)

    def make(self, inputs: Inputs, work: Path) -> Path:
        """Run mmdebstrap; no documentation, no package lists, no machine identity inside."""
        install_tools([("mmdebstrap", "mmdebstrap")])
        output = work / "rootfs.tar"
        options = ["--variant=minbase", "--mode=root", f"--include={','.join(self.packages)}"]
        for pattern in ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*"):
            options.append(f"--dpkgopt=path-exclude={pattern}")
        cleanup = 'rm -f "$1"/etc/machine-id "$1"/etc/ssh/ssh_host_* "$1"/etc/hostname "$1"/etc/resolv.conf "$1"/var/lib/dbus/machine-id'
        options.append(f'--customize-hook={cleanup}; : > "$1"/etc/machine-id')
        run(["mmdebstrap", *options, SUITE, output, "-"], stdin="\n".join(sources()) + "\n", env={"SOURCE_DATE_EPOCH": "1700000000"})
        return output
