"""Changing hosts: one job, one Ansible run, hosts that differ only. Never decides; never called for a host that is right.

Work that can hurt carries its Grant, which is verified when the work's turn has come: it may have waited for long.
Real: adapters/ansible.py (a child process per job); twin: adapters/sim_ansible.py. Called by machine_operator.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from operators.api.packages import Artifact
from operators.api.risk import Operation
from operators.domain.machine.host import DesiredPackage, Owner
from operators.errors import ErrorCode, KokError
from operators.ports.grants import Grant
from operators.ports.ssh import SshTarget


class JobAction(StrEnum):
    """What a job does."""

    Apply = "Apply"
    """Make `packages` true on the host, remove components in `remove`."""
    Clean = "Clean"
    """Remove everything of kok from the host, its records last."""
    Stage = "Stage"
    """Put `artifacts` into the host's store, and take out what was staged before and is not in `keep`. Nothing that is installed changes."""


ALLOWED_BY = {JobAction.Apply: Operation.ApplyPackage, JobAction.Clean: Operation.DeleteMachine}
"""What the grant of a host's work is for. Staging changes nothing that is installed."""
LEAVE_LEFT = 30.0
"""Seconds that a grant must still be good for when a play starts: the play connects and takes the host's lock first."""


@dataclass(frozen=True, slots=True)
class HostWork:
    """What one host gets in a job."""

    target: SshTarget
    owner: Owner
    """Written to the host first; a host that knows a higher epoch or another claim refuses."""
    packages: tuple[DesiredPackage, ...] = ()
    """In order; those that differ, each applied whole."""
    remove: tuple[str, ...] = ()
    """Components kok's records on the host name and nobody wants any more."""
    bootstrap_kubeconfig: str = field(default="", repr=False)
    """Written to /etc/kubernetes/bootstrap-kubelet.conf before the kubelet starts; empty when the node has its credentials."""
    artifacts: tuple[Artifact, ...] = ()
    """Staged ahead; a host that does not have `owner` as its owner refuses."""
    keep: tuple[str, ...] = ()
    """Digests that stay staged beside those that are installed."""
    stored: frozenset[str] = frozenset()
    """Digests that the last look found in the host's store: an artifact that every host has need not be there to be sent."""
    grant: Grant | None = field(kw_only=True)
    """Leave for it, None for what hurts nobody. Whoever makes work has to say which; a Clean is never made without."""
    hurts_by_now: Callable[[], Awaitable[str]] | None = field(default=None, repr=False, compare=False)
    """Of work without leave that is harmless only as its host was: why it would hurt somebody by now, asked when its turn has come. Empty: nobody."""


@dataclass(frozen=True, slots=True)
class AnsibleJob:
    """One run. `ident` is derived from what it is for, so that the same work has the same id after a restart."""

    ident: str
    action: JobAction
    hosts: tuple[HostWork, ...]
    timeout: float
    """Seconds for the whole run; then it is ended with its children and every unfinished host is failed."""

    def __post_init__(self) -> None:
        """Raises KokError GrantInvalid for work that never goes without leave and has none."""
        for work in self.hosts:
            require_leave(self.action, work)


def require_leave(action: JobAction, work: HostWork) -> None:
    """Raises KokError GrantInvalid when work that never goes without leave has none."""
    if action is JobAction.Clean and work.grant is None:
        raise KokError(ErrorCode.GrantInvalid, f"{work.target.name} is not cleaned without leave", "nothing was done; this is a bug")


@dataclass(frozen=True, slots=True)
class HostOutcome:
    """How it went on one host."""

    changed: int
    """Tasks that changed something."""
    failed: bool
    task: str = ""
    """Name of the task that failed."""
    message: str = ""
    """The last line of what went wrong, without secrets."""
    withheld: bool = False
    """Nothing was run on it: when its turn had come its leave did not hold any more, or it was not harmless any more."""


class AnsiblePort(Protocol):
    """Runs jobs."""

    async def run(self, job: AnsibleJob) -> Mapping[str, HostOutcome]:
        """Outcome per host name; a host's failure is an outcome, not an exception.

        Right before the play starts each host's grant is verified, and work without one judged again. A host whose grant does not hold, or whose
        work has become dangerous, is left out, and its outcome is `withheld`; the others go on.

        Raises KokError AnsibleFailed when the run as a whole could not start, ArtifactMissing or ArtifactMismatch before anything is touched.
        """
        ...

    async def close(self) -> None:
        """End every run with its children; called when leadership is lost."""
        ...
