"""The last look at each host, and when to look again: watch events must not hammer hosts, and a change must not wait a minute.

Looks again when what is asked changed (`question`), when the answer is too old, or when told to. Memory only: after a start every host is looked at.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from operators.domain.machine.host import DesiredPackage
from operators.domain.machine.view import Probe
from operators.errors import KokError
from operators.ports.ssh import SshPort, SshTarget

DEADLINE_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Question:
    """What a look is about: an answer to another question is too old. `stamp` changes with what makes the old answer doubtful."""

    target: SshTarget
    wanted: tuple[DesiredPackage, ...]
    stamp: tuple[str, ...]


class Probes:
    """Answers by host."""

    def __init__(self, ssh: SshPort, *, now: Callable[[], datetime]) -> None:
        self._ssh, self._now = ssh, now
        self._known: dict[str, tuple[Question, Probe]] = {}
        self.looks = 0
        """How many hosts were asked, for metrics and tests."""

    async def look(self, host: str, question: Question, *, max_age: float) -> Probe:
        """The last answer if it is good enough, else a new one. A host that does not answer is an answer."""
        known = self._known.get(host)
        if known and known[0] == question and (self._now() - known[1].at).total_seconds() < max_age:
            return known[1]
        began = self._now()
        self.looks += 1
        try:
            report = await self._ssh.probe(question.target, question.wanted, deadline=DEADLINE_SECONDS)
            probe = Probe(began, report)
        except KokError as error:
            probe = Probe(began, None, error)
        self._known[host] = (question, probe)
        return probe

    async def again(self, host: str, *, since: datetime) -> None:
        """Look at a host that was looked at before, with the same question, unless that was after `since`."""
        if (known := self._known.get(host)) and known[1].at < since:
            await self.look(host, known[0], max_age=0.0)

    def looked_at(self) -> dict[str, Probe]:
        """The last answers, however old."""
        return {host: probe for host, (_, probe) in self._known.items()}

    def last(self, host: str) -> Probe | None:
        """The last answer, however old."""
        known = self._known.get(host)
        return known[1] if known else None

    def forget(self, host: str) -> None:
        """The machine is gone."""
        self._known.pop(host, None)
