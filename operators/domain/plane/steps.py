"""What a pass over a Cluster may do: one of these, chosen by the ladder, done by cluster_operator.cluster.act. Data only.

`reason` is the one sentence that people read everywhere; `after` the seconds until the next pass (0 = at once, None = when woken).
The name of a step is the reason of its event.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from operators.api.cluster_release import Authorisation
from operators.api.risk import Outcome
from operators.domain.plane.certificates import LeafSpec, RootSpec
from operators.domain.plane.inputs import Manifest
from operators.domain.plane.member_steps import MemberStep
from operators.domain.plane.release_steps import WriteRelease
from operators.errors import ErrorCode

POLL_SECONDS = 60.0
"""Between two looks at a plane that is as it should be."""
PACED_FROM = 300
"""Clusters; a larger fleet at rest is looked at more slowly in proportion, so that one process comes to the end of its round and is free for changes."""
CREATING_SECONDS = 1.0


def pace_of(fleet: int) -> float:
    """By which factor looks at planes at rest are further apart, in a fleet of so many Clusters."""
    return max(1.0, fleet / PACED_FROM)


@dataclass(frozen=True, slots=True)
class Paused:
    """Nothing is changed while spec.paused is true."""

    reason: str
    after: float | None = None


@dataclass(frozen=True, slots=True)
class Stall:
    """A person has to act; `code` is the condition's reason."""

    code: ErrorCode
    reason: str
    after: float | None = POLL_SECONDS


@dataclass(frozen=True, slots=True)
class Wait:
    """Something else has to happen first; it wakes us, or we look again."""

    stage: str
    reason: str
    after: float | None = CREATING_SECONDS
    is_patient: bool = False
    """Whether it may take as long as it takes: a soak, machines that follow their pool. The deadline of a hop is not for these."""
    word: str = ""
    """The reason that Ready shows, where the phase says too little: that it waits for a person."""


@dataclass(frozen=True, slots=True)
class Admit:
    """Take the Cluster in hand: finalizer on it, and its name on the namespace."""

    reason: str
    after: float | None = 0.0


@dataclass(frozen=True, slots=True)
class Authorise:
    """Write the ClusterRelease."""

    current: Authorisation
    reason: str
    after: float | None = 0.0


@dataclass(frozen=True, slots=True)
class NewRootKeys:
    """Make the root keys of a plane that never lived, in their sealed copy; the Secrets are then filled from it."""

    specs: tuple[RootSpec, ...]
    replaces: str
    """uid of a copy that a former Cluster of this name left behind; empty: there must be none."""
    reason: str
    after: float | None = 0.0


@dataclass(frozen=True, slots=True)
class SealRootKeys:
    """Write the sealed copy anew from sound root Secrets."""

    specs: tuple[RootSpec, ...]
    reason: str
    after: float | None = 0.0


@dataclass(frozen=True, slots=True)
class RestoreRootKeys:
    """Fill root Secrets from their sealed copy."""

    specs: tuple[RootSpec, ...]
    reason: str
    after: float | None = 0.0


@dataclass(frozen=True, slots=True)
class IssueLeaves:
    """Issue leaf certificates and kubeconfigs."""

    specs: tuple[LeafSpec, ...]
    reason: str
    after: float | None = 0.0


@dataclass(frozen=True, slots=True)
class ApplyObjects:
    """Server-side apply these in the meta cluster, whole."""

    stage: str
    objects: tuple[Manifest, ...]
    reason: str
    after: float | None = 0.0


@dataclass(frozen=True, slots=True)
class RecordBootstrap:
    """Write the bootstrap records of these etcds: an empty member of them never starts a new etcd again."""

    records: tuple[Manifest, ...]
    reason: str
    after: float | None = 0.0


@dataclass(frozen=True, slots=True)
class SettleGrants:
    """Report the end of acts to the risk centre."""

    grants: tuple[str, ...]
    outcome: Outcome
    reason: str
    after: float | None = 0.0


@dataclass(frozen=True, slots=True)
class RollMember:
    """End one pod of an etcd so that it comes back with the last spec."""

    pod: str
    reason: str
    after: float | None = CREATING_SECONDS


@dataclass(frozen=True, slots=True)
class ApplyInside:
    """Server-side apply these in the business cluster, in order."""

    objects: tuple[Manifest, ...]
    reason: str
    after: float | None = 0.0


@dataclass(frozen=True, slots=True)
class PruneInside:
    """Delete these in the business cluster; each carries its uid."""

    objects: tuple[Manifest, ...]
    reason: str
    after: float | None = 0.0


@dataclass(frozen=True, slots=True)
class DeleteObjects:
    """Delete these in the meta cluster; each carries its uid. What nothing depends on: it needs no leave."""

    objects: tuple[Manifest, ...]
    reason: str
    after: float | None = CREATING_SECONDS


@dataclass(frozen=True, slots=True)
class EndPlane:
    """Delete these masters or volumes in the meta cluster, with leave for the end of the whole plane; each carries its uid."""

    objects: tuple[Manifest, ...]
    reason: str
    after: float | None = CREATING_SECONDS


@dataclass(frozen=True, slots=True)
class Release:
    """Let the Cluster go: the namespace's label first, our finalizer last."""

    reason: str
    after: float | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """Everything is as it should be."""

    at_rest: ClassVar[bool] = True
    reason: str
    after: float | None = POLL_SECONDS


Step = (
    Paused
    | Stall
    | Wait
    | Admit
    | Authorise
    | NewRootKeys
    | SealRootKeys
    | RestoreRootKeys
    | IssueLeaves
    | ApplyObjects
    | RecordBootstrap
    | RollMember
    | SettleGrants
    | ApplyInside
    | PruneInside
    | DeleteObjects
    | EndPlane
    | Release
    | MemberStep
    | WriteRelease
    | Done
)

Faults = Mapping[str, str]
