"""Steps that change the members of an etcd: each is one act, done by cluster_operator.cluster.etcd_act. Data only; chosen by `members`.

`reason` and `after` as in `steps`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

SOON = 0.5
"""Seconds: etcd changes need a moment to be seen at every member."""


class Removal(StrEnum):
    """Why a member is taken out; part of the name of its grant."""

    Replace = "replace"
    Shrink = "shrink"


@dataclass(frozen=True, slots=True)
class UpdateRecord:
    """Write into the bootstrap record who is a member and who may start empty."""

    etcd: str
    added: tuple[str, ...]
    members: tuple[str, ...]
    reason: str
    after: float | None = 0.0


@dataclass(frozen=True, slots=True)
class AddLearner:
    """Add a member that does not vote yet."""

    etcd: str
    peer_url: str
    reason: str
    after: float | None = 0.0


@dataclass(frozen=True, slots=True)
class Promote:
    """Let a learner vote."""

    etcd: str
    member_id: int
    reason: str
    after: float | None = 0.0


@dataclass(frozen=True, slots=True)
class HandOverLeadership:
    """Make another voter the leader, before its own member is ended or taken out."""

    etcd: str
    member_id: int
    reason: str
    after: float | None = SOON


@dataclass(frozen=True, slots=True)
class RemoveMember:
    """Take a member out for ever, with leave of the risk centre."""

    etcd: str
    member_id: int
    pod: str
    why: Removal
    reason: str
    after: float | None = 0.0


@dataclass(frozen=True, slots=True)
class DiscardMember:
    """Delete the volume claim and the pod of an ordinal that is no member: what lies there belongs to nothing."""

    etcd: str
    ordinal: int
    claim: str
    claim_uid: str
    pod: str
    pod_uid: str
    reason: str
    force: bool = False
    """Whether nobody is there any more who could confirm the pod's end."""
    after: float | None = 1.0


@dataclass(frozen=True, slots=True)
class RestartPod:
    """Delete a pod that serves nobody, so that it is made again."""

    pod: str
    pod_uid: str
    reason: str
    force: bool = False
    needs_leave: bool = False
    """Whether the risk centre is asked first: it is a member of an etcd that may still be needed."""
    after: float | None = 1.0


MemberStep = UpdateRecord | AddLearner | Promote | HandOverLeadership | RemoveMember | DiscardMember | RestartPod
