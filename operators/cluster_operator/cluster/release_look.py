"""Reads what a change of version needs: the catalogue, the nodes' kubelets, how far a hop is prepared; and plans a plane in the middle of a hop.

Reads only, and only while there is a change. Decides nothing; called by observe.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from operators.api.cluster import ChangePolicy
from operators.api.cluster_release import ClusterRelease, ClusterReleaseSpec, Direction, Hop
from operators.api.packages import ClusterPackageVersion
from operators.cluster_operator.cluster import kinds
from operators.cluster_operator.cluster.business import BusinessLook
from operators.cluster_operator.cluster.planning import Planner
from operators.cluster_operator.cluster.served_look import ServedLook
from operators.cluster_operator.cluster.world import Remembered, World
from operators.cluster_operator.rollout.journal import JournalBook
from operators.domain.plane import hops
from operators.domain.plane.desired_preparation import PREPARING, preparation, unprepared
from operators.domain.plane.drift import stamped
from operators.domain.plane.inputs import Manifest, PlaneInputs
from operators.domain.plane.paths import Kubelet, version_of
from operators.domain.plane.upgrade_view import UpgradeFacts
from operators.domain.plane.view import Plan, PlaneView, Unknown
from operators.domain.plane.workloads import component_of
from operators.domain.rollout.bad import BadMark, standing
from operators.errors import ErrorCode, KokError
from operators.ports.kube import Key, Kind

NODE = Kind("v1", "Node")
READ_SECONDS = 5.0
CATALOGUE_SECONDS = 5.0


class ReleaseLook:
    """Makes UpgradeFacts and the plans of hops."""

    def __init__(self, world: World, planner: Planner, business: BusinessLook) -> None:
        self._world, self._planner, self._business = world, planner, business
        self._served = ServedLook(world, business)
        self._catalogue: Remembered[Mapping[str, ClusterPackageVersion]] = Remembered(1, CATALOGUE_SECONDS)
        self._journals = JournalBook(world.meta, world.own_namespace)
        self._marks: Remembered[tuple[BadMark, ...]] = Remembered(1, CATALOGUE_SECONDS)

    async def facts(self, key: Key, view: PlaneView) -> PlaneView:
        """The view with what a change of version needs; unchanged while there is none. A plane that never lived may begin at no bad version."""
        if view.release is None and not view.workloads:
            return replace(view, upgrade=await self._marked(UpgradeFacts(), live=True))
        if not isinstance(view.release, ClusterRelease):
            return view
        if not _is_changing(view, view.release.spec):
            return await self._left_to_a_rollout(view, view.release.spec)
        try:
            packages = await self._packages(view.release.spec.current.package_version, view.cluster.spec.package_version)
        except KokError as error:
            return replace(view, release=Unknown(f"the catalogue cannot be read: {error.message}"))
        kubelets = await self._kubelets(key, view) if _needs_kubelets(view.release.spec.hop) else ()
        facts = await self._marked(UpgradeFacts(packages), live=_is_wished(view, view.release.spec))
        facts = replace(facts, kubelets_unknown=kubelets.reason) if isinstance(kubelets, Unknown) else replace(facts, kubelets=kubelets)
        return replace(view, upgrade=await self._served.with_unserved(key, view, view.release.spec, facts))

    async def _left_to_a_rollout(self, view: PlaneView, release: ClusterReleaseSpec) -> PlaneView:
        """The view with whether the wish can be followed at all; nobody is kept waiting by a catalogue that cannot be read."""
        wish = view.cluster.spec.package_version
        if wish == release.current.package_version:
            return view
        with suppress(KokError):
            return replace(view, wish_missing=wish not in await self._packages(wish))
        return view

    async def _marked(self, facts: UpgradeFacts, *, live: bool) -> UpgradeFacts:
        """The facts with what rollouts found bad; where a wish depends on it, as it is now."""
        try:
            known = None if live else self._marks.get("all")
            marks = known or self._marks.put("all", await self._journals.bad_marks())
            annotations = {name: each.metadata.annotations for name, each in (await self._packages()).items()}
        except KokError as error:
            return replace(facts, bad_unknown=error.message)
        return replace(facts, bad=standing(marks, annotations))

    async def _packages(self, *wanted: str) -> Mapping[str, ClusterPackageVersion]:
        """All of them as they were some seconds ago; read again for one that is wanted and was not there: it may have come together with its wish."""
        if (known := self._catalogue.get("all")) and known.keys() >= set(wanted):
            return known
        found: dict[str, ClusterPackageVersion] = {}
        for manifest in (await self._world.meta.list(kinds.PACKAGE, deadline=READ_SECONDS)).items:
            try:
                found[manifest["metadata"]["name"]] = ClusterPackageVersion.parse(manifest)
            except KokError:
                continue  # of a release that we do not understand; what names it says that it does not exist
        return self._catalogue.put("all", found)

    async def _kubelets(self, key: Key, view: PlaneView) -> tuple[Kubelet, ...] | Unknown:
        apiserver = view.workloads.get("apiserver")
        if apiserver is None or not apiserver.ready:
            return Unknown("no API server is ready, so its nodes cannot be read")
        try:
            nodes = await self._business.port(key, view.names).list(NODE, deadline=READ_SECONDS)
        except KokError as error:
            return Unknown(f"its nodes cannot be read: {error.message}")
        found = (
            (node["metadata"]["name"], (node.get("status") or {}).get("nodeInfo", {}).get("kubeletVersion", "")) for node in nodes.items
        )
        return tuple(Kubelet(name, version_of(version.removeprefix("v"))) for name, version in found if version)

    async def plan(self, inputs: PlaneInputs, view: PlaneView) -> tuple[Plan | KokError, str]:
        """What should exist at the stage that the hop is at; without a hop, what the package says."""
        under_way = _hop_of(view)
        if under_way is None or view.upgrade is None:
            return await self._planner.plan(inputs)
        ends = [view.upgrade.packages.get(name) for name in (under_way.lower, under_way.upper)]
        lower, upper = ends
        if lower is None or upper is None:
            name = under_way.lower if lower is None else under_way.upper
            return KokError(
                ErrorCode.PackageMissing, f"ClusterPackageVersion {name}, which a hop is under way to, does not exist any more"
            ), ""
        variants = {
            hops.Variant.Lower: replace(inputs, package=lower),
            hops.Variant.Emulating: replace(inputs, package=upper, emulated=under_way.emulated),
            hops.Variant.Upper: replace(inputs, package=upper),
        }
        parts = {part: hops.variant_of(under_way, part) for part in hops.Part}
        plans = {variant: await self._planner.plan(variants[variant]) for variant in sorted(set(parts.values()))}
        plan, digest = _mixed(parts, plans)
        other = hops.Variant.Upper if parts[hops.Part.Addons] is hops.Variant.Lower else hops.Variant.Lower
        return _with_beside(plan, await self._planner.plan(variants[other])), digest

    async def prepared(self, inputs: PlaneInputs, view: PlaneView, pods: Sequence[Manifest]) -> PlaneView:
        """The view with what the hop's preparation is and still waits for, while the hop is at the end it leaves."""
        under_way, facts = _hop_of(view), view.upgrade
        if under_way is None or facts is None or not isinstance(view.release, ClusterRelease):
            return view
        if not hops.at_origin(view.release.spec, under_way):
            return view
        destination = facts.packages.get(under_way.upper if under_way.direction is Direction.Up else under_way.lower)
        if destination is None:
            return view
        wanted = await asyncio.to_thread(self._rendered, inputs, under_way, destination, await self._meta_nodes())
        live = {each.kind: found for each, found in view.objects.items() if component_of(found) in PREPARING}
        mine = {kind: found for kind, found in live.items() if any(_is(found, each) for each in wanted)}
        return replace(view, upgrade=replace(facts, preparation=wanted, unprepared=unprepared(wanted, mine, pods)))

    async def _meta_nodes(self) -> Sequence[Manifest]:
        """With the images that they have; none if that cannot be read, for then all are pulled."""
        try:
            return (await self._world.meta.list(NODE, deadline=READ_SECONDS)).items
        except KokError:
            return ()

    def _rendered(
        self, inputs: PlaneInputs, under_way: Hop, destination: ClusterPackageVersion, nodes: Sequence[Manifest]
    ) -> tuple[Manifest, ...]:
        templates = {
            package.spec.plane_revision: self._world.catalogue.plane_templates(package.spec.plane_revision)
            for package in (inputs.package, destination)
        }
        found = preparation(inputs, templates[inputs.package.spec.plane_revision], under_way, destination, nodes)
        return tuple(stamped(each) for each in found)


