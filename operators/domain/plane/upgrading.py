"""Walks a hop, rung by rung: begin, prepare, move on when the plane is whole, soak, turn round, end. Pure; rungs of the plane's ladder.

What the masters look like at a stage is rendered from the stage (`hops.variant_of`), and the other rungs put it in place; here it is only
decided when the next stage may be entered. Going up needs a plane that is whole; going down must also help one that is sick, so it asks only
for what keeps data and order safe.
"""

from __future__ import annotations

from operators.api.base import LABEL_COMPONENT
from operators.api.cluster_release import ClusterRelease, ClusterReleaseSpec, Direction, Hop, HopStage
from operators.domain.plane import hops
from operators.domain.plane.desired_preparation import PREPARING
from operators.domain.plane.drift import ObjectId, difference
from operators.domain.plane.inputs import Manifest
from operators.domain.plane.paths import Path, Refused, too_new, words_of
from operators.domain.plane.release import as_step, path_to, unserved_by
from operators.domain.plane.release_steps import BeginHop, EndHop, MoveHop, TurnHop
from operators.domain.plane.soak import soak_left, words_of_left
from operators.domain.plane.steps import ApplyObjects, DeleteObjects, Step, Wait
from operators.domain.plane.upgrade_view import UpgradeFacts
from operators.domain.plane.view import Plan, PlaneView, Unknown
from operators.domain.risk.identity import stamp

STAGE = "Hop"
LONGEST_LOOK = 60.0


def turn(view: PlaneView) -> Step | None:
    """The authorised version lies the other way now: turn round at once, wherever the hop is."""
    release, hop, facts = _under_way(view)
    if release is None or hop is None or facts is None:
        return None
    ends = facts.package(hop.lower), facts.package(hop.upper), facts.package(release.current.package_version)
    if any(end is None for end in ends):
        return None
    lower, upper, target = (end for end in ends if end is not None)
    wanted = hops.wanted_direction(hop, lower, upper, target)
    if wanted is hop.direction or (wanted is Direction.Down and _unserved(view, hop, facts)):
        return None
    turned = hops.turned(release, hop, now=stamp(view.now))
    way = f"back to {hop.lower}" if wanted is Direction.Down else f"on to {hop.upper} again"
    return TurnHop(_with(release, turned), f"the hop turns round at stage {hop.stage}: {way}, because {release.current.reason}")


def going_down(view: PlaneView) -> Step | None:
    """Begin a way back and walk it as soon as what was lowered is in place; a plane that serves nobody takes the short way."""
    release, hop, facts = _under_way(view)
    if release is None or facts is None:
        return None
    if hop is None:
        return _begin(view, release, facts, only=Direction.Down)
    if hop.direction is Direction.Up:
        return None
    if hops.at_origin(release, hop):
        if step := _prepare(view, facts):
            return step
        if facts.unprepared:
            return None
    if _why_not_lower(view, release, hop, facts) or hops.following(hop) is None:
        return None
    if short := _short_way(view, hop):
        return _move(view, release, hop, short)
    if not hops.at_origin(release, hop) and not _lowered(view, hop):
        return None
    following = hops.following(hop)
    return _move(view, release, hop, following) if following else None


def prepared_no_more(view: PlaneView) -> Step | None:
    """What prepared a hop goes when it has left: the volume with the snapshots stays."""
    release, hop, _ = _under_way(view)
    if release is not None and hop is not None and hops.at_origin(release, hop):
        return None
    left = [each for each in view.objects.values() if _component(each) in PREPARING and each["kind"] != "PersistentVolumeClaim"]
    fresh = tuple(each for each in left if not each["metadata"].get("deletionTimestamp"))
    return DeleteObjects(fresh, "what prepared the hop is removed; its snapshot stays") if fresh else None


