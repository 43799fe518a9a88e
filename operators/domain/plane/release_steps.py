"""The writes of the ClusterRelease: what is authorised, and where a hop is. Each is one compare-and-swap. Data only.

Chosen by `release` and `upgrading`, done by cluster_operator.cluster.release_act. The name of a step is the reason of its event.
"""

from __future__ import annotations

from dataclasses import dataclass

from operators.api.cluster_release import ClusterReleaseSpec
from operators.api.risk import Purpose


@dataclass(frozen=True, slots=True)
class WriteRelease:
    """Replace the spec of the ClusterRelease, if it is still the one that was seen."""

    spec: ClusterReleaseSpec
    reason: str
    after: float | None = 0.0


@dataclass(frozen=True, slots=True)
class AuthoriseVersion(WriteRelease):
    """Another package version is authorised."""


@dataclass(frozen=True, slots=True)
class BeginHop(WriteRelease):
    """A hop begins; nothing moves yet."""


@dataclass(frozen=True, slots=True)
class TurnHop(WriteRelease):
    """A hop is turned round."""


@dataclass(frozen=True, slots=True)
class EndHop(WriteRelease):
    """The plane is at one end as a whole."""


@dataclass(frozen=True, slots=True)
class MoveHop(WriteRelease):
    """The next stage, which changes masters: only with leave of the risk centre."""

    purpose: Purpose = Purpose.Forward
