"""`kok meta init`: hosts of an inventory become a meta cluster. Looks first, says what is missing, does only that; run again, it changes nothing.

Stages: look (SSH) -> check what is in the way (playbooks/meta/check.yml) -> packages (playbooks/apply.yml, as on any machine of kok)
-> control plane (playbooks/meta/init.yml: kubeadm) -> kubeconfig -> pod network and storage -> every node Ready.
Called by the CLI; the clock and the API server come in.
"""

from __future__ import annotations

import asyncio
import base64
import os
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from meta_cluster.bootstrap.inventory import Inventory
from meta_cluster.bootstrap.kubeadm import ignored_errors, init_documents, join_document
from meta_cluster.bootstrap.meta_packages import DONE_FILE, done_mark, host_names
from meta_cluster.bootstrap.play import Player, play, private_folder
from operators.api.hosts import Host
from operators.domain.machine.difference import package_difference
from operators.domain.machine.host import DesiredPackage, HostReport, Owner
from operators.errors import ErrorCode, KokError
from operators.ports.ansible import AnsibleJob, AnsiblePort, HostWork, JobAction
from operators.ports.ssh import SshPort, SshTarget

LOOK_SECONDS, CHECK_SECONDS, PACKAGES_SECONDS, KUBEADM_SECONDS = 30.0, 120.0, 1200.0, 1200.0
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class HostState:
    """What one look found: packages that differ, with the words, and whether kubeadm came to its end."""

    host: Host
    differences: Mapping[str, str]
    is_done: bool

    @property
    def todo(self) -> list[str]:
        """What is missing, one line each."""
        lines = [f"apply {package}: {words}" for package, words in self.differences.items()]
        return lines if self.is_done else [*lines, "run kubeadm: it becomes a part of the control plane"]


@dataclass(slots=True)
class MetaInit:
    """One run. `private_key` opens every host; `playbooks` is the catalogue's folder."""

    inventory: Inventory
    private_key: str = field(repr=False)
    packages: tuple[DesiredPackage, ...]
    ssh: SshPort
    ansible: AnsiblePort
    playbooks: Path
    tell: Tell

    async def look(self) -> list[HostState]:
        """All hosts at once. Raises KokError of the SSH port, or HostClaimed, HostRefused with everything that is in the way on any host."""
        reports = await asyncio.gather(
            *(self.ssh.probe(self._target(host), self._asked, deadline=LOOK_SECONDS) for host in self.inventory.hosts)
        )
        players = tuple(self._player(host, {"kok_claim": self.inventory.claim, "kok_containers": self.inventory.inside_containers})
                        for host in self.inventory.hosts)  # fmt: skip
        found = await play(self.playbooks / "meta" / "check.yml", players, seconds=CHECK_SECONDS)
        if found:
            words = "; ".join(f"{name}: {problem.partition(': ')[2] or problem}" for name, problem in sorted(found.items()))
            raise KokError(ErrorCode.HostRefused, words, "mend what is named and run it again; nothing was touched")
        return [self._state(host, report) for host, report in zip(self.inventory.hosts, reports, strict=True)]

    @property
    def _asked(self) -> tuple[DesiredPackage, ...]:
        return (*self.packages, done_mark())

    def _state(self, host: Host, report: HostReport) -> HostState:
        found = {package.name: package_difference(package, report.packages.get(package.component)) for package in self.packages}
        mark = report.packages.get("meta-init")
        done = mark is not None and bool(mark.files.get(DONE_FILE) and mark.files[DONE_FILE].sha256)
        return HostState(host, {name: each.words for name, each in found.items() if each}, done)

    async def apply_packages(self, states: list[HostState]) -> int:
        """Bring the packages that differ; how many hosts that were. Raises KokError AnsibleFailed with each host's words."""
        work = tuple(self._work(state) for state in states if state.differences)
        if not work:
            return 0
        outcomes = await self.ansible.run(AnsibleJob(f"meta-{self.inventory.name}", JobAction.Apply, work, PACKAGES_SECONDS))
        _raise_failures({name: f"{each.task}: {each.message}" for name, each in outcomes.items() if each.failed})
        return len(work)

    def _work(self, state: HostState) -> HostWork:
        owner = Owner(self.inventory.claim, self.inventory.name, "meta", 0)
        packages = tuple(package for package in self.packages if package.name in state.differences)
        return HostWork(self._target(state.host), owner, packages, grant=None)

    async def control_plane(self, states: list[HostState]) -> bytes:
        """Run kubeadm where it did not come to its end yet; the administrator's kubeconfig. Raises KokError AnsibleFailed."""
        certificate_key, joining = secrets.token_hex(32), any(not state.is_done for state in states[1:])
        with private_folder() as out:
            players = tuple(self._kubeadm(state, certificate_key, {"kok_joining": joining, "kok_out": str(out)}) for state in states)
            _raise_failures(await play(self.playbooks / "meta" / "init.yml", players, seconds=KUBEADM_SECONDS))
            return (out / "admin.conf").read_bytes()

    def _kubeadm(self, state: HostState, certificate_key: str, more: Mapping[str, Any]) -> Player:
        first = state.host is self.inventory.hosts[0]
        text = init_documents(self.inventory, certificate_key) if first else join_document(self.inventory, state.host, certificate_key)
        variables = {
            "kok_configuration": base64.b64encode(text.encode()).decode(),
            "kok_done": state.is_done,
            "kok_ignored": ignored_errors(self.inventory),
        }
        return self._player(state.host, variables | dict(more))

    def _player(self, host: Host, variables: Mapping[str, Any]) -> Player:
        return Player(self._target(host), "first" if host is self.inventory.hosts[0] else "others", variables)

    def _target(self, host: Host) -> SshTarget:
        return SshTarget(host.name, host.address, host.port, host.user, host.host_keys, self.private_key)

    async def run(self, kubeconfig: Path, surroundings: Callable[[], Awaitable[int]]) -> int:
        """Everything; how much was changed. `surroundings` brings what lives inside the cluster, once `kubeconfig` is written, and counts what it wrote."""
        states = await self.look()
        self.tell(f"{len(states)} hosts answer and can be a meta cluster")
        changed = await self.apply_packages(states)
        self.tell(f"packages: {changed} hosts changed, {len(states) - changed} as they were")
        undone = tuple(state.host for state in states if not state.is_done)
        if undone:
            self.tell(f"control plane: kubeadm on {host_names(undone)}")
        if undone or not await asyncio.to_thread(kubeconfig.is_file):
            write_private(kubeconfig, await self.control_plane(states))
            self.tell(f"kubeconfig: {kubeconfig}")
        return changed + len(undone) + await surroundings()


def write_private(path: Path, content: bytes) -> None:
    """An administrator's kubeconfig: mode 0600 from its first byte on, whole or not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
    os.replace(partial, path)


def _raise_failures(failures: Mapping[str, str]) -> None:
    if failures:
        words = "; ".join(f"{name}: {why}" for name, why in sorted(failures.items()))
        raise KokError(ErrorCode.AnsibleFailed, words, "mend what is named and run it again: it goes on where it stopped")
