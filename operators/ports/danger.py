"""The dangerous verbs on a business cluster's nodes. Each takes a Grant and verifies it right before acting; without one it does not type-check.

Real: adapters/kube_danger.py (ENGINE's KubePort underneath). Called by machine_operator.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from operators.domain.machine.drain import PodFacts
from operators.ports.grants import Grant


@dataclass(frozen=True, slots=True)
class DrainProgress:
    """How far a drain is. `blocked` names pods whose budget refuses eviction now, with the API's sentence."""

    remaining: tuple[str, ...]
    blocked: tuple[str, ...]

    @property
    def done(self) -> bool:
        """Nothing is left to move."""
        return not self.remaining


class NodeDanger(Protocol):
    """Acts that can hurt what runs, and the look that goes with them."""

    async def pods_to_move(self, node: str) -> tuple[PodFacts, ...]:
        """Pods that a drain of this node moves, read live. Changes nothing, so it needs no grant."""
        ...

    async def mark_pods(self, pods: tuple[PodFacts, ...]) -> None:
        """Label them kok.dev/to-migrate, so that a platform can move them itself first. Pods that are gone are no error."""
        ...

    async def unmark_pods(self, pods: tuple[PodFacts, ...]) -> None:
        """Take that label off again: the drain was cancelled."""
        ...

    async def cordon(self, node: str, grant: Grant, *, owner: str) -> None:
        """Make unschedulable and record `owner`'s claim in the annotation kok.dev/cordon-claims. Idempotent."""
        ...

    async def evict_pods(self, node: str, grant: Grant) -> DrainProgress:
        """Ask eviction once for every pod that a drain moves (not DaemonSet, not mirror); budgets are honoured. Returns what is left.

        Raises KokError Conflict when the node takes pods: somebody uncordoned it.
        """
        ...

    async def delete_node(self, node: str, grant: Grant) -> None:
        """Delete the Node object. Absent is success."""
        ...

    async def delete_machine(self, machine: str, grant: Grant) -> None:
        """Delete the Machine object of a host that was cleaned. Absent is success."""
        ...
