"""Whether it is us: SSH fails to hosts whose nodes are well. Pure; called by the ladder, the status and the pool.

One host that does not answer has failed. Many that do not, while their kubelets report to the API server, have lost nothing but us: a network
between, a key, a firewall on our side. Then nothing is begun on any host, and no package is to blame (safety: failing static).
"""

from __future__ import annotations

from dataclasses import dataclass

LEAST, SHARE = 3, 3
"""From three hosts on that are a third of all; of fewer, all of at least two."""
REFERENCES = 3
"""Other hosts that are asked before one that does not answer is blamed for it."""


@dataclass(frozen=True, slots=True)
class Sight:
    """How SSH goes to the hosts that this process has looked at: how many they are, and which of them it cannot reach although their Node is Ready."""

    asked: int = 0
    lost: tuple[str, ...] = ()


def problem(sight: Sight) -> str:
    """Why no host is touched, in words; empty while it is not us."""
    count = len(sight.lost)
    few = 2 <= count == sight.asked
    if not few and (count < LEAST or count * SHARE < sight.asked):
        return ""
    named = ", ".join(sight.lost[:2]) + (f" and {count - 2} more" if count > 2 else "")
    return (
        f"SSH fails to {count} of {sight.asked} hosts although their nodes are Ready ({named}): the fault is between the Machine-Operator and "
        "its hosts, so nothing is begun on any of them and none is blamed; it goes on when they are reached again"
    )
