"""A node port that a Cluster wishes and another Service has: who holds it, and the sentence. Pure; called by ladder and status, and by who asks the API server.

That a port is taken is the API server's word, its refusal of our Service; who holds it is looked up only to say it. One number is one Service's
in the whole meta cluster, so nothing is guessed from wishes: two Clusters may wish the same port while neither has it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from operators.api.base import LABEL_CLUSTER
from operators.api.cluster import Cluster, EndpointType
from operators.domain.plane.drift import ObjectId
from operators.domain.plane.inputs import Manifest, Names
from operators.domain.plane.steps import Stall
from operators.domain.plane.view import PlaneView, TakenPort, Unknown
from operators.errors import ErrorCode

ALLOCATED = "provided port is already allocated"
"""How the API server refuses a Service whose node port another has (k8s.io/kubernetes/pkg/registry/core/service/portallocator)."""
LOOK_AGAIN_SECONDS = 10.0


def refused_ports(cluster: Cluster, service: Manifest, refusal: str) -> tuple[TakenPort, ...]:
    """Node ports of ours in that Service, if the API server refused it because one of them is taken; nobody holds them as yet."""
    if ALLOCATED not in refusal:
        return ()
    return tuple(each for each in sorted(wished(cluster), key=lambda each: each.port) if each.port in node_ports_of(service))


def wished(cluster: Cluster) -> tuple[TakenPort, ...]:
    """The node ports that a Cluster asks for by number, each with the field that does; whether anybody has them is another question."""
    wish = cluster.spec.endpoint
    if wish.type is not EndpointType.NodePort:
        return ()
    fields = (("spec.endpoint.port", wish.port), ("spec.endpoint.konnectivityPort", wish.konnectivity_port))
    return tuple(TakenPort(field, port) for field, port in fields if port)


def taken_of_wish(cluster: Cluster, services: Iterable[Manifest]) -> TakenPort | None:
    """The first node port of a wish that a Service not of this Cluster has; before anything was asked of the API server."""
    metadata = cluster.metadata
    return next(
        (each for each in _held(wished(cluster), services) if (each.namespace, each.cluster) != (metadata.namespace, metadata.name)), None
    )


def node_ports_of(service: Manifest) -> set[int]:
    """Every port of the nodes that a Service takes."""
    spec = service.get("spec") or {}
    found = {port.get("nodePort") for port in spec.get("ports") or ()} | {spec.get("healthCheckNodePort")}
    return {int(port) for port in found if port}


def held_by(taken: TakenPort, service: Manifest) -> TakenPort:
    """The same port with its holder."""
    metadata = service["metadata"]
    return TakenPort(
        taken.field, taken.port, metadata["namespace"], metadata["name"], str((metadata.get("labels") or {}).get(LABEL_CLUSTER) or "")
    )


def first_holder(wanted: Iterable[TakenPort], services: Iterable[Manifest], own: ObjectId) -> TakenPort | None:
    """The first of these ports that a Service other than our own has, with that Service."""
    return next(_held(wanted, [each for each in services if ObjectId.of(each) != own]), None)


def _held(wanted: Iterable[TakenPort], services: Iterable[Manifest]) -> Iterator[TakenPort]:
    """Those of these ports that Services have, port by port."""
    found = list(services)
    return (held_by(taken, each) for taken in wanted for each in found if taken.port in node_ports_of(each))


def is_wished(cluster: Cluster, taken: TakenPort) -> bool:
    """Whether the Cluster still asks for that port in that field."""
    return any((each.field, each.port) == (taken.field, taken.port) for each in wished(cluster))


def words(taken: TakenPort) -> str:
    """The one sentence: field, value, holder, next step."""
    head = f"{taken.field}: node port {taken.port} is taken"
    if not taken.name:
        unseen = taken.unseen or "no Service has it now; the API server gives it back within minutes"
        return f"{head}: the meta cluster's API server says so, and {unseen}; wait, or set another {taken.field}"
    holder = f"Service {taken.namespace}/{taken.name}"
    if taken.cluster:
        holder = f"Cluster {taken.namespace}/{taken.cluster} ({holder})"
    return f"{head} by {holder}; set another {taken.field}, or free the port there: then this goes on by itself"


def is_refused(view: PlaneView, manifest: Manifest) -> bool:
    """Whether it is the Service that the API server would refuse again."""
    return view.taken_port is not None and manifest["kind"] == "Service" and view.taken_port.port in node_ports_of(manifest)


def free_to_begin(view: PlaneView) -> Stall | None:
    """The rung for a plane that never lived: while somebody else has its port no pod is started for it. Its own Service gives it up first."""
    return None if view.has_lived or _has_it_itself(view) else free_ports(view)


def _has_it_itself(view: PlaneView) -> bool:
    """Whether another Service of this very Cluster has the port, as after an edit that gave one field the other's."""
    taken, metadata = view.taken_port, view.cluster.metadata
    return taken is not None and (taken.namespace, taken.cluster) == (metadata.namespace, metadata.name)


def free_ports(view: PlaneView) -> Stall | None:
    """The rung for one that lives: its masters are kept well, and whoever wished it another port is told that it is taken."""
    if view.taken_port is None:
        return None
    return Stall(ErrorCode.PortTaken, words(view.taken_port), after=LOOK_AGAIN_SECONDS)


def own_url(view: PlaneView) -> str:
    """https://host:port, or nothing while that node port is not (yet) this plane's: whoever called it would reach somebody else."""
    if view.endpoint is None or isinstance(view.endpoint, Unknown):
        return ""
    if view.cluster.spec.endpoint.type is not EndpointType.NodePort:
        return view.endpoint.url
    ports = set(_own_ports(view))
    return view.endpoint.url if not ports or view.endpoint.port in ports else ""


def _own_ports(view: PlaneView) -> Iterator[int]:
    """Node ports of our Service; 0 if there is none."""
    names = Names.of(view.cluster)
    service = view.objects.get(ObjectId("v1", "Service", names.namespace, names["apiserver"]))
    yield from node_ports_of(service) if service else (0,)
