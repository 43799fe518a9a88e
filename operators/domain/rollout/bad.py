"""Which versions are not taken any more: those that a rollout found bad, unless a person said that the version was not to blame. Pure.

A mark is a journal and stays. A person lifts it with an annotation on the package version that names the rollout and gives a reason,
`kok.dev/not-bad: "train-7: the registry was down"`, one line per rollout; a later rollout that finds the version bad again makes a mark of its
own, which that annotation does not lift. Of a rollout that pauses on failure each failed stage makes a mark; who accepts the failure says that the
version was not to blame, which lifts it (a journal, too). Asked by rollouts, by edited wishes of planes, and by pools before they change a host.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from operators.api.base import GROUP

NOT_BAD = f"{GROUP}/not-bad"
"""The annotation that lifts marks."""
FOUND_BAD = f"{GROUP}/found-bad"
"""The annotation that repeats marks on a MachinePackageVersion, for Machine-Operators, which do not read the journals of the fleet."""
WHY = 300
"""Characters of a reason that are told."""


@dataclass(frozen=True, slots=True)
class BadMark:
    """A rollout found a version bad. `by`: who signed the rollout; `at`: when; `uid`: which rollout of that name; older marks lack these.
    `stage`: the one that failed, of a rollout that then pauses. `operation`, `reached`, `count`: what the change is made of, to which members it had
    come (`namespace/cluster`, or `namespace/cluster/pool`), and how many those were: for the breakers that it opens.
    """

    version: str
    rollout: str
    why: str
    by: str = ""
    at: str = ""
    uid: str = ""
    stage: str = ""
    operation: str = ""
    reached: tuple[str, ...] = ()
    count: int = 0

    def refusal(self) -> str:
        """The sentence for who wants to have it again, with both ways on."""
        signed = ", ".join(each for each in (self.by, self.at) if each)
        said = f"{signed}: {self._why}" if signed else self._why
        return (
            f"{self.version} was found bad by rollout {self.rollout} ({said}); make a new version, or, if the version was not to "
            f"blame, annotate it with {NOT_BAD}: '{self.rollout}: REASON'"
        )

    def line(self) -> str:
        """As one line of FOUND_BAD."""
        return f"{self.rollout}: {self.at} {self.by or '-'} {self._why}"

    @property
    def _why(self) -> str:
        return " ".join(self.why[:WHY].split()).rstrip(".")


def lifted_by(annotations: Mapping[str, str]) -> frozenset[str]:
    """Rollouts whose marks a person lifted; a line without a reason lifts nothing."""
    lines = (line.partition(":") for line in annotations.get(NOT_BAD, "").splitlines())
    return frozenset(name.strip() for name, _, reason in lines if reason.strip())


def standing(marks: Iterable[BadMark], annotations: Mapping[str, Mapping[str, str]]) -> Mapping[str, BadMark]:
    """Version -> a mark that still stands. `annotations`: of every package version that there is, by name."""
    return {mark.version: mark for mark in marks if not is_lifted(mark, annotations)}


def is_lifted(mark: BadMark, annotations: Mapping[str, Mapping[str, str]]) -> bool:
    """Whether a person said on the package version that it was not to blame."""
    return mark.rollout in lifted_by(annotations.get(mark.version, {}))


def with_mark(annotations: Mapping[str, str], mark: BadMark) -> str:
    """The value of FOUND_BAD with this mark in it; of a rollout that is there already, as it is."""
    lines = annotations.get(FOUND_BAD, "").splitlines()
    if any(line.partition(":")[0] == mark.rollout for line in lines):
        return "\n".join(lines)
    return "\n".join((*lines, mark.line()))


def without_mark(annotations: Mapping[str, str], rollout: str) -> str:
    """The value of FOUND_BAD without what that rollout said."""
    return "\n".join(line for line in annotations.get(FOUND_BAD, "").splitlines() if line.partition(":")[0] != rollout)


def told_on(version: str, annotations: Mapping[str, str]) -> BadMark | None:
    """The last mark on a MachinePackageVersion that nobody lifted."""
    found = [mark for mark in _lines(version, annotations) if mark.rollout not in lifted_by(annotations)]
    return found[-1] if found else None


def _lines(version: str, annotations: Mapping[str, str]) -> Iterator[BadMark]:
    for line in annotations.get(FOUND_BAD, "").splitlines():
        rollout, _, said = line.partition(": ")
        at, _, rest = said.partition(" ")
        by, _, why = rest.partition(" ")
        if rollout.strip():
            yield BadMark(version, rollout.strip(), why, "" if by == "-" else by, at)
