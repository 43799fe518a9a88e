"""One hop of a plane between two packages: its stages, what each component is at each of them, and the way forth and back. Pure.

A hop has a lower and an upper end and a stage in between; going up and going down walk the same stages, so turning round is possible at any
moment and the order back is the reverse of the order there. What the plane looks like follows from the stage alone. Journalled in the
ClusterRelease; walked by `upgrading`.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from operators.api.cluster_release import AuthorisedBy, ClusterReleaseSpec, Direction, Hop, HopStage
from operators.api.risk import Purpose
from operators.domain.plane.paths import Package

S = HopStage
WITHIN_A_MINOR: Final = (S.Prepare, S.Apiserver, S.Controllers, S.Addons, S.MachineOperator)
ACROSS_MINORS: Final = (
    S.Prepare,
    S.Apiserver,
    S.Controllers,
    S.Soak,
    S.LiftApiserver,
    S.LiftControllers,
    S.Addons,
    S.MachineOperator,
)


class Variant(StrEnum):
    """Which package a part of the plane is rendered from."""

    Lower = "Lower"
    Emulating = "Emulating"
    """The upper package, behaving as the lower minor."""
    Upper = "Upper"


class Part(StrEnum):
    """What moves together."""

    Apiserver = "Apiserver"
    """The API servers with all that they stand on: etcd, Services, isolation, the tunnel."""
    Controllers = "Controllers"
    Addons = "Addons"
    """What is inside the business cluster."""
    MachineOperator = "MachineOperator"


PART_OF: Final[Mapping[str, Part]] = {
    "controller-manager": Part.Controllers,
    "scheduler": Part.Controllers,
    "machine-operator": Part.MachineOperator,
}
"""Component -> its part; every other component goes with the API servers."""
MAIN_COMPONENTS: Final[Mapping[Part, tuple[str, ...]]] = {
    Part.Apiserver: ("apiserver",),
    Part.Controllers: ("controller-manager", "scheduler"),
    Part.Addons: (),
    Part.MachineOperator: ("machine-operator",),
}
_FROM: Final[Mapping[Part, tuple[HopStage, HopStage]]] = {
    Part.Apiserver: (S.Apiserver, S.LiftApiserver),
    Part.Controllers: (S.Controllers, S.LiftControllers),
    Part.Addons: (S.Addons, S.Addons),
    Part.MachineOperator: (S.MachineOperator, S.MachineOperator),
}
"""Part -> the stage from which on it is of the upper package, and the one from which on it emulates nothing."""


def part_of(component: str) -> Part:
    """Which part a component moves with."""
    return PART_OF.get(component, Part.Apiserver)


def stages_of(hop: Hop) -> tuple[HopStage, ...]:
    """Its stages from the lower end to the upper one."""
    return ACROSS_MINORS if hop.emulated else WITHIN_A_MINOR


def variant_of(hop: Hop | None, part: Part) -> Variant:
    """What a part of the plane is at this stage of the hop."""
    if hop is None:
        return Variant.Upper
    place = ACROSS_MINORS.index(hop.stage)
    upper, lifted = (ACROSS_MINORS.index(stage) for stage in _FROM[part])
    if place < upper:
        return Variant.Lower
    return Variant.Emulating if hop.emulated and place < lifted else Variant.Upper


def new_hop(before: Package, after: Package, *, now: str) -> Hop:
    """The hop that brings a plane from one package to another. A patch back, or a minor back, starts at the upper end."""
    down = after.kubernetes < before.kubernetes
    lower, upper = (after, before) if down else (before, after)
    return Hop(
        lower=lower.name,
        upper=upper.name,
        emulated=lower.minor_words if lower.minor != upper.minor else "",
        direction=Direction.Down if down else Direction.Up,
        stage=HopStage.MachineOperator if down else HopStage.Prepare,
        started_at=now,
        stage_since=now,
    )


def following(hop: Hop) -> HopStage | None:
    """The next stage in its direction; None at its end."""
    stages = stages_of(hop)
    place = stages.index(hop.stage) + (1 if hop.direction is Direction.Up else -1)
    return stages[place] if 0 <= place < len(stages) else None


def at_origin(release: ClusterReleaseSpec, hop: Hop) -> bool:
    """Whether nothing has moved yet: it is about to leave the end that the plane was at."""
    if hop.direction is Direction.Up:
        return hop.stage is HopStage.Prepare and release.plane_package == hop.lower
    return hop.stage is HopStage.MachineOperator and release.plane_package == hop.upper


def never_completed(release: ClusterReleaseSpec, hop: Hop) -> bool:
    """Whether the plane has not been at the upper end since the hop began, so that nothing below it followed there."""
    return release.plane_package == hop.lower


def entered(hop: Hop, stage: HopStage, *, now: str) -> Hop:
    """The same hop, at another stage."""
    return hop.model_copy(update={"stage": stage, "stage_since": now})


def turned(release: ClusterReleaseSpec, hop: Hop, *, now: str) -> Hop:
    """The hop in the other direction, one stage on: the stage that may be stuck is left at once. At the end it came from it stays."""
    other = Direction.Down if hop.direction is Direction.Up else Direction.Up
    round_turned = hop.model_copy(update={"direction": other, "stage_since": now})
    stage = None if at_origin(release, round_turned) else following(round_turned)
    return entered(round_turned, stage, now=now) if stage else round_turned


def wanted_direction(hop: Hop, lower: Package, upper: Package, target: Package) -> Direction:
    """Which end of the hop lies towards the target; what lies beyond is the next hop's affair."""
    if target.name in (hop.lower, hop.upper):
        return Direction.Up if target.name == hop.upper else Direction.Down
    down = target.kubernetes <= lower.kubernetes and target.kubernetes < upper.kubernetes
    return Direction.Down if down else Direction.Up


def emulates(hop: Hop) -> bool:
    """Whether the API servers emulate the lower minor at this stage, or are of it."""
    return bool(hop.emulated) and ACROSS_MINORS.index(hop.stage) < ACROSS_MINORS.index(HopStage.LiftApiserver)


def purpose_of(release: ClusterReleaseSpec) -> Purpose:
    """What leave is asked for: a way back is not held up by an open breaker, and has a reserve of its own.

    Back is what goes down, and what a rollout takes back or a person undoes, also between packages of one version, where no way is down.
    """
    if release.hop is None:
        return Purpose.Forward
    return Purpose.Rollback if release.hop.direction is Direction.Down or release.current.by is AuthorisedBy.Undo else Purpose.Forward
