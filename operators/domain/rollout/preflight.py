"""Whether a rollout may begin at all: windows, metrics provider, package, members, and the way of every member's plane. Pure.

Everything that would fail later for a reason that is known now is refused before anything starts. Called by cluster_operator.rollout.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from operators.api.cluster import Cluster
from operators.api.cluster_release import ClusterRelease
from operators.api.pools import MachinePool
from operators.api.rollout import FleetRolloutSpec
from operators.domain.plane.paths import Path
from operators.domain.plane.release import path_to, through_bad
from operators.domain.plane.upgrade_view import UpgradeFacts
from operators.domain.plane.view import PlaneView
from operators.domain.rollout.bad import BadMark
from operators.domain.rollout.forecast import Catalogue, kubelets_of
from operators.domain.rollout.plan import PlannedMember, Refused
from operators.domain.rollout.windows import check
from operators.errors import ErrorCode, KokError

NAMED = 3
"""Refused members that are named in a sentence."""
Fleet = Mapping[str, tuple[Cluster, ClusterRelease | None]]
"""Cluster (namespace/name) -> it and its release."""


def refused_spec(spec: FleetRolloutSpec, catalogue: Catalogue, *, has_metrics: bool) -> Refused | None:
    """What is wrong with the wish itself."""
    try:
        for window in spec.windows:
            check(window)
    except KokError as error:
        return Refused(error.code, f"{error.message}; {error.hint}")
    to = spec.change.to
    if spec.change.of_machines and to not in catalogue.machines:
        return Refused(ErrorCode.PackageMissing, f"spec.change.machinePackageVersion: MachinePackageVersion {to} does not exist")
    if not spec.change.of_machines and to not in catalogue.planes:
        return Refused(ErrorCode.PackageMissing, f"spec.change.clusterPackageVersion: ClusterPackageVersion {to} does not exist")
    if spec.analysis.metrics and not has_metrics:
        words = "spec.analysis.metrics: the operator knows no Prometheus; give it one (KOK_PROMETHEUS_URL), or judge by the probe alone"
        return Refused(ErrorCode.InvalidObject, words)
    return None


@dataclass(frozen=True, slots=True)
class Ground:
    """What the way of a plane depends on. `pools`: cluster -> its pools; `bad`: versions that no way leads through."""

    fleet: Fleet
    pools: Mapping[str, Sequence[MachinePool]]
    catalogue: Catalogue
    bad: Mapping[str, BadMark] = field(default_factory=dict)


def refused_ways(members: Iterable[PlannedMember], to: str, ground: Ground, now: datetime) -> Mapping[str, str]:
    """Member -> why its plane cannot go there, with the nearest package that it can reach; absent where it can. By the plane's own rules."""
    planes, found = ground.catalogue.planes, {}
    for member in members:
        cluster, release = ground.fleet.get(member.key, (None, None))
        if cluster is None or release is None:
            continue
        before = planes.get(release.spec.plane_package)
        kubelets = kubelets_of(ground.pools.get(member.key, ()), before, ground.catalogue) if before else ()
        path = path_to(PlaneView(now, cluster, {}, upgrade=UpgradeFacts(planes, kubelets, bad=ground.bad)), release.spec, to)
        if isinstance(path, Path):
            path = through_bad(path, ground.bad) or path
        if path is not None and not isinstance(path, Path):
            found[member.key] = path.reason.removeprefix("spec.packageVersion: ")
    return found


def refused_members(ways: Mapping[str, str], members: int, what: str = "clusters") -> Refused | None:
    """One refused member refuses the rollout: a person has to take it out of the selector, or give it a way."""
    if not ways:
        return None
    words = "; ".join(f"{key}: {why}" for key, why in list(ways.items())[:NAMED])
    more = f"; and {len(ways) - NAMED} more" if len(ways) > NAMED else ""
    return Refused(ErrorCode.UpgradeRefused, f"nothing is started, for {len(ways)} of {members} {what} cannot go there: {words}{more}")
