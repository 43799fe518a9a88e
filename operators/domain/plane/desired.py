"""What should exist for one plane: whole manifests, from inputs and templates. Pure; called by cluster_operator.

Templates come in as text (`CataloguePort.plane_templates`). Nothing here reads what exists; comparing and applying is the caller's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from operators.api.cluster import Cluster
from operators.domain.plane.inputs import Manifest, PlaneInputs


@dataclass(frozen=True, slots=True)
class DesiredPlane:
    """The meta cluster's part of a plane."""

    components: Mapping[str, tuple[Manifest, ...]]
    """Component -> its manifests, in the order in which they are brought up. Only what can be rendered now."""
    waiting: Mapping[str, str]
    """Component -> why it cannot be rendered yet, one sentence (a Secret is missing, the load balancer has no address)."""


def components_of(cluster: Cluster) -> tuple[str, ...]:
    """The components of that Cluster's plane, in the order in which they are brought up.

    isolation, endpoint, etcd, [etcd-events], apiserver, controller-manager, scheduler, [machine-operator].
    """
    raise NotImplementedError


def desired_plane(inputs: PlaneInputs, templates: Mapping[str, str]) -> DesiredPlane:
    """Every object of the plane in the meta cluster: namespaced, but for the ClusterRole and its binding of the Machine-Operator.

    Raises KokError: FlagOwned, FlagUnknownComponent, TemplateInvalid.
    """
    raise NotImplementedError


def inside(inputs: PlaneInputs, templates: Mapping[str, str]) -> tuple[Manifest, ...]:
    """Every object of ours in the business cluster, in the order to apply them (namespaces, RBAC, CRDs, admission, add-ons, `default/kubernetes`).

    Needs `inputs.endpoint` with addresses. Raises KokError: TemplateInvalid.
    """
    raise NotImplementedError
