"""Simulated hosts that several processes reach: state in a folder, a lock as on a real host, plays as child processes that outlive a stopped parent.

Every step of a play passes the host's fence (the epoch in its owner file) and is written down. As a process: `python shared_hosts.py FOLDER JOB`.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import pickle
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from operators.adapters.ansible_leave import with_leave
from operators.adapters.sim_ansible import apply, clean, refusal_of
from operators.adapters.sim_ssh import SimFleet, SimSsh
from operators.domain.machine.host import DesiredPackage, HostReport
from operators.engine.clock import boot_seconds
from operators.ports.ansible import AnsibleJob, HostOutcome, HostWork, JobAction
from operators.ports.grants import GrantsPort
from operators.ports.ssh import SshTarget

STEP_SECONDS = 0.5


class SharedFleet:
    """The hosts of one test."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._state, self.acts = folder, folder / "fleet.pickle", folder / "acts.log"

    @contextlib.contextmanager
    def locked(self) -> Iterator[SimFleet]:
        """The fleet, saved at the end."""
        with (self.folder / "lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            fleet = pickle.loads(self._state.read_bytes()) if self._state.exists() else SimFleet()
            yield fleet
            self._state.write_bytes(pickle.dumps(fleet))

    def note(self, file: str, **words: Any) -> None:
        """One line; short enough to be written as one."""
        with (self.folder / file).open("a") as log:
            log.write(json.dumps({"at": boot_seconds(), "pid": os.getpid(), **words}) + "\n")

    def lines(self, file: str) -> list[dict[str, Any]]:
        """What was noted."""
        path = self.folder / file
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


class SharedSsh:
    """SshPort."""

    def __init__(self, fleet: SharedFleet) -> None:
        self._fleet = fleet

    async def probe(self, target: SshTarget, wanted: tuple[DesiredPackage, ...], *, deadline: float) -> HostReport:
        with self._fleet.locked() as fleet:
            return await SimSsh(fleet).probe(target, wanted, deadline=deadline)


class SharedAnsible:
    """AnsiblePort: a run is a child process."""

    def __init__(self, fleet: SharedFleet, grants: GrantsPort) -> None:
        self._fleet, self._grants = fleet, grants

    async def run(self, job: AnsibleJob) -> Mapping[str, HostOutcome]:
        job, withheld = await with_leave(job, self._grants)
        path = self._fleet.folder / f"job-{uuid4().hex}.pickle"
        path.write_bytes(pickle.dumps(job))
        child = await asyncio.create_subprocess_exec(sys.executable, __file__, str(self._fleet.folder), str(path))
        await child.wait()
        result = path.with_suffix(".result")
        outcomes: dict[str, HostOutcome] = pickle.loads(result.read_bytes()) if result.exists() else {}
        return withheld | outcomes

    async def close(self) -> None:
        return None


def play(shared: SharedFleet, job: AnsibleJob) -> dict[str, HostOutcome]:
    """Every host of a run, step by step."""
    return {work.target.name: _host(shared, job, work) for work in job.hosts}


def _host(shared: SharedFleet, job: AnsibleJob, work: HostWork) -> HostOutcome:
    steps = (
        [replace(work, packages=()), *(replace(work, packages=(p,), remove=()) for p in work.packages)]
        if job.action is JobAction.Apply
        else [work]
    )
    changed = 0
    for step in steps:
        time.sleep(STEP_SECONDS)
        outcome = _step(shared, job, step)
        changed += outcome.changed
        if outcome.failed:
            return replace(outcome, changed=changed)
    return HostOutcome(changed, failed=False)


def _step(shared: SharedFleet, job: AnsibleJob, work: HostWork) -> HostOutcome:
    with shared.locked() as fleet:
        host = fleet.hosts[work.target.address, work.target.port]
        act = ",".join(package.name for package in work.packages) or job.action.value
        refused = refusal_of(host.owner, work.owner)
        before = host.owner.epoch if host.owner else 0
        outcome = (
            HostOutcome(0, failed=True, task=act, message=refused)
            if refused
            else clean(host)
            if job.action is JobAction.Clean
            else apply(host, work)
        )
        shared.note(
            "acts.log", host=host.name, epoch=work.owner.epoch, found=before, act=act, changed=outcome.changed, refused=bool(refused)
        )
        return outcome


if __name__ == "__main__":
    _shared, _path = SharedFleet(Path(sys.argv[1])), Path(sys.argv[2])
    _path.with_suffix(".result").write_bytes(pickle.dumps(play(_shared, pickle.loads(_path.read_bytes()))))
