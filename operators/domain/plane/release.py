"""Whether a new wish is authorised: at once with changePolicy Direct and an allowed path, never here with RolloutOnly. Pure; rungs of the ladder.

The wish is `spec.packageVersion`, what is authorised stands in the ClusterRelease. A refused wish changes nothing: the plane is kept where it is.
What a rollout found bad is no wish to follow, neither as the goal nor on the way; a plane that is there already is left alone.
"""

from __future__ import annotations

from collections.abc import Mapping

from operators.api.cluster import ChangePolicy
from operators.api.cluster_release import Authorisation, AuthorisedBy, ClusterRelease, ClusterReleaseSpec, Hop
from operators.domain.plane.hops import wanted_direction
from operators.domain.plane.inputs import Manifest
from operators.domain.plane.paths import Package, Path, Refused, plan_path
from operators.domain.plane.release_steps import AuthoriseVersion
from operators.domain.plane.soak import why_not_emulated
from operators.domain.plane.steps import Stall, Step, Wait
from operators.domain.plane.upgrade_view import UpgradeFacts
from operators.domain.plane.view import PlaneView
from operators.domain.risk.identity import stamp
from operators.domain.rollout.bad import BadMark
from operators.errors import ErrorCode

KEPT = 20
"""Authorisations that are remembered."""


def authorised_wish(view: PlaneView) -> Step | None:
    """Authorise an edited wish, also in the middle of a hop; what is refused is said at the end of the ladder."""
    release = differing_release(view)
    if release is None or view.cluster.spec.change_policy is not ChangePolicy.Direct:
        return None
    path = wished_path(view, release)
    if not isinstance(path, Path):
        return None
    wish, before = view.cluster.spec.package_version, release.current.package_version
    way = f", by way of {' and '.join(path.packages[:-1])}" if len(path.packages) > 1 else ""
    why = "the spec asks for it and changePolicy is Direct"
    current = Authorisation(package_version=wish, from_version=before, by=AuthorisedBy.Spec, at=stamp(view.now), reason=f"{why}{way}")
    spec = release.model_copy(
        update={"current": current, "history": (release.current, *release.history)[:KEPT], "reached": release.plane_package}
    )
    return AuthoriseVersion(spec, f"{before} to {wish}{way} is authorised: {why}")


def refused_wish(view: PlaneView) -> Step | None:
    """The wish cannot be followed: say why and what can be wished instead. The plane as it is was looked after before."""
    release = differing_release(view)
    if release is None or view.cluster.spec.change_policy is not ChangePolicy.Direct:
        return None
    return as_step(wished_path(view, release))


def refused_birth(view: PlaneView) -> Step | None:
    """A plane that never lived does not begin at a version that a rollout found bad."""
    if view.release is not None or view.upgrade is None or view.cluster.deleting:
        return None
    return as_step(_found_bad(view.upgrade, view.cluster.spec.package_version))


def wished_path(view: PlaneView, release: ClusterReleaseSpec) -> Path | Refused | Wait | None:
    """The way to a wish that nobody authorised yet: as `path_to`, but neither to nor through what a rollout found bad."""
    facts, wish = view.upgrade, view.cluster.spec.package_version
    if facts is None:
        return None
    if refused := _found_bad(facts, wish):
        return refused
    path = path_to(view, release, wish)
    return (through_bad(path, facts.bad) or path) if isinstance(path, Path) else path


def _found_bad(facts: UpgradeFacts, wish: str) -> Refused | Wait | None:
    if facts.bad_unknown:
        return Wait("Release", f"whether a rollout found {wish} bad is not known: {facts.bad_unknown}", after=5.0)
    mark = facts.bad.get(wish)
    return Refused(ErrorCode.VersionBad, f"spec.packageVersion: {mark.refusal()}") if mark else None


def through_bad(path: Path, bad: Mapping[str, BadMark]) -> Refused | None:
    """Why a way is not taken of which one version is marked."""
    goal = path.packages[-1] if path.packages else ""
    mark = next((bad[each] for each in path.packages if each in bad), None)
    if mark is None:
        return None
    way = "" if mark.version == goal else f"every way to {goal} leads through a version that was found bad: "
    return Refused(ErrorCode.VersionBad, f"spec.packageVersion: {way}{mark.refusal()}")


