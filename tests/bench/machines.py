"""What a change costs per host: CPU-seconds of kok beside hand-written Ansible with the same tasks, on real sshd targets. Changes only containers of its own.

Counted are both sides of SSH: this process and its children, and the targets' control groups. kok looks at every host, applies, and looks again;
the hand-written playbook applies once, with pipelining and without facts, as somebody in a hurry for speed would write it.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from meta_cluster.lab import layout, lifecycle
from operators.adapters.ansible import AnsibleRunner, Limits
from operators.adapters.artifacts_http import HttpArtifacts
from operators.adapters.catalogue_files import FileCatalogue
from operators.adapters.ssh import SshProbe
from operators.api.packages import Artifact, Effects, InstallAs
from operators.domain.machine.difference import differences
from operators.domain.machine.host import DesiredFile, DesiredPackage, Owner
from operators.ports.ansible import AnsibleJob, HostWork, JobAction
from operators.ports.grants import NoLeave
from operators.ports.ssh import SshTarget
from tests.bench.report import Row

LABEL = "kok.dev/bench=machines"
SCRIPT = b"#!/bin/sh\necho bench 1.0.0\n"
CONFIGS = {f"/etc/kok-bench/{name}.conf": f"# {name}\nvalue = 1\n" for name in ("one", "two", "three")}
ENTRY = 'mkdir -p /run/sshd /root/.ssh && echo "$KEY" > /root/.ssh/authorized_keys && ssh-keygen -q -A && exec /usr/sbin/sshd -D -e'
WIPE = "rm -rf /etc/kok /etc/kok-bench /usr/local/bin/kok-bench /var/cache/kok"
PLAYBOOK = [
    {
        "hosts": "all",
        "gather_facts": False,
        "tasks": [
            {"name": "folder", "file": {"path": "/etc/kok-bench", "state": "directory"}},
            {"name": "program", "copy": {"src": "{{ program }}", "dest": "/usr/local/bin/kok-bench", "mode": "0755"}},
            *(
                {"name": path, "copy": {"content": content, "dest": path, "mode": "0644"}, "register": Path(path).stem}
                for path, content in CONFIGS.items()
            ),
            {"name": "version", "command": "/usr/local/bin/kok-bench", "register": "said", "changed_when": False},
        ],
    }
]


@dataclass(frozen=True, slots=True)
class Fleet:
    """sshd in containers, and a folder for everything else."""

    targets: tuple[SshTarget, ...]
    folder: Path

    def wipe(self) -> None:
        """As if nothing had ever been done to them."""
        for target in self.targets:
            _docker("exec", target.name, "sh", "-c", WIPE)

    def cpu_seconds(self) -> float:
        """What the targets used since they were started."""
        return sum(_used_by(target.name) for target in self.targets)


FLEETS = {10: 5, 50: 3}
"""Targets, and samples of each side at most."""


def measure(runs: int) -> list[Row]:
    """A small and a large fleet; of the large one a sample takes some seven minutes."""
    return [row for hosts, most in FLEETS.items() for row in measured(hosts, min(runs, most))]


def measured(hosts: int, runs: int) -> list[Row]:
    """Samples in turn; every container is removed at the end."""
    ours: list[float] = []
    once: list[float] = []
    each: list[float] = []
    with _fleet(hosts) as fleet:
        for run in range(runs):
            for samples, work in (
                (once, lambda: _by_hand(fleet, fleet.targets)),
                (each, lambda: _one_by_one(fleet)),
                (ours, lambda: _by_kok(fleet)),
            ):
                fleet.wipe()
                samples.append(asyncio.run(_cost(fleet, work)) / hosts)
            print(
                f"machines {run + 1}/{runs}: kok {ours[-1]:.2f}, one run {once[-1]:.2f}, a run each {each[-1]:.2f} CPU-s",
                file=sys.stderr,
                flush=True,
            )
    setting = f"{hosts} sshd targets, {runs} samples; CPU-seconds per changed host, both ends"
    return [
        Row(f"{hosts} hosts changed, one Ansible run", "CPU-s", tuple(ours), tuple(once), max_ratio=1.5, setting=setting),
        Row(f"{hosts} hosts changed, a run per host", "CPU-s", tuple(ours), tuple(each), max_ratio=0.6, setting=setting),
    ]


async def _cost(fleet: Fleet, work: Callable[[], Awaitable[None]]) -> float:
    before = _own_cpu() + fleet.cpu_seconds()
    await work()
    return _own_cpu() + fleet.cpu_seconds() - before


def _own_cpu() -> float:
    """This process and its children that have ended."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in used)


