"""A host without a lab: a real sshd on this machine in a mount namespace of its own, where /etc and /var/cache are copies that nobody else sees.

There is no systemd in it, so what is tried here are artifacts and files, not units. Needs root; nothing of it is left when it is closed.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from operators.ports.ssh import SshTarget

MOUNTS = """
set -e
mount --make-rprivate /
mount -t tmpfs none {folder}/layers
mkdir {folder}/layers/upper {folder}/layers/work
mount -t overlay overlay -o lowerdir=/etc,upperdir={folder}/layers/upper,workdir={folder}/layers/work /etc
rm -rf /etc/kok
mkdir -p /etc/systemd/system /run/sshd
mount -t tmpfs {size} none /var/cache
exec /usr/sbin/sshd -D -e -f {folder}/sshd_config
"""
CONFIG = """
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host
AuthorizedKeysFile {folder}/login.pub
PidFile none
PermitRootLogin prohibit-password
StrictModes no
UsePAM no
MaxStartups 100
Subsystem sftp internal-sftp
"""


def is_possible() -> bool:
    """Whether this machine can be such a host."""
    return os.geteuid() == 0 and Path("/usr/sbin/sshd").exists() and shutil.which("unshare") is not None


class OwnHost:
    """`folder`: this test's own. `disk`: size of /var/cache, as mount says it; empty: as much as there is memory."""

    def __init__(self, name: str, folder: Path, *, disk: str = "") -> None:
        self.name, self.folder, self.port = name, folder, _free_port()
        (folder / "layers").mkdir(parents=True)
        for key in ("host", "login"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(folder / key)], check=True, timeout=10)
        (folder / "sshd_config").write_text(CONFIG.format(port=self.port, folder=folder))
        script = MOUNTS.format(folder=folder, size=f"-o size={disk}" if disk else "")
        log = (folder / "log").open("w")
        self._sshd = subprocess.Popen(["unshare", "--mount", "sh", "-c", script], stdout=log, stderr=log, start_new_session=True)
        self._wait()

    @property
    def target(self) -> SshTarget:
        """How it is reached."""
        key = (self.folder / "host.pub").read_text().strip()
        return SshTarget(self.name, "127.0.0.1", self.port, "root", (key,), (self.folder / "login").read_text())

    @property
    def root(self) -> Path:
        """The host's own view of all files."""
        return Path(f"/proc/{self._sshd.pid}/root")

    def shell(self, command: str) -> str:
        """Output of a command in the host's namespace, not over SSH."""
        entered = ["nsenter", "--mount", f"--target={self._sshd.pid}", "sh", "-ec", command]
        return subprocess.run(entered, check=True, timeout=30, capture_output=True, text=True).stdout

    def store(self) -> set[str]:
        """Names in the host's store."""
        return set(self.shell("ls -A /var/cache/kok/sha256 2>/dev/null || true").split())

    def close(self) -> None:
        """End its sshd, and with the namespace everything that was on it."""
        os.killpg(self._sshd.pid, signal.SIGKILL)
        self._sshd.wait(timeout=10)

    def _wait(self) -> None:
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            assert self._sshd.poll() is None, (self.folder / "log").read_text()
            time.sleep(0.05)
        raise AssertionError((self.folder / "log").read_text())


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
