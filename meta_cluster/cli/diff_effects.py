"""What committing one object would do, in sentences: fields that change, objects of a plane, effects on machines, and who has to allow it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from meta_cluster.cli.diff_plane import Templates, Wish, plane_changes, summed
from operators.api.cluster import ChangePolicy, Cluster
from operators.api.cluster_release import AuthorisedBy, ClusterRelease, ClusterReleaseSpec
from operators.api.packages import ClusterPackageVersion
from operators.api.pools import MachinePool
from operators.domain.machine.wish import pool_problem, wished_packages
from operators.domain.plane import node_ports
from operators.domain.rollout.forecast import MEANINGS, Catalogue, forecast, pool_forecast
from operators.errors import ErrorCode, KokError
from operators.ports.kube import Manifest

UNSET = "(unset)"
NEWEST = "9999-12-31T23:59:59Z"
"""Of a pool that is not there yet: every other one is older."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One object that would change. `refused`: why it would not be taken, or not be followed."""

    kind: str
    name: str
    """namespace/name, or name."""
    what: str
    """created or changed."""
    fields: tuple[str, ...] = ()
    effects: tuple[str, ...] = ()
    objects: tuple[str, ...] = ()
    refused: str = ""

    def data(self) -> dict[str, Any]:
        """For a program."""
        names = ("kind", "name", "what", "fields", "effects", "objects", "refused")
        found = {name: getattr(self, name) for name in names}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in found.items() if value}


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What else is there: releases and pools by cluster (namespace/name), package versions (those of the folder too), templates by revision."""

    releases: Mapping[str, ClusterRelease]
    pools: Mapping[str, Sequence[MachinePool]]
    catalogue: Catalogue
    templates: Callable[[str], Templates]
    wishes: Mapping[str, Cluster] = field(default_factory=dict)
    """Clusters of the folder."""
    services: Sequence[Manifest] = ()
    """Of the meta cluster: one of them may have the node port that a Cluster wishes."""


def changed_fields(before: Any, after: Any, path: str = "") -> Iterator[str]:
    """`spec.masters.replicas: 1 -> 3`, one line per leaf; lists as a whole."""
    if isinstance(before, dict) or isinstance(after, dict):
        old, new = before if isinstance(before, dict) else {}, after if isinstance(after, dict) else {}
        for key in dict.fromkeys((*old, *new)):
            yield from changed_fields(old.get(key), new.get(key), f"{path}.{key}" if path else str(key))
    elif before != after:
        yield f"{path}: {_short(before)} -> {_short(after)}"


def _short(value: Any) -> str:
    text = UNSET if value is None else str(value)
    return text if len(text) <= 80 else f"{text[:79]}…"


def visible(manifest: Manifest) -> Manifest:
    """The part of an object that people write."""
    metadata = manifest["metadata"]
    kept = {key: metadata[key] for key in ("labels", "annotations") if metadata.get(key)}
    return {**({"metadata": kept} if kept else {}), "spec": manifest.get("spec") or {}}


def place_of(manifest: Manifest) -> str:
    """namespace/name, or the name alone."""
    namespace = manifest["metadata"].get("namespace")
    return f"{namespace}/{manifest['metadata']['name']}" if namespace else str(manifest["metadata"]["name"])


def difference_of(live: Manifest | None, wished: Manifest, around: Surroundings) -> Difference | None:
    """What this object changes; None when nothing. Labels alone can change what selectors choose, so they count."""
    fields = tuple(changed_fields(visible(live) if live else {}, visible(wished)))
    if live is not None and not fields:
        return None
    kind, place = wished["kind"], place_of(wished)
    made = Difference(kind, place, "changed" if live else "created", fields if live else ())
    try:
        if kind == "Cluster":
            return _of_cluster(made, Cluster.parse(live) if live else None, Cluster.parse(wished), around)
        if kind == "MachinePool":
            return _of_pool(made, MachinePool.parse(live) if live else None, MachinePool.parse(wished), around)
    except KokError as error:
        return Difference(kind, place, made.what, made.fields, refused=f"{error.message} ({error.code})")
    return made


def _of_cluster(made: Difference, live: Cluster | None, wished: Cluster, around: Surroundings) -> Difference:
    found = around.releases.get(made.name)
    release = found.spec if found else None
    if taken := node_ports.taken_of_wish(wished, around.services):
        return replace(made, refused=f"{node_ports.words(taken)} ({ErrorCode.PortTaken})")
    effects, goal, refused = _version(live, wished, release, made.name, around)
    start = release.plane_package if release else wished.spec.package_version
    before = _wish(live, start, around) if live else None
    after = _wish(wished, goal, around)
    if after is None:
        words = f"spec.packageVersion: ClusterPackageVersion {goal} does not exist"
        return Difference(made.kind, made.name, made.what, made.fields, tuple(effects), refused=refused or words)
    objects = tuple(summed(plane_changes(before, after)))
    if wished.spec.paused and objects:
        effects = [*effects, "it is paused: nothing of this is done until spec.paused is false"]
    return Difference(made.kind, made.name, made.what, made.fields, tuple(effects), objects, refused)


def _wish(cluster: Cluster | None, package: str, around: Surroundings) -> Wish | None:
    found: ClusterPackageVersion | None = around.catalogue.planes.get(package)
    return Wish(cluster, found, around.templates(found.spec.plane_revision)) if cluster and found else None


def _version(
    live: Cluster | None, wished: Cluster, release: ClusterReleaseSpec | None, place: str, around: Surroundings
) -> tuple[list[str], str, str]:
    """Sentences on the change of version, the version that the plane would be rendered from, and why it is refused."""
    goal = wished.spec.package_version
    if live is None or release is None:
        return [f"a new plane at {goal} in namespace {wished.metadata.namespace}"], goal, ""
    current = release.current
    if goal == current.package_version:
        return [], goal, ""
    if current.by is not AuthorisedBy.Spec and current.wish == goal:
        words = f"no new wish: rollout {current.name} went past it to {current.package_version}; commit that"
        return [words], release.plane_package, ""
    if wished.spec.change_policy is ChangePolicy.RolloutOnly:
        words = f"{goal} is not authorised by this commit: changePolicy is RolloutOnly, so a FleetRollout has to cover it (kok upgrade --to {goal})"
        return [words], release.plane_package, ""
    seen = forecast(release.plane_package, goal, around.pools.get(place, ()), around.catalogue)
    if seen.refused:
        return [], release.plane_package, seen.refused
    needs = ", ".join(f"{operation} x{count}" for operation, count in sorted(seen.needs.items()))
    return [seen.words, *([f"needs leave: {needs}"] if needs else [])], goal, ""


def _of_pool(made: Difference, live: MachinePool | None, wished: MachinePool, around: Surroundings) -> Difference:
    place = f"{wished.metadata.namespace}/{wished.spec.cluster_name}"
    effects = list(_hosts(live, wished))
    found = around.releases.get(place)
    future = around.wishes.get(place)
    start = found.spec.machines_package if found else future.spec.package_version if future else ""
    package = around.catalogue.planes.get(start)
    wrong = _pool_problems(live, wished, package, around)
    if package and live and wished.spec.hosts:
        seen = pool_forecast(live, wished, (package, package), around.catalogue)
        stay = len({each.name for each in live.spec.hosts} & {each.name for each in wished.spec.hosts})
        effects += [f"{stay} hosts: {change.component} {change} ({MEANINGS[change.effect]})" for change in seen.changes]
        effects += [f"waits: {seen.waits}"] if seen.waits and not any(seen.waits in each for each in wrong) else []
    for name in ("labels", "taints", "readiness_gates"):
        if live and getattr(live.spec, name) != getattr(wished.spec, name):
            effects.append(f"{name.replace('_', ' ')} of {len(wished.spec.hosts)} nodes change; no pod is touched")
    wrong += [] if found or future else [f"there is no Cluster {place}"]
    return Difference(made.kind, made.name, made.what, made.fields, tuple(effects), refused="; ".join(wrong))


def _pool_problems(live: MachinePool | None, wished: MachinePool, package: ClusterPackageVersion | None, around: Surroundings) -> list[str]:
    """What its Machine-Operator would not follow: a host that another pool has, a package that is not there."""
    place = f"{wished.metadata.namespace}/{wished.spec.cluster_name}"
    age = live.metadata.creation_timestamp if live else NEWEST
    aged = wished.model_copy(update={"metadata": wished.metadata.model_copy(update={"creation_timestamp": age})})
    others = [each for each in around.pools.get(place, ()) if each.metadata.name != wished.metadata.name]
    future = around.wishes.get(place)
    found = [pool_problem(aged, others, future.spec.network if future else None)]
    try:
        wished_packages(wished, package.spec.machine_packages if package else (), around.catalogue.machines)
    except KokError as error:
        found.append(error)
    return [f"{each.message} ({each.code})" for each in found if each]


def _hosts(live: MachinePool | None, wished: MachinePool) -> Iterator[str]:
    old = {each.name: each for each in (live.spec.hosts if live else ())}
    new = {each.name: each for each in wished.spec.hosts}
    for name in new.keys() - old.keys():
        yield f"+ host {name} ({new[name].address}): becomes a node"
    for name in old.keys() - new.keys():
        yield f"- host {name}: is drained, cleaned and let go"
    for name in new.keys() & old.keys():
        if new[name] != old[name]:
            yield f"~ host {name}: how it is reached or placed changes"


def difference_text(found: Difference) -> str:
    """As it is printed."""
    lines = [f"{found.kind} {found.name}   {found.what}", *(f"  {each}" for each in found.fields)]
    lines += [f"  effect   {each}" for each in found.effects]
    lines += [f"  objects  {each}" for each in found.objects]
    lines += [f"  refused  {found.refused}"] if found.refused else []
    return "\n".join(lines)