def as_step(path: Path | Refused | Wait | None) -> Stall | Wait | None:
    """What a path that is none is to the ladder."""
    if isinstance(path, Refused):
        return Stall(path.code, path.reason)
    return path if isinstance(path, Wait) else None


def differing_release(view: PlaneView) -> ClusterReleaseSpec | None:
    """The release, if the spec wishes another version than it authorises and enough is known to judge that."""
    if not isinstance(view.release, ClusterRelease) or view.upgrade is None:
        return None
    current, wish = view.release.spec.current, view.cluster.spec.package_version
    overruled = current.by is not AuthorisedBy.Spec and current.wish == wish  # a rollout went past this very wish; it is no new one
    return None if current.package_version == wish or overruled else view.release.spec


def path_to(view: PlaneView, release: ClusterReleaseSpec, goal: str) -> Path | Refused | Wait | None:
    """The chain of packages from where the plane is to that one; from the middle of a hop, from the end that lies towards it."""
    facts = view.upgrade
    if facts is None:
        return None
    target = facts.package(goal)
    if target is None:
        words = f"spec.packageVersion: ClusterPackageVersion {goal} does not exist; kubectl get clusterpackageversions.kok.dev lists those that do"
        return Refused(ErrorCode.PackageMissing, words)
    start = _start(release, release.hop, facts, target)
    if start is None:
        return Refused(
            ErrorCode.PackageMissing, f"ClusterPackageVersion {release.plane_package}, which this plane is at, does not exist any more"
        )
    if facts.kubelets_unknown and target.minor > start.minor:
        return Wait("Release", f"whether {goal} fits the nodes is not known: {facts.kubelets_unknown}", after=5.0)
    path = _planned(start, target, facts)
    if not isinstance(path, Path):
        return path
    return unserved_by(view, facts, goal) or _emulable(view, facts, start, path)


def _planned(start: Package, target: Package, facts: UpgradeFacts) -> Path | Refused:
    """Past what was found bad where there is such a way; what is authorised already, a way back above all, goes through it where there is none."""
    sound = [each for each in facts.known if each.name not in facts.bad]
    path = plan_path(start, target, sound, facts.kubelets)
    return path if isinstance(path, Path) else plan_path(start, target, facts.known, facts.kubelets)


def unserved_by(view: PlaneView, facts: UpgradeFacts, goal: str) -> Refused | Wait | None:
    """Why an older minor may not be gone back to: the list of what it could not serve, or that it cannot be made."""
    words = facts.unserved.get(goal)
    if words and view.cluster.spec.upgrade.confirm_unserved != goal:
        return Refused(
            ErrorCode.UpgradeRefused,
            f"spec.packageVersion: {goal} cannot serve what is stored: {words}; delete them, or set spec.upgrade.confirmUnserved to {goal}: "
            "they then lie in etcd unseen until a version that knows them serves again",
        )
    if why := facts.unserved_unknown.get(goal):
        return Wait("Release", f"whether {goal} can serve all that is stored is not known: {why}", after=5.0)
    return None


def _start(release: ClusterReleaseSpec, hop: Hop | None, facts: UpgradeFacts, target: Package) -> Package | None:
    if hop is None:
        return facts.package(release.plane_package)
    lower, upper = facts.package(hop.lower), facts.package(hop.upper)
    if lower is None or upper is None:
        return None
    return upper if wanted_direction(hop, lower, upper, target).value == "Up" else lower


def _emulable(view: PlaneView, facts: UpgradeFacts, start: Package, path: Path) -> Path | Refused:
    """A minor up is soaked under emulation, so its masters must be able to emulate."""
    minor = start.minor
    for name in path.packages:
        package = facts.packages[name]
        after = Package.of(package).minor
        if after > minor and (words := why_not_emulated(package, view.cluster)):
            return Refused(ErrorCode.UpgradeRefused, f"spec.packageVersion: {name} cannot be reached: {words}; remove it, then wish again")
        minor = after
    return path


def release_manifest(spec: ClusterReleaseSpec) -> Manifest:
    """The spec as it is written: an ended hop is said to be null, so that it goes."""
    dumped = spec.model_dump(mode="json", by_alias=True, exclude_none=True)
    return {**dumped, "hop": dumped.get("hop")}
