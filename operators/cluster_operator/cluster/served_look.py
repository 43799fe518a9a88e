"""Reads what is stored in a business cluster that an older minor could not serve, while going back to one is wished or under way. Reads only.

Resources that the older minor does not have are asked for one by one in the living cluster; what it does not serve either holds nothing that
anybody can see. Decides nothing; called by release_look.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

from operators.api.cluster_release import ClusterReleaseSpec
from operators.api.packages import ClusterPackageVersion
from operators.cluster_operator.cluster.business import BusinessLook
from operators.cluster_operator.cluster.world import Remembered, World
from operators.domain.plane import hops
from operators.domain.plane.flags import overrides_of
from operators.domain.plane.paths import Package
from operators.domain.plane.served import ServedApi, Stored, lost_to, parse_served, words_of_stored
from operators.domain.plane.upgrade_view import UpgradeFacts
from operators.domain.plane.view import PlaneView
from operators.errors import KokError
from operators.ports.kube import Key

READ_SECONDS = 10.0
LOOKED_SECONDS = 10.0


class ServedLook:
    """Makes the lists of what would not be served."""

    def __init__(self, world: World, business: BusinessLook) -> None:
        self._world, self._business = world, business
        self._looked: Remembered[str] = Remembered(1_000, LOOKED_SECONDS)

    async def with_unserved(self, key: Key, view: PlaneView, release: ClusterReleaseSpec, facts: UpgradeFacts) -> UpgradeFacts:
        """The facts, with what each older package that is wished or authorised could not serve. Without an API server nobody can be asked."""
        upper = _serving(release, facts)
        apiserver = view.workloads.get("apiserver")
        if upper is None or apiserver is None or not apiserver.ready:
            return facts
        words: dict[str, str] = {}
        unknown: dict[str, str] = {}
        for goal in sorted({view.cluster.spec.package_version, release.current.package_version}):
            lower = facts.packages.get(goal)
            if lower is None or Package.of(lower).minor >= Package.of(upper).minor:
                continue
            try:
                words[goal] = await self._stored(key, view, lower, upper)
            except KokError as error:
                unknown[goal] = error.message
        return replace(facts, unserved=words, unserved_unknown=unknown)

    async def _stored(self, key: Key, view: PlaneView, lower: ClusterPackageVersion, upper: ClusterPackageVersion) -> str:
        """In words; empty if everything could be served, or nothing is known of the older minor."""
        known = self._looked.get((key, lower.metadata.name, upper.metadata.name))
        if known is not None:
            return known
        below, above = self._served(lower), self._served(upper)
        if not below or not above:
            return ""
        gone = lost_to(below, above, _runtime_config(view, lower), _runtime_config(view, upper))
        found = await asyncio.gather(*(self._of(key, view, api) for api in gone))
        words = ", ".join(filter(None, map(words_of_stored, gone, found)))
        return self._looked.put((key, lower.metadata.name, upper.metadata.name), words)

    def _served(self, package: ClusterPackageVersion) -> tuple[ServedApi, ...]:
        return parse_served(self._world.catalogue.served_apis(package.spec.kubernetes_version))

    async def _of(self, key: Key, view: PlaneView, api: ServedApi) -> Stored:
        return await self._business.stored_of(key, view.names, api.group_version, api.resource, deadline=READ_SECONDS)


def _serving(release: ClusterReleaseSpec, facts: UpgradeFacts) -> ClusterPackageVersion | None:
    """The package whose minor may have stored something of its own; None while an older one is emulated, which stores nothing of the kind."""
    if release.hop is None:
        return facts.packages.get(release.plane_package)
    return None if not release.hop.emulated or hops.emulates(release.hop) else facts.packages.get(release.hop.upper)


def _runtime_config(view: PlaneView, package: ClusterPackageVersion) -> str:
    return overrides_of("apiserver", package, view.cluster).get("runtime-config", "")