async def _by_kok(fleet: Fleet) -> None:
    package = _package()
    playbooks = FileCatalogue().playbooks()
    probe = SshProbe(playbooks)
    runner = AnsibleRunner(HttpArtifacts(f"file://{fleet.folder}", fleet.folder / "cache"), playbooks, Limits(forks=10), grants=NoLeave())
    reports = await asyncio.gather(*(probe.probe(target, (package,), deadline=60) for target in fleet.targets))
    assert all(differences((package,), report) for report in reports), "the baseline left something behind"
    works = tuple(HostWork(target, Owner("bench", "bench", "bench", 1), (package,), grant=None) for target in fleet.targets)
    outcomes = await runner.run(AnsibleJob("bench", JobAction.Apply, works, timeout=300))
    assert not [each for each in outcomes.values() if each.failed], outcomes
    reports = await asyncio.gather(*(probe.probe(target, (package,), deadline=60) for target in fleet.targets))
    assert not any(differences((package,), report) for report in reports)


def _package() -> DesiredPackage:
    spec = {"name": "program", "sha256": hashlib.sha256(SCRIPT).hexdigest(), "as": InstallAs.File, "path": "/usr/local/bin/kok-bench"}
    files = tuple(DesiredFile(path, content) for path, content in CONFIGS.items())
    return DesiredPackage("bench-1-r1", "bench", "1.0.0", 10, Effects(), artifacts=(Artifact.model_validate(spec),), files=files)


async def _by_hand(fleet: Fleet, targets: tuple[SshTarget, ...]) -> None:
    lines = [f"{t.name} ansible_host={t.address} ansible_user=root ansible_ssh_private_key_file={fleet.folder / 'key'}" for t in targets]
    inventory, playbook = fleet.folder / "hosts.ini", fleet.folder / "play.yml"
    inventory.write_text("\n".join(lines) + "\n")
    playbook.write_text(yaml.safe_dump(PLAYBOOK))
    settings = {"ANSIBLE_PIPELINING": "True", "ANSIBLE_HOST_KEY_CHECKING": "False", "ANSIBLE_PYTHON_INTERPRETER": "/usr/bin/python3"}
    command = [
        Path(sys.executable).parent / "ansible-playbook",
        "-i",
        inventory,
        "--forks",
        "10",
        "-e",
        f"program={fleet.folder / 'program'}",
        playbook,
    ]
    child = await asyncio.create_subprocess_exec(
        *map(str, command),
        env={**os.environ, **settings, "ANSIBLE_HOME": str(fleet.folder / "home")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    said, _ = await child.communicate()
    assert child.returncode == 0, said.decode()


async def _one_by_one(fleet: Fleet) -> None:
    for target in fleet.targets:
        await _by_hand(fleet, (target,))


@contextmanager
def _fleet(count: int) -> Iterator[Fleet]:
    """`count` containers of the lab's host image, each with nothing but sshd."""
    image, _ = lifecycle.host_ground()
    with tempfile.TemporaryDirectory(prefix="kok-bench-") as name:
        folder = Path(name)
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "key")], check=True, timeout=30)
        (folder / hashlib.sha256(SCRIPT).hexdigest()).write_bytes(SCRIPT)
        (folder / "program").write_bytes(SCRIPT)
        try:
            yield Fleet(tuple(_started(number, image, folder) for number in range(count)), folder)
        finally:
            _docker("rm", "-fv", *(f"bench-{os.getpid()}-{number}" for number in range(count)), check=False)


def _started(number: int, image: str, folder: Path) -> SshTarget:
    """The last addresses of the lab's network: the lab gives its hosts the first free ones."""
    name, address = f"bench-{os.getpid()}-{number}", str(layout.SUBNET.broadcast_address - 1 - number)
    key = (folder / "key.pub").read_text().strip()
    place = ("--network", layout.NETWORK, "--ip", address, "--name", name, "--label", LABEL)
    _docker("run", "--pull", "never", "-d", *place, "--env", f"KEY={key}", "--entrypoint", "/bin/sh", image, "-c", ENTRY)
    _docker("exec", name, "sh", "-c", "until ss -ltn | grep -q ':22 '; do sleep 0.1; done")
    host_key = " ".join(_docker("exec", name, "cat", "/etc/ssh/ssh_host_ed25519_key.pub").split()[:2])
    return SshTarget(name, address, 22, "root", (host_key,), (folder / "key").read_text())


def _used_by(name: str) -> float:
    """CPU-seconds of a container, from its own control group; version 2, or 1."""
    old = "/sys/fs/cgroup/cpuacct/cpuacct.usage"
    command = f"test -e {old} && echo ns $(cat {old}) || sed -n 's/^usage_usec/us/p' /sys/fs/cgroup/cpu.stat"
    unit, used = _docker("exec", name, "sh", "-c", command).split()
    return int(used) / {"ns": 1e9, "us": 1e6}[unit]


def _docker(*words: str, check: bool = True) -> str:
    done = subprocess.run(["docker", *words], capture_output=True, text=True, timeout=120, check=False)
    assert not check or done.returncode == 0, f"docker {' '.join(words)}: {done.stderr}"
    return done.stdout
