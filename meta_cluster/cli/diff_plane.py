"""Which objects of a plane a changed Cluster changes: both wishes rendered with the catalogue's templates and compared. Pure; used by `kok diff`.

What is not known here (digests of Secrets, the resolved address of a load balancer) is the same on both sides, so only the change differs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from operators.api.cluster import Cluster, EndpointType
from operators.api.packages import ClusterPackageVersion
from operators.domain.plane.desired import desired_plane, inside
from operators.domain.plane.inputs import Names, PlaneEndpoint, PlaneInputs, PlaneTunnel, service_port
from operators.ports.kube import Manifest

ANY_ADDRESS = "192.0.2.1"
"""For what is looked up when a plane runs; of the range that documents use."""
WORKLOADS = frozenset({"Deployment", "StatefulSet", "DaemonSet", "Job"})
Templates = Mapping[str, str]


class AnyDigest(dict[str, str]):
    """Every Secret is there, and the same on both sides."""

    def __contains__(self, name: object) -> bool:
        return True

    def __missing__(self, name: str) -> str:
        return "same"


@dataclass(frozen=True, slots=True)
class Wish:
    """A Cluster with the version that its plane is rendered from."""

    cluster: Cluster
    package: ClusterPackageVersion
    templates: Templates


@dataclass(frozen=True, slots=True)
class ObjectChange:
    """One object of a plane. `rolls`: its pods are made anew."""

    component: str
    kind: str
    name: str
    what: str
    """created, changed or removed."""
    rolls: bool = False

    def __str__(self) -> str:
        return f"{self.kind} {self.name} {self.what}{', pods roll' if self.rolls else ''}"


def plane_changes(before: Wish | None, after: Wish) -> list[ObjectChange]:
    """What differs between two wishes; without a first one everything is created. Raises KokError for flags and templates that do not go."""
    old, new = (_rendered(before) if before else {}), _rendered(after)
    found = [each for key, (component, manifest) in new.items() if (each := _change(component, manifest, old.get(key)))]
    gone = [ObjectChange(component, key[0], key[2], "removed") for key, (component, _) in old.items() if key not in new]
    return [*found, *gone]


Rendered = dict[tuple[str, str, str], tuple[str, Manifest]]


def _rendered(wish: Wish) -> Rendered:
    inputs = inputs_of(wish)
    found: Rendered = {}
    for component, manifests in desired_plane(inputs, wish.templates).components.items():
        for manifest in manifests:
            found[_key(manifest)] = component, manifest
    for manifest in inside(inputs, wish.templates):
        kind, namespace, name = _key(manifest)
        found[kind, f"inside {namespace}", name] = "inside", manifest
    return found


def _key(manifest: Manifest) -> tuple[str, str, str]:
    metadata = manifest["metadata"]
    return manifest["kind"], metadata.get("namespace") or "", metadata["name"]


def _change(component: str, after: Manifest, pair: tuple[str, Manifest] | None) -> ObjectChange | None:
    kind, _, name = _key(after)
    if pair is None:
        return ObjectChange(component, kind, name, "created")
    before = pair[1]
    if before == after:
        return None
    return ObjectChange(component, kind, name, "changed", kind in WORKLOADS and _template(before) != _template(after))


def _template(manifest: Manifest) -> Any:
    return (manifest.get("spec") or {}).get("template")


def inputs_of(wish: Wish) -> PlaneInputs:
    """What the templates need, as far as it is known without asking the plane."""
    cluster = wish.cluster
    wished, names = cluster.spec.endpoint, Names.of(cluster)
    host = wished.host or (names.apiserver_host if wished.type is EndpointType.ClusterIP else ANY_ADDRESS)
    port = wished.port if wished.type is EndpointType.NodePort and wished.port else service_port(cluster)
    tunnel = None
    if wish.package.spec.components.konnectivity:
        tunnel = PlaneTunnel(host, wished.konnectivity_port or 8132)
    endpoint = PlaneEndpoint(host, port, (ANY_ADDRESS, *wished.additional_hosts))
    return PlaneInputs(cluster, wish.package, endpoint, AnyDigest(), tunnel=tunnel)


def summed(changes: list[ObjectChange]) -> Iterator[str]:
    """One line per component."""
    for component in dict.fromkeys(each.component for each in changes):
        own = [each for each in changes if each.component == component]
        shown = ", ".join(str(each) for each in own[:4])
        yield f"{component}: {shown}{f' and {len(own) - 4} more' if len(own) > 4 else ''}"