def _is(found: Manifest, wanted: Manifest) -> bool:
    return bool(found["kind"] == wanted["kind"] and found["metadata"]["name"] == wanted["metadata"]["name"])


def _hop_of(view: PlaneView) -> Hop | None:
    return view.release.spec.hop if isinstance(view.release, ClusterRelease) else None


def _is_changing(view: PlaneView, release: ClusterReleaseSpec) -> bool:
    if release.hop or release.plane_package != release.current.package_version:
        return True
    return _is_wished(view, release)


def _is_wished(view: PlaneView, release: ClusterReleaseSpec) -> bool:
    wish = view.cluster.spec
    return wish.package_version != release.current.package_version and wish.change_policy is ChangePolicy.Direct


def _needs_kubelets(under_way: Hop | None) -> bool:
    return under_way is None or (under_way.direction is Direction.Down and bool(under_way.emulated))


Planned = tuple[Plan | KokError, str]


def _with_beside(plan: Plan | KokError, other: Planned) -> Plan | KokError:
    """The plan, with the kinds that the other end of the hop has inside; an end that cannot be rendered holds nobody up."""
    if isinstance(plan, KokError) or isinstance(other[0], KokError):
        return plan
    kinds_there = {(each["apiVersion"], each["kind"]) for each in other[0].inside}
    return replace(plan, beside=tuple(sorted(kinds_there)))


def _mixed(parts: Mapping[hops.Part, hops.Variant], plans: Mapping[hops.Variant, Planned]) -> Planned:
    """Every component from the plan of its part's variant; what cannot be rendered in one of them cannot be at all."""
    whole: dict[hops.Variant, Plan] = {}
    for variant, (plan, _) in plans.items():
        if isinstance(plan, KokError):
            return plan, ""
        whole[variant] = plan
    first = whole[parts[hops.Part.Apiserver]]
    components, waiting = {}, {}
    for name in (*first.components, *first.waiting):
        plan = whole[parts[hops.part_of(name)]]
        if name in plan.components:
            components[name] = plan.components[name]
        if name in plan.waiting:
            waiting[name] = plan.waiting[name]
    digest = hashlib.sha256("".join(f"{part}={plans[variant][1]}" for part, variant in sorted(parts.items())).encode()).hexdigest()
    return Plan(components, waiting, whole[parts[hops.Part.Addons]].inside), digest
