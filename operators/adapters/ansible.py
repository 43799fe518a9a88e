"""Changing hosts with Ansible: a child process and a private folder per job, artifacts verified before any host is touched, outcomes read from events.

Implements ports.ansible. Never decides what to do, never logs a host's data. Used by machine_operator.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import structlog

from operators.adapters.ansible_folder import environment, write_folder
from operators.adapters.ansible_leave import with_leave
from operators.adapters.ansible_processes import descendants, end_descendants
from operators.api.packages import DeliveryMethod
from operators.errors import ErrorCode, KokError
from operators.ports.ansible import AnsibleJob, HostOutcome, HostWork
from operators.ports.artifacts import ArtifactsPort
from operators.ports.grants import GrantsPort

log = structlog.get_logger(__name__)

TMPFS = Path("/dev/shm")  # noqa: S108 - memory only; a folder of mode 0700 is made in it
NO_HOST_KEY = "no host key is pinned for this host (`kok host scan` prints what to commit)"


@dataclass(frozen=True, slots=True)
class Limits:
    """How much runs at once in this process."""

    runs: int = 2
    """Ansible runs; about 150 MB each."""
    forks: int = 10
    """Hosts at once in a run; about 100 MB and 0.4 CPU-s per task each."""
    artifact_deadline: float = 300.0
    """Seconds for getting one artifact."""


@dataclass(slots=True)
class _Progress:
    """What the child has told so far."""

    failures: dict[str, HostOutcome] = field(default_factory=dict)
    stats: dict[str, dict[str, int]] = field(default_factory=dict)
    end: dict[str, Any] = field(default_factory=dict)

    def hear(self, line: Mapping[str, Any]) -> None:
        """One line of the child."""
        if "stats" in line:
            self.stats = line["stats"]
        elif "end" in line:
            self.end = line["end"]
        elif host := line.get("host"):
            self.failures[host] = HostOutcome(0, failed=True, task=line.get("task", ""), message=line.get("message", ""))

    def outcome_of(self, host: str, unfinished: str) -> HostOutcome:
        """How it went on one host; `unfinished` is said of one that has no result."""
        changed = int(self.stats.get("changed", {}).get(host, 0))
        if failure := self.failures.get(host):
            return HostOutcome(changed, failed=True, task=failure.task, message=failure.message)
        if host in self.stats.get("ok", {}):
            return HostOutcome(changed, failed=False)
        return HostOutcome(changed, failed=True, message=unfinished)


class AnsibleRunner:
    """Runs jobs; see ports.ansible.AnsiblePort. `grants`: where the leave of hosts is verified when their turn has come."""

    def __init__(self, artifacts: ArtifactsPort, playbooks: Path, limits: Limits = Limits(), *, grants: GrantsPort) -> None:
        self._artifacts, self._grants = artifacts, grants
        self._playbooks = playbooks
        self._limits = limits
        self._slots = asyncio.Semaphore(limits.runs)
        self._children: set[asyncio.subprocess.Process] = set()
        self._closed = False

    async def run(self, job: AnsibleJob) -> Mapping[str, HostOutcome]:
        """Outcome per host name. See the port for what is raised."""
        refused = {work.target.name: HostOutcome(0, failed=True, message=NO_HOST_KEY) for work in job.hosts if not work.target.host_keys}
        hosts = tuple(work for work in job.hosts if work.target.host_keys)
        if not hosts:
            return refused
        allowed = AnsibleJob(job.ident, job.action, hosts, job.timeout)
        async with self._slots:
            files = await self._fetch(allowed)
            allowed, withheld = await with_leave(allowed, self._grants)
            return refused | withheld | await self._run(allowed, files)

    async def _run(self, job: AnsibleJob, files: Mapping[str, Path]) -> dict[str, HostOutcome]:
        if not job.hosts:
            return {}
        with _private_folder() as folder:
            await asyncio.to_thread(write_folder, folder, job, files, playbooks=self._playbooks, forks=self._limits.forks)
            return await self._play(job, folder)

    async def close(self) -> None:
        """Ends every run with its children, and starts none again."""
        self._closed = True
        await asyncio.gather(*(_end(child) for child in list(self._children)))

    async def _fetch(self, job: AnsibleJob) -> dict[str, Path]:
        """Every artifact that may have to be sent."""
        lacking = {work.target.name: _pushed(work) - work.stored for work in job.hosts}
        files = {}
        for digest in sorted(set().union(*map(_pushed, job.hosts))):
            try:
                files[digest] = await self._artifacts.fetch(digest, deadline=self._limits.artifact_deadline)
            except KokError as error:
                if any(digest in each for each in lacking.values()):
                    raise
                log.warning("an artifact cannot be fetched, but every host of the run has it", digest=digest[:12], error=error.message)
        return files

    async def _play(self, job: AnsibleJob, folder: Path) -> dict[str, HostOutcome]:
        progress, late = _Progress(), False
        async with self._child(folder) as child:
            try:
                async with asyncio.timeout(job.timeout):
                    await _listen(child, progress)
            except TimeoutError:
                late = True
        if not late and not progress.stats and not progress.failures and not self._closed:
            raise KokError(ErrorCode.AnsibleFailed, f"the Ansible run ended before its first task: {await _last_words(child, progress)}")
        unfinished = (
            f"not finished within {job.timeout:.0f}s; the run was ended" if late else "the run was ended before this host was finished"
        )
        return {work.target.name: progress.outcome_of(work.target.name, unfinished) for work in job.hosts}

    @contextlib.asynccontextmanager
    async def _child(self, folder: Path) -> AsyncIterator[asyncio.subprocess.Process]:
        if self._closed:
            raise KokError(ErrorCode.AnsibleFailed, "this operator has lost its leadership and starts no more Ansible runs")
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "operators.adapters.ansible_child",
            str(folder),
            str(os.getpid()),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment(folder),
            cwd=folder,
            start_new_session=True,
            limit=1 << 20,
        )
        self._children.add(child)
        try:
            yield child
        finally:
            await asyncio.shield(_end(child))
            self._children.discard(child)


def _pushed(work: HostWork) -> set[str]:
    """Digests of what may have to be sent to a host."""
    artifacts = chain((artifact for package in work.packages for artifact in package.artifacts), work.artifacts)
    return {artifact.sha256 for artifact in artifacts if artifact.method is DeliveryMethod.Push}


async def _listen(child: asyncio.subprocess.Process, progress: _Progress) -> None:
    assert child.stdout is not None
    async for line in child.stdout:
        with contextlib.suppress(ValueError):
            progress.hear(json.loads(line))
    await child.wait()


async def _end(child: asyncio.subprocess.Process, grace: float = 3.0) -> None:
    """SIGTERM (the child ends its own first), then SIGKILL to the whole tree."""
    if child.returncode is not None:
        return
    below = descendants(child.pid)
    with contextlib.suppress(ProcessLookupError):
        child.terminate()
    try:
        async with asyncio.timeout(grace):
            await child.wait()
    except TimeoutError:
        end_descendants(child.pid)
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        await child.wait()
    _end_survivors(below)


def _end_survivors(pids: list[int]) -> None:
    """What left the tree between two looks; a process that runs from our interpreter's tree cannot have been reused within the grace time."""
    for pid in pids:
        with contextlib.suppress(OSError):
            if b"ansible" in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(pid, 9)


async def _last_words(child: asyncio.subprocess.Process, progress: _Progress) -> str:
    """Why a run never began."""
    assert child.stderr is not None
    words = (await child.stderr.read()).decode(errors="replace").strip().splitlines()
    return progress.end.get("tail") or (words[-1] if words else f"exit code {child.returncode}")


@contextlib.contextmanager
def _private_folder() -> Iterator[Path]:
    """A folder of mode 0700 on tmpfs where there is one, removed whatever happens."""
    base = TMPFS if os.access(TMPFS, os.W_OK) else None
    folder = Path(tempfile.mkdtemp(prefix="kok-", dir=base))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
