"""What should exist for one plane: whole manifests, from inputs and templates. Pure; called by cluster_operator.

Templates come in as text (`CataloguePort.plane_templates`). Nothing here reads what exists; comparing and applying is the caller's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from operators.api.cluster import Cluster
from operators.api.packages import ClusterPackageVersion
from operators.domain.plane.desired_rendering import NotYet, Renderer
from operators.domain.plane.inputs import MOST_MEMBERS, Manifest, PlaneInputs, etcds_of
from operators.errors import ErrorCode, KokError

BEFORE_ENDPOINT = ("isolation", "endpoint")
"""Components that are there before the endpoint's address is known: the Service is what makes it known."""
INSIDE = (
    "inside-rbac",
    "inside-machine-crd",
    "inside-admission",
    "inside-conditions",
    "inside-flannel",
    "inside-kube-proxy",
    "inside-coredns",
    "inside-kubernetes",
)
"""Templates of what goes inside the business cluster, in the order to apply them; RBAC first, so that the admin's kubeconfig works at once."""
KONNECTIVITY = "konnectivity"


@dataclass(frozen=True, slots=True)
class DesiredPlane:
    """The meta cluster's part of a plane."""

    components: Mapping[str, tuple[Manifest, ...]]
    """Component -> its manifests, in the order in which they are brought up. Only what can be rendered now."""
    waiting: Mapping[str, str]
    """Component -> why it cannot be rendered yet, one sentence (a Secret is missing, the load balancer has no address)."""


def components_of(cluster: Cluster, package: ClusterPackageVersion) -> tuple[str, ...]:
    """The components of that Cluster's plane, in the order in which they are brought up.

    isolation, endpoint, etcd, [etcd-events], apiserver, controller-manager, scheduler, [konnectivity], [machine-operator].
    """
    tunnel = (KONNECTIVITY,) if package.spec.components.konnectivity else ()
    last = ("machine-operator",) if cluster.spec.machine_access else ()
    return (*BEFORE_ENDPOINT, *etcds_of(cluster), "apiserver", "controller-manager", "scheduler", *tunnel, *last)


def desired_plane(inputs: PlaneInputs, templates: Mapping[str, str]) -> DesiredPlane:
    """Every object of the plane in the meta cluster: namespaced, but for the ClusterRole and its binding of the Machine-Operator.

    Raises KokError: FlagOwned, FlagUnknown, FlagUnknownComponent, TemplateInvalid.
    """
    renderer = Renderer(inputs, templates)
    components: dict[str, tuple[Manifest, ...]] = {}
    waiting: dict[str, str] = {}
    for component in components_of(inputs.cluster, inputs.package):
        if component not in BEFORE_ENDPOINT and inputs.endpoint is None:
            waiting[component] = "the endpoint has no address yet"
            continue
        try:
            components[component] = _component(renderer, component)
        except NotYet as reason:
            waiting[component] = str(reason)
    return DesiredPlane(components, waiting)


def inside(inputs: PlaneInputs, templates: Mapping[str, str]) -> tuple[Manifest, ...]:
    """Every object of ours in the business cluster, in the order to apply them.

    Needs `inputs.endpoint` with addresses. Raises KokError: TemplateInvalid.
    """
    if inputs.endpoint is None or not inputs.endpoint.addresses:
        raise KokError(
            ErrorCode.TemplateInvalid,
            "what goes inside the cluster needs the addresses of its endpoint",
            "wait until spec.endpoint.host resolves to an address",
        )
    renderer = Renderer(inputs, templates)
    has_way = inputs.package.spec.components.konnectivity and inputs.tunnel and inputs.tunnel.port
    more = (f"inside-{KONNECTIVITY}",) if has_way else ()
    return tuple(manifest for template in (*INSIDE, *more) for manifest in renderer.render(template))


def _component(renderer: Renderer, component: str) -> tuple[Manifest, ...]:
    if component in ("etcd", "etcd-events"):
        return renderer.render("etcd", etcd=component, shape=renderer.inputs.etcd_shape(component), most_members=MOST_MEMBERS)
    return renderer.render(component)
