"""What the rest of a process may know of its leadership: its epoch, and how long it surely lasts.

Written by `operators.engine.elector`; read by whoever acts outside Kubernetes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from operators.engine.clock import boot_seconds


@dataclass(slots=True)
class Leadership:
    """`epoch` goes with every act outside Kubernetes; `remaining` bounds what cannot check an epoch (a BMC)."""

    clock: Callable[[], float] = field(default=boot_seconds)
    epoch: int = 0
    """0 = never led. Grows with every process start that wins, over the life of the lease."""
    until: float = 0.0
    """The second on `clock` at which this process must have ended unless it renewed."""

    @property
    def remaining(self) -> float:
        """Seconds for which nobody else can lead; 0 when not leading."""
        return max(0.0, self.until - self.clock()) if self.epoch else 0.0

    @property
    def is_held(self) -> bool:
        """Whether an act may start now. Right also just after the process was stopped and continued."""
        return self.remaining > 0.0
