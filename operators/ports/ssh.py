"""Looking at a host over SSH: one command, one report. Never changes a host; changing is `ports.ansible`.

Real: adapters/ssh.py (asyncssh); twin: adapters/sim_ssh.py. Called by machine_operator.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from operators.domain.machine.host import DesiredPackage, HostReport


@dataclass(frozen=True, slots=True)
class SshTarget:
    """How one host is reached. Everything comes from the meta cluster."""

    name: str
    address: str
    port: int
    user: str
    host_keys: tuple[str, ...]
    """Pinned public keys; the only authority. Empty = refused."""
    private_key: str = field(repr=False)
    """PEM; never logged."""


class SshPort(Protocol):
    """Looks at hosts; bounded fan-out is the adapter's."""

    async def probe(self, target: SshTarget, wanted: tuple[DesiredPackage, ...], *, deadline: float) -> HostReport:
        """What is on the host of what is wanted, and what kok left there before. Seconds of `deadline` cover everything.

        Raises KokError: HostKeyMissing (none pinned), HostKeyChanged, HostRefused (connection or key refused; the last line says which),
        HostTimeout, HostUnresolved, HostNoSudo.
        """
        ...
