"""One etcd of a plane, as the Cluster-Operator needs it: who its members are, how each is, and the changes of membership.

Real: adapters/etcd.py (etcd's v3 API as JSON on the client port, mutual TLS). Twin: adapters/sim_etcd.py, under the same contract tests.
Taking a member out takes a Grant, which is verified right before it. Called by cluster_operator.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Protocol

from operators.domain.plane.etcd_facts import Member, MemberStatus
from operators.ports.grants import Grant


@dataclass(frozen=True, slots=True)
class MemberAddress:
    """Where one member's client port is."""

    pod: str
    """Name of its pod; errors and calls name members by it."""
    address: str
    """What to connect to: the pod's address, since names of pods may be known to DNS only later."""
    host: str
    """The name that its certificate must carry."""


@dataclass(frozen=True, slots=True)
class EtcdAccess:
    """How one etcd is reached; a new one is made for every look, since addresses of pods change. PEM texts; secrets stay out of repr."""

    name: str
    """namespace/name of the etcd: sessions are kept by it."""
    members: tuple[MemberAddress, ...]
    ca_pem: str
    certificate_pem: str = field(repr=False)
    key_pem: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class MemberList:
    """The membership as a quorum of the voters knows it."""

    cluster_id: str
    """Hexadecimal, as etcd prints it."""
    members: tuple[Member, ...]


class EtcdPort(Protocol):
    """The verbs. Each has a deadline of a few seconds and raises only KokError: Unreachable, Timeout, Unauthorized, EtcdRefused, GrantInvalid."""

    async def member_list(self) -> MemberList:
        """A linearizable read through whichever member answers: without a quorum it is Unreachable or Timeout, never old news."""
        ...

    async def status(self, pod: str) -> MemberStatus:
        """What that member says of itself; answered without a quorum."""
        ...

    async def add_learner(self, peer_url: str) -> Member:
        """Add a member that does not vote yet. EtcdRefused if it is one already, or if another is still learning."""
        ...

    async def promote(self, member_id: int) -> None:
        """Let a learner vote. EtcdRefused while it is not in sync; nothing if it votes already."""
        ...

    async def move_leader(self, member_id: int) -> None:
        """Hand leadership to that voter; nothing if it leads already."""
        ...

    async def remove_member(self, member_id: int, *, pod: str, grant: Grant) -> None:
        """Take a member out, for ever. The grant must be for RemoveEtcdMember of `pod`. Absent is success."""
        ...

    def snapshot(self, pod: str) -> AsyncIterator[bytes]:
        """The whole database of that member as `etcdutl snapshot restore` takes it, piece by piece; ends early only with an error."""
        ...


class EtcdConnector(Protocol):
    """Makes ports; keeps what is dear (TLS contexts, connections) for a while."""

    def connect(self, access: EtcdAccess) -> EtcdPort:
        """The port to that etcd. Connects to nothing yet."""
        ...

    async def forget(self, name: str) -> None:
        """Close what is kept of it."""
        ...
