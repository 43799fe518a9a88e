"""One host of the lab as a test bench for the real adapters: spoiled through `docker exec`, watched from outside."""

from __future__ import annotations

import hashlib
import subprocess
from dataclasses import replace
from pathlib import Path

from meta_cluster.lab import hosts, layout
from operators.adapters.ansible import AnsibleRunner, Limits
from operators.adapters.artifacts_http import HttpArtifacts
from operators.adapters.ssh import SshProbe
from operators.ports.ssh import SshTarget
from tests.contract.hosts import SCRIPT, Fault, HostBench, Ports, Spoil
from tests.contract.leave import Leave

PLAYBOOKS = Path(__file__).resolve().parents[3] / "playbooks"
CLOSED_PORT = 2
SPOILING = {
    Spoil.File: "echo edited >> /etc/kok-demo/demo.conf",
    Spoil.Unit: "systemctl stop kok-demo.service",
    Spoil.Sysctl: "echo 1 > /proc/sys/net/ipv4/tcp_slow_start_after_idle",
    Spoil.Artifact: "echo '# edited' >> /usr/local/bin/kok-demo",
}
USERS = """
id plain 2>/dev/null || useradd -m -s /bin/sh plain
mkdir -p /home/plain/.ssh && cp /root/.ssh/authorized_keys /home/plain/.ssh/ && chown -R plain /home/plain/.ssh
id keyless 2>/dev/null || useradd -m -s /bin/sh keyless
"""


class LabBench(HostBench):
    """`folder`: this test's own store of artifacts and cache."""

    def __init__(self, host: hosts.Host, folder: Path) -> None:
        self.leave = Leave()
        self.name = host.name
        self.folder = folder
        self.store = folder / "store"
        self.store.mkdir()
        self.keep(SCRIPT)
        artifacts = HttpArtifacts(f"file://{self.store}", folder / "cache")
        self.runner = AnsibleRunner(artifacts, PLAYBOOKS, Limits(runs=2, forks=4), grants=self.leave)
        self.ports = Ports(SshProbe(PLAYBOOKS), self.runner)
        key = layout.ssh_key_path().read_text()
        self.target = SshTarget(host.name, host.address, host.port, "root", host.host_keys, key)

    def keep(self, content: bytes) -> str:
        """Puts content into the store; its digest."""
        digest = hashlib.sha256(content).hexdigest()
        (self.store / digest).write_bytes(content)
        return digest

    def shell(self, command: str) -> str:
        """Output of a shell command on the host, as root, not over SSH."""
        done = subprocess.run(["docker", "exec", self.name, "sh", "-ec", command], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout

    def copy_in(self, file: Path, path: str) -> None:
        """A file of this machine onto the host, not over SSH."""
        subprocess.run(["docker", "cp", str(file), f"{self.name}:{path}"], check=True, timeout=60, capture_output=True)

    def spoil(self, what: Spoil) -> None:
        self.shell(SPOILING[what])

    def out_of_reach(self, fault: Fault) -> SshTarget:
        match fault:
            case Fault.RefusesConnections:
                return replace(self.target, port=CLOSED_PORT)
            case Fault.OtherHostKey:
                return replace(self.target, host_keys=(other_key(self.folder),))
            case Fault.NoHostKey:
                return replace(self.target, host_keys=())
            case Fault.Hangs:
                return replace(self.target, port=self.listen_and_say_nothing())
        self.shell(USERS)
        return replace(self.target, user="plain" if fault is Fault.NoSudo else "keyless")

    def listen_and_say_nothing(self) -> int:
        """A port where the kernel accepts and nobody ever answers, as with a stopped sshd."""
        listen = "import socket, time; s = socket.create_server(('', 2222)); time.sleep(60)"
        self.shell(f'systemctl is-active -q silent || systemd-run -q --collect --unit silent python3 -c "{listen}"')
        self.shell("until ss -ltn | grep -q ':2222'; do sleep 0.1; done")
        return 2222

    def wipe(self) -> None:
        """Nothing of kok is left, whatever the test before left; the removal that the playbook uses, run in place."""
        subprocess.run(["docker", "cp", str(PLAYBOOKS / "module_utils"), f"{self.name}:/root/wipe"], check=True, timeout=30)
        self.shell("cd /root/wipe && python3 -c 'from kok_host import removal; removal.clean()'; rm -rf /root/wipe")

    def changed_files(self) -> set[str]:
        """Files that differ from the host's image, without what systemd itself writes all the time."""
        done = subprocess.run(["docker", "diff", self.name], capture_output=True, text=True, timeout=60, check=True)
        noise = ("/run", "/tmp", "/var/log", "/var/lib/systemd", "/var/lib/dpkg", "/var/tmp", "/home", "/etc/mtab")
        paths = {line[2:] for line in done.stdout.splitlines()}
        return {path for path in paths if not path.startswith(noise)}


def other_key(folder: Path) -> str:
    """A public key that no host has."""
    path = folder / "other"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(path)], check=True, timeout=10)
    return path.with_suffix(".pub").read_text().strip()
