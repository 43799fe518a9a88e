"""What a Cluster shows of its release: the condition ReleaseMatchesWish, and the phase while a hop is under way. Pure; called by `status`."""

from __future__ import annotations

from operators.api.base import ConditionStatus
from operators.api.cluster import ChangePolicy
from operators.api.cluster_release import AuthorisedBy, ClusterRelease, Direction, Hop
from operators.api.risk import Purpose
from operators.domain.plane.hops import purpose_of
from operators.domain.plane.steps import Stall, Step, Wait
from operators.domain.plane.view import PlaneView

Verdict = tuple[ConditionStatus, str, str]


def hop_of(view: PlaneView) -> Hop | None:
    """The change that is under way."""
    return view.release.spec.hop if isinstance(view.release, ClusterRelease) else None


def hop_phase(view: PlaneView) -> str:
    """Upgrading or RollingBack; empty without a hop."""
    if not isinstance(view.release, ClusterRelease) or view.release.spec.hop is None:
        return ""
    return "RollingBack" if purpose_of(view.release.spec) is Purpose.Rollback else "Upgrading"


def release_verdict(view: PlaneView, step: Step) -> Verdict:
    """Whether what is authorised, and what the plane is at, is what the spec wishes; if not, why."""
    wish = view.cluster.spec.package_version
    if not isinstance(view.release, ClusterRelease):
        return ConditionStatus.UNKNOWN, "NotAuthorised", f"{wish} is not authorised yet"
    release, current = view.release.spec, view.release.spec.current
    if current.package_version != wish:
        return ConditionStatus.FALSE, *_not_followed(view, step, current.package_version)
    if hop := release.hop:
        return ConditionStatus.FALSE, hop_phase(view), f"{_ends(hop)}, stage {hop.stage}{_waiting(step)}"
    if release.plane_package != wish:
        return ConditionStatus.FALSE, "NotReached", f"{wish} is authorised, the plane is at {release.plane_package}{_waiting(step)}"
    return ConditionStatus.TRUE, "Same", f"{wish} is authorised: {current.reason}"


def _not_followed(view: PlaneView, step: Step, authorised: str) -> tuple[str, str]:
    wish = view.cluster.spec.package_version
    current = view.release.spec.current if isinstance(view.release, ClusterRelease) else None
    if current and current.by is not AuthorisedBy.Spec and current.wish == wish:
        went = "brought it to" if current.by is AuthorisedBy.Rollout else "took it back to"
        return (
            "RolloutAhead",
            f"rollout {current.name} {went} {authorised}, past the spec, which still wishes {wish}: commit spec.packageVersion {authorised}",
        )
    if view.cluster.spec.change_policy is ChangePolicy.RolloutOnly:
        missing = f"; no ClusterPackageVersion {wish} exists: commit it, or correct spec.packageVersion" if view.wish_missing else ""
        return (
            "RolloutNeeded",
            f"the spec wishes {wish}, authorised is {authorised}: changePolicy is RolloutOnly, so only a FleetRollout that covers this Cluster "
            f"authorises it{missing}",
        )
    if isinstance(step, Stall):
        return str(step.code), step.reason
    return "Differs", f"the spec wishes {wish}, authorised is {authorised}"


def _ends(hop: Hop) -> str:
    up = hop.direction is Direction.Up
    return f"{hop.lower} to {hop.upper}" if up else f"{hop.upper} back to {hop.lower}"


def _waiting(step: Step) -> str:
    return f": {step.reason}" if isinstance(step, (Wait, Stall)) else ""
