"""The lock that makes one process of several the leader: a record with a holder, moved only by compare-and-swap.

Decides nothing; `operators.engine.elector` does. Adapters: `operators.adapters.lease_kube` (a coordination.k8s.io Lease) and
`operators.adapters.sim_lease` (memory), under the same contract tests.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class LeaseRecord:
    """What the lock says. `epoch` only ever grows: +1 with every process start that wins; it goes with each act outside Kubernetes.

    `holder` is empty after a release. Times are UTC. `version` is opaque: what `replace` compares; empty in a record not stored yet.
    """

    holder: str
    acquired: datetime
    renewed: datetime
    duration_seconds: int
    transitions: int
    epoch: int
    version: str = ""


class LeasePort(Protocol):
    """One named lock. Calls have their own deadline and raise KokError (Conflict, Unreachable, Timeout, ...)."""

    async def read(self) -> LeaseRecord | None:
        """The record as it is now, or None if it was never written."""
        ...

    async def create(self, record: LeaseRecord) -> LeaseRecord:
        """Write the first record; `operators.ports.kube.AlreadyExists` if there is one."""
        ...

    async def replace(self, record: LeaseRecord) -> LeaseRecord:
        """Write `record` if the stored version is still `record.version`, else `ports.kube.Conflict`; returns what is stored."""
        ...
