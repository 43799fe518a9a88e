"""What a pass over a machine or a pool may do next. Data only: made by the ladders, done by `machine_operator`.

Every step says why in one sentence (`reason`: the condition, the event, the log line, `kok why`) and when to look again (`after`,
seconds; 0 at once; None when something wakes the key). `code` is the condition's reason.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from operators.api.hosts import Host
from operators.api.pools import HostRelease
from operators.api.risk import Operation, Outcome
from operators.domain.machine.drain import PodFacts
from operators.domain.machine.host import DesiredPackage
from operators.errors import ErrorCode


class Rung(StrEnum):
    """Where on the ladder a machine is: `status.phase`."""

    Paused = "Paused"
    Claiming = "Claiming"
    Unreachable = "Unreachable"
    Installing = "Installing"
    Updating = "Updating"
    Registering = "Registering"
    Gates = "Gates"
    Open = "Open"
    Maintenance = "Maintenance"
    Leaving = "Leaving"
    Decommissioned = "Decommissioned"
    Waiting = "Waiting"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What every step says."""

    reason: str
    after: float | None = 0.0
    rung: Rung = Rung.Waiting


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait(Step):
    """Nothing to do until something changes. `stalled` names why nothing will move without a person or a repair; empty: it is under way."""

    stalled: ErrorCode | None = None

    @property
    def code(self) -> ErrorCode | None:
        """Reason of its event, which is a Warning then."""
        return self.stalled


@dataclass(frozen=True, slots=True, kw_only=True)
class Done(Step):
    """The machine or the pool is as wished."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateClaim(Step):
    """Take the host: the create is the lock."""

    host: Host
    packages: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateClaim(Step):
    """Note what will be put on the host before it is, and how it is reached now."""

    host: Host
    packages: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseClaim(Step):
    """Give the host back; what grants are left for it are settled first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IssueToken(Step):
    """Make the bootstrap token of this machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteToken(Step):
    """The token has done its work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApproveCertificate(Step):
    """Approve requests that were judged to be this machine's own."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyPackages(Step):
    """One Ansible run for what differs. `needs_grant`: the change hurts pods, so leave to act is verified first."""

    packages: tuple[DesiredPackage, ...]
    remove: tuple[str, ...]
    signature: str
    """Stands for exactly this work on this host: tries of it are counted."""
    join: str
    """Equal on hosts that can share a run."""
    bootstrap: bool
    needs_grant: bool = False
    spares_nobody: bool = False
    """It would hurt pods, and goes without leave only because no node has registered on this host."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanHost(Step):
    """Remove everything of kok from the host."""

    packages: tuple[DesiredPackage, ...]
    signature: str


class Workflow(StrEnum):
    """What a dangerous act is part of: the grant's workflow, and the owner of a cordon claim."""

    decommission = "decommission"
    maintenance = "maintenance"
    update = "update"
    gate = "gate"


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainNode(Step):
    """Cordon, mark pods, evict them within their budgets; under a grant of `operation`."""

    workflow: Workflow
    operation: Operation
    evict: bool
    """False in the first pass: pods are marked `kok.dev/to-migrate` before the first eviction."""
    overdue: bool = False
    """Its deadline has passed: a person is asked to look, trying goes on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnmarkPods(Step):
    """A drain was cancelled: its pods need not move."""

    pods: tuple[PodFacts, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteNode(Step):
    """Delete the Node of a host that was cleaned (or given up by a person)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteMachine(Step):
    """Delete the Machine of a host that was cleaned (or given up by a person)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SettleGrants(Step):
    """Report the end of acts that are over."""

    grants: tuple[str, ...]
    outcome: Outcome = Outcome.Succeeded


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchNode(Step):
    """Compare-and-swap on the Node: labels, annotations and taints of ours, and whether it is schedulable."""

    patch: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenNode(PatchNode):
    """Take the not-ready taint off; right before that the gates are judged once more by what the API server itself says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorGates(Step):
    """Compare-and-swap on the Node's conditions of ours."""

    operations: tuple[dict[str, object], ...]
    """A JSON patch of the Node's status."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CordonNode(Step):
    """Cordon an open node that lost a gate, under a grant; without one it stays open, and that is said."""

    gate: str
    """What is lost, one sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AddFinalizer(Step):
    """From now on a pool's deletion cleans its hosts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveFinalizer(Step):
    """The pool's hosts are clean: let it go."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteRelease(Step):
    """Authorise hosts for packages."""

    hosts: tuple[HostRelease, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyMachines(Step):
    """Make Machine objects show what is authorised: host name and packages."""

    machines: tuple[HostRelease, ...]
