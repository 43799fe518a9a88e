"""Whether an upgrade would change nobody: everything selected is authorised for that version already, there or on its way. Pure; used by `kok upgrade`."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from meta_cluster.cli.lines import counted
from operators.api.cluster_release import ClusterRelease
from operators.ports.kube import Manifest

NOTHING_BROUGHT: Mapping[str, Collection[str]] = {}


def left_to_change(
    to: str, members: Iterable[Manifest], releases: Mapping[str, Manifest], brought: Mapping[str, Collection[str]] = NOTHING_BROUGHT
) -> list[str]:
    """Clusters or pools, as namespace/name, that are not all authorised for `to`. `releases`: theirs by namespace/name; `brought`: by
    namespace/cluster the machine packages that pools get which follow it."""
    places = {f"{each['metadata']['namespace']}/{each['metadata']['name']}": each for each in members}
    return [place for place, member in places.items() if not _is_at(to, member, releases.get(place), brought)]


def brought_by(releases: Iterable[Manifest], packages: Iterable[Manifest]) -> dict[str, Collection[str]]:
    """By namespace/cluster, from ClusterReleases and ClusterPackageVersions."""
    specs = {each["metadata"]["name"]: each["spec"] for each in packages}
    found: dict[str, Collection[str]] = {}
    for release in map(ClusterRelease.parse, releases):
        spec = specs.get(release.spec.machines_package) or {}
        names = (*(spec.get("machinePackages") or ()), spec.get("apiProxyPackage", ""))
        found[f"{release.metadata.namespace}/{release.metadata.name}"] = names
    return found


def _is_at(to: str, member: Manifest, release: Manifest | None, brought: Mapping[str, Collection[str]]) -> bool:
    """A pool is there when each of its hosts is, and it wishes nothing else by now; one without hosts never is, so that the operators say
    what they think of it."""
    if release is None:
        return False
    if member["kind"] == "Cluster":
        return bool(release["spec"]["current"]["packageVersion"] == to)
    wished = [host["name"] for host in member["spec"].get("hosts") or ()]
    there = {host["name"] for host in release["spec"].get("hosts") or () if to in (host.get("packages") or ())}
    turned = any(to in (order.get("insteadOf"), order.get("package")) for order in release["spec"].get("orders") or ())
    explicit = (member["spec"].get("packages") or {}).get("explicit")
    shall = brought.get(f"{member['metadata']['namespace']}/{member['spec'].get('clusterName')}", ()) if explicit is None else explicit
    return bool(wished) and there.issuperset(wished) and not turned and to in shall


def under_way(to: str, members: Iterable[Manifest], releases: Mapping[str, Manifest]) -> list[str]:
    """Of members that are all authorised for `to` those that are not there yet, as namespace/name: in the middle of it, or held up on the way."""
    places = [f"{each['metadata']['namespace']}/{each['metadata']['name']}" for each in members]
    return [place for place in places if place in releases and not _has_reached(to, releases[place]["spec"])]


def _has_reached(to: str, release: Manifest) -> bool:
    hosts = release.get("hosts") or ()
    return not release.get("hop") and release.get("reached", "") in ("", to) and all(each.get("openedAt") for each in hosts)


def unchanged_words(to: str, selector: str, members: Sequence[Manifest], coming: Sequence[str] = ()) -> str:
    """What `kok upgrade` says instead of making an empty rollout. `coming`: who is not there yet."""
    noun = "pool" if members[0]["kind"] == "MachinePool" else "cluster"
    who = f"the {noun}" if len(members) == 1 else f"all {counted(len(members), noun)}"
    verb, made = "is" if len(members) == 1 else "are", "no FleetRollout was made"
    if not coming:
        return f"unchanged: {who} with {selector} {verb} at {to} already; {made}"
    namespace, _, name = coming[0].partition("/")
    left = f"{len(coming)} not there yet (kok why {noun} {name} -n {namespace})"
    return f"unchanged: {who} with {selector} {verb} authorised for {to} already, {left}; {made}"
