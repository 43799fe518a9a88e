"""What the last pass found of each machine, for the pool's update: memory of this process only, empty after a start (then nothing counts as in service).

Written by the machine controller, read by the pool controller, which is woken by each change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from operators.domain.machine.release import Verdict


class Board:
    """Verdicts by host."""

    def __init__(self, wake_pool: Callable[[str], None]) -> None:
        self._wake, self._verdicts = wake_pool, dict[str, Verdict]()

    @property
    def verdicts(self) -> Mapping[str, Verdict]:
        """By host name."""
        return self._verdicts

    def post(self, host: str, verdict: Verdict, *, pool: str) -> None:
        """Take in a verdict; a change wakes the pool."""
        if self._verdicts.get(host) != verdict:
            self._verdicts[host] = verdict
            if pool:
                self._wake(pool)

    def withdraw(self, hosts: Iterable[str]) -> None:
        """What was seen of these hosts was of what they are no longer authorised for."""
        for host in hosts:
            self._verdicts.pop(host, None)

    def forget(self, host: str) -> None:
        """The machine is gone."""
        self._verdicts.pop(host, None)