def hop(view: PlaneView) -> Step | None:
    """The plane is whole at this stage: on to the next one, or say what is waited for."""
    release, under_way, facts = _under_way(view)
    if release is None or facts is None:
        return None
    if under_way is None:
        return _begin(view, release, facts)
    if under_way.direction is Direction.Down:
        return _last_of_way_down(view, release, under_way, facts)
    if refused := _unserved(view, under_way, facts):
        return as_step(refused)
    if hops.at_origin(release, under_way):
        if step := _prepare(view, facts):
            return step
        if facts.unprepared:
            return Wait(STAGE, f"{_words(under_way)}: {facts.unprepared}")
    if (left := soak_left(release, view.cluster.spec, view.now)).total_seconds() > 0:
        words = (
            f"{_words(under_way)}: soaks for {words_of_left(left)} more, emulating {under_way.emulated}; going back is cheapest until then"
        )
        return Wait(STAGE, words, after=min(left.total_seconds(), LONGEST_LOOK), is_patient=True)
    following = hops.following(under_way)
    return _move(view, release, under_way, following) if following else _end(release, under_way, under_way.upper)


def _unserved(view: PlaneView, under_way: Hop, facts: UpgradeFacts) -> Refused | Wait | None:
    """Why the plane may not be put to where an older minor is emulated; below that nothing is stored which it could not serve."""
    assert isinstance(view.release, ClusterRelease), "a hop stands in a release"
    if not under_way.emulated or hops.emulates(under_way):
        return None
    return unserved_by(view, facts, view.release.spec.current.package_version)


def _under_way(view: PlaneView) -> tuple[ClusterReleaseSpec | None, Hop | None, UpgradeFacts | None]:
    if not isinstance(view.release, ClusterRelease):
        return None, None, None
    return view.release.spec, view.release.spec.hop, view.upgrade


def _begin(view: PlaneView, release: ClusterReleaseSpec, facts: UpgradeFacts, *, only: Direction | None = None) -> Step | None:
    target = release.current.package_version
    if release.plane_package == target:
        return None
    path = path_to(view, release, target)
    if not isinstance(path, Path):
        return as_step(path) if only is None else None
    before, after = facts.package(release.plane_package), facts.package(path.packages[0])
    if before is None or after is None:
        return None
    begun = hops.new_hop(before, after, now=stamp(view.now))
    if only not in (None, begun.direction):
        return None
    more = f", then {' and '.join(path.packages[1:])}" if len(path.packages) > 1 else ""
    return BeginHop(
        _with(release, begun),
        f"{before.name} to {after.name}{more}: first its images are pulled where they are missing{_snapshot_words(begun)}",
    )


def _snapshot_words(begun: Hop) -> str:
    return " and a snapshot of etcd is taken" if begun.emulated else ""


def _prepare(view: PlaneView, facts: UpgradeFacts) -> ApplyObjects | None:
    """Put what is missing of it in place. A Job is left as it is once it is there: its template never changes."""
    wrong = [each for each in facts.preparation if _differs(view, each)]
    if not wrong:
        return None
    return ApplyObjects(STAGE, tuple(wrong), f"{ObjectId.of(wrong[0])} is put in place, to prepare the hop")


def _differs(view: PlaneView, manifest: Manifest) -> bool:
    live = view.objects.get(ObjectId.of(manifest))
    return live is None or (manifest["kind"] == "DaemonSet" and bool(difference(manifest, live)))


def _move(view: PlaneView, release: ClusterReleaseSpec, under_way: Hop, stage: HopStage) -> MoveHop:
    moved = hops.entered(under_way, stage, now=stamp(view.now))
    spec = _with(release, moved)
    return MoveHop(spec, f"{_words(moved)}", purpose=hops.purpose_of(spec))


def _end(release: ClusterReleaseSpec, under_way: Hop, reached: str) -> EndHop:
    spec = release.model_copy(update={"hop": None, "reached": reached})
    return EndHop(spec, f"the whole plane is at {reached}")


def _with(release: ClusterReleaseSpec, under_way: Hop) -> ClusterReleaseSpec:
    return release.model_copy(update={"hop": under_way, "reached": release.plane_package})


