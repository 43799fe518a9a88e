"""When a stage of a hop takes too long: what did not become ready, in how long, and what to do. Pure; the last word of the ladder.

Nothing is given up by it: the plane stays on what serves, is mended as before, goes on by itself once it can, and turns round as ever.
"""

from __future__ import annotations

from datetime import timedelta

from operators.api.cluster_release import AuthorisedBy, ClusterRelease, ClusterReleaseSpec, Direction, Hop, HopStage
from operators.domain.plane.steps import Stall, Step, Wait
from operators.domain.plane.view import PlaneView
from operators.domain.risk.identity import at
from operators.errors import ErrorCode


def in_time(view: PlaneView, step: Step) -> Step:
    """The step; a wait in a hop whose stage is past its deadline becomes a stall with the same words in it."""
    if not isinstance(step, Wait) or step.is_patient or not isinstance(view.release, ClusterRelease):
        return step
    release, hop = view.release.spec, view.release.spec.hop
    if hop is None or view.now < at(hop.stage_since) + _allowed(view, hop):
        return step
    deadline = view.cluster.spec.upgrade.stage_deadline_seconds
    up = hop.direction is Direction.Up
    way, other = (f"{hop.lower} to {hop.upper}", hop.lower) if up else (f"{hop.upper} back to {hop.lower}", hop.upper)
    words = f"{way}: stage {hop.stage} was not done within {deadline} s (spec.upgrade.stageDeadlineSeconds): {step.reason}"
    return Stall(ErrorCode.UpgradeOverdue, f"{words}; {_remedy(release, other)}", after=step.after)


def _allowed(view: PlaneView, hop: Hop) -> timedelta:
    """A soak ends first."""
    upgrade = view.cluster.spec.upgrade
    soak = upgrade.soak_seconds if hop.stage is HopStage.Soak else 0
    return timedelta(seconds=upgrade.stage_deadline_seconds + soak)


def _remedy(release: ClusterReleaseSpec, other: str) -> str:
    """The plane is kept on what serves; a person mends or turns round, each by the way that the change came."""
    turn = f"set spec.packageVersion to {other} to turn round"
    if release.current.by is not AuthorisedBy.Spec:
        turn = f"turn round by FleetRollout {release.current.name} (spec.order: Undo)"
    return f"what serves stays as it is; mend this and it goes on by itself, or {turn}"
