"""Which versions are not rolled out any more: those that a rollout found bad, unless a person said that the version was not to blame. Pure.

A mark is a journal and stays. A person lifts it with an annotation on the package version that names the rollout and gives a reason,
`kok.dev/not-bad: "train-7: the registry was down"`, one line per rollout; a later rollout that finds the version bad again makes a mark of its
own, which that annotation does not lift.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from operators.api.base import GROUP

NOT_BAD = f"{GROUP}/not-bad"
"""The annotation."""


@dataclass(frozen=True, slots=True)
class BadMark:
    """A rollout found a version bad."""

    version: str
    rollout: str
    why: str

    def refusal(self) -> str:
        """The sentence for who wants to roll it out again, with both ways on."""
        return (
            f"{self.version} was found bad by rollout {self.rollout} ({self.why[:300].rstrip('.')}); make a new version, or, if the version was not to "
            f"blame, annotate it with {NOT_BAD}: '{self.rollout}: REASON'"
        )


def lifted_by(annotations: Mapping[str, str]) -> frozenset[str]:
    """Rollouts whose marks a person lifted; a line without a reason lifts nothing."""
    lines = (line.partition(":") for line in annotations.get(NOT_BAD, "").splitlines())
    return frozenset(name.strip() for name, _, reason in lines if reason.strip())


def standing(marks: Iterable[BadMark], annotations: Mapping[str, Mapping[str, str]]) -> Mapping[str, BadMark]:
    """Version -> a mark that still stands. `annotations`: of every package version that there is, by name."""
    found = {}
    for mark in marks:
        if mark.rollout not in lifted_by(annotations.get(mark.version, {})):
            found[mark.version] = mark
    return found