def _words(under_way: Hop) -> str:
    up = under_way.direction is Direction.Up
    ends = (under_way.lower, under_way.upper) if up else (under_way.upper, under_way.lower)
    return f"{ends[0]} to {ends[1]}, stage {under_way.stage}"


def _last_of_way_down(view: PlaneView, release: ClusterReleaseSpec, under_way: Hop, facts: UpgradeFacts) -> Step:
    if hops.following(under_way) is None:
        return _end(release, under_way, under_way.lower)
    if machines := _why_not_lower(view, release, under_way, facts):
        return Wait(STAGE, f"{_words(under_way)}: {machines}", after=5.0, is_patient=True)
    return Wait(STAGE, f"{_words(under_way)}: {facts.unprepared or 'what was lowered is not whole yet'}", after=5.0)


def _why_not_lower(view: PlaneView, release: ClusterReleaseSpec, under_way: Hop, facts: UpgradeFacts) -> str:
    """No API server may be older than a kubelet, nor than what is stored. Kubelets follow the lower package already, except where a pool says otherwise."""
    if not under_way.emulated or (hops.never_completed(release, under_way) and hops.emulates(under_way) and facts.kubelets_unknown):
        return ""
    if refused := _unserved(view, under_way, facts):
        return refused.reason
    if facts.kubelets_unknown:
        return f"whether a kubelet is newer than {under_way.emulated} is not known: {facts.kubelets_unknown}"
    lower = facts.package(under_way.lower)
    found = too_new(facts.kubelets, lower.minor) if lower else None
    if found is None:
        return ""
    return (
        f"node {found.node} runs kubelet {words_of(found.version)}, and no API server may be older than a kubelet: "
        "waits until its pool has lowered it (a pool with explicit packages has to be edited)"
    )


def _short_way(view: PlaneView, under_way: Hop) -> HopStage | None:
    """Without one API server that serves, order among the others helps nobody: to the nearest stage that keeps the data readable."""
    apiserver = view.workloads.get("apiserver")
    if apiserver is None or apiserver.ready:
        return None
    target = HopStage.Prepare if hops.emulates(under_way) or not under_way.emulated else HopStage.Soak
    stages = hops.stages_of(under_way)
    return target if stages.index(target) < stages.index(under_way.stage) else None


def _lowered(view: PlaneView, under_way: Hop) -> bool:
    """Whether every part that this stage has lowered is as it should be and up; the Machine-Operator holds no way back up."""
    stages = hops.stages_of(under_way)
    above = hops.entered(under_way, stages[stages.index(under_way.stage) + 1], now=under_way.stage_since)
    parts = [part for part in hops.Part if hops.variant_of(under_way, part) is not hops.variant_of(above, part)]
    return all(_part_is_up(view, part) for part in parts)


def _part_is_up(view: PlaneView, part: hops.Part) -> bool:
    if not isinstance(view.plan, Plan):
        return False
    if part is hops.Part.Addons:
        return not isinstance(view.business, Unknown) and not view.business.missing
    if part is hops.Part.MachineOperator:
        return bool(view.ssh_secret) or not _faulty(view, part)
    names = [name for name in view.plan.components if hops.part_of(name) is part]
    main = hops.MAIN_COMPONENTS[part]
    return not _faulty(view, part) and bool(names) and all(name in view.workloads and view.workloads[name].is_up for name in main)


def _faulty(view: PlaneView, part: hops.Part) -> bool:
    plan = view.plan
    assert isinstance(plan, Plan)
    manifests = [each for name, found in plan.components.items() if hops.part_of(name) is part for each in found]
    waiting = any(hops.part_of(name) is part for name in plan.waiting)
    return waiting or any(_missing_or_differing(view, each) for each in manifests)


def _missing_or_differing(view: PlaneView, manifest: Manifest) -> bool:
    live = view.objects.get(ObjectId.of(manifest))
    return live is None or bool(difference(manifest, live))


def _component(manifest: Manifest) -> str:
    return str((manifest["metadata"].get("labels") or {}).get(LABEL_COMPONENT, ""))
