"""Everything a plane's manifests depend on, as one value, and the names of its objects. Pure data; made by cluster_operator, read by `desired`.

What is not in here cannot change a manifest: two equal `PlaneInputs` and the same templates give equal manifests.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from operators.api.cluster import Cluster, EndpointType
from operators.api.packages import ClusterPackageVersion

Manifest = dict[str, Any]
"""One whole Kubernetes object as JSON."""

LABEL_NAMESPACE = "kok.dev/cluster-namespace"
"""On objects of a Cluster that live outside its namespace: whose they are."""

APISERVER_PORT = 6443
"""Port of the API server's container, and of its Service unless the Cluster says otherwise."""
AGENTS_PORT = 8132
"""Port on which the konnectivity server awaits agents, and of its Service unless that is a node port or the Cluster says otherwise."""


@dataclass(frozen=True, slots=True)
class PlaneEndpoint:
    """Where clients and nodes find the API server, resolved.

    NodePort: spec.endpoint. LoadBalancer: host from spec, else what the Service's status says; port of the Service.
    ClusterIP: host from spec, else `<cluster>-apiserver.<namespace>.svc`; port of the Service.
    """

    host: str
    """An address or a DNS name; goes into the certificate and the kubeconfigs."""
    port: int
    addresses: tuple[str, ...] = ()
    """IPv4 addresses of `host` and of additionalHosts as seen from the nodes: what `default/kubernetes` points to, with `port`. Sorted, so that passes agree."""

    @property
    def url(self) -> str:
        """`https://host:port`."""
        return f"https://{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class PlaneTunnel:
    """Where the agents on the nodes find the konnectivity server, resolved.

    NodePort: host of spec.endpoint, the port that the Service got. LoadBalancer: what the status of its own Service says.
    ClusterIP: the address of its Service.
    """

    host: str
    """An address or a DNS name; goes into the server's certificate."""
    port: int | None
    """None while a NodePort Service has not got its port; only the agents need it."""


MOST_MEMBERS = 5
"""More members make an etcd slower, not safer."""


@dataclass(frozen=True, slots=True)
class EtcdShape:
    """How many members an etcd began with and how many pods it has now. Neither is what the spec wishes while members come and go one by one."""

    initial: int
    """Members of the first start; fixed once it has begun, since those that start together must agree on it."""
    replicas: int


@dataclass(frozen=True, slots=True)
class PlaneInputs:
    """One plane, as authorised.

    The image of kok itself inside a plane (Machine-Operator, the start of etcd members) is that of the ClusterPackageVersion, so that
    a new Cluster-Operator changes no plane.
    """

    cluster: Cluster
    package: ClusterPackageVersion
    """The authorised one (ClusterRelease), not the wished one."""
    endpoint: PlaneEndpoint | None
    """None while a load balancer has not said its address."""
    secret_digests: Mapping[str, str] = field(default_factory=dict)
    """Secret name -> short digest of its data (`certificates.digest_of`), for every Secret of the plane that exists and is sound.

    They become annotations of the pod templates, so that a re-issued leaf rolls exactly what uses it.
    """
    emulated: str = ""
    """major.minor that the masters behave as, below that of their binaries; empty: their own."""
    etcd_shapes: Mapping[str, EtcdShape] = field(default_factory=dict)
    """etcd -> its shape as observed (`etcd_shape.shape_of`); one that is not there is as the spec wishes."""

    def etcd_shape(self, etcd: str) -> EtcdShape:
        """The shape to render."""
        wished = self.cluster.spec.etcd.members
        return self.etcd_shapes.get(etcd) or EtcdShape(wished, wished)

    tunnel: PlaneTunnel | None = None
    """None without konnectivity, and while its Service has no address yet: nothing of the plane itself waits for it."""


@dataclass(frozen=True, slots=True)
class Names:
    """Names of one plane's objects in the meta cluster: `<cluster>-<component>`."""

    cluster: str
    namespace: str

    @classmethod
    def of(cls, cluster: Cluster) -> Names:
        """The names of that Cluster's plane."""
        return cls(cluster.metadata.name, cluster.metadata.namespace or "default")

    def __getitem__(self, component: str) -> str:
        """`names["apiserver"]` is `demo-apiserver`."""
        return f"{self.cluster}-{component}"

    @property
    def apiserver_host(self) -> str:
        """The API server's Service as seen from inside the meta cluster."""
        return f"{self['apiserver']}.{self.namespace}.svc"

    @property
    def konnectivity_host(self) -> str:
        """The konnectivity server's Service for API servers, within the meta cluster."""
        return f"{self['konnectivity']}.{self.namespace}.svc"

    @property
    def machine_operator_role(self) -> str:
        """ClusterRole and ClusterRoleBinding of this plane's Machine-Operator in the meta cluster; cluster-scoped, so no owner removes them."""
        return f"kok:machine-operator:{self.namespace}:{self.cluster}"

    def etcd_member(self, etcd: str, ordinal: int) -> str:
        """Pod name of a member of `etcd` or `etcd-events`."""
        return f"{self[etcd]}-{ordinal}"

    def etcd_member_host(self, etcd: str, ordinal: int) -> str:
        """DNS name of a member within the meta cluster; resolves also while it is not ready."""
        return f"{self.etcd_member(etcd, ordinal)}.{self[f'{etcd}-peer']}.{self.namespace}.svc"


def service_address(service_cidr: str, index: int) -> str:
    """The index-th address of the Service range: 1 is the API server's, 10 the DNS server's."""
    return str(ipaddress.ip_network(service_cidr)[index])


def service_port(cluster: Cluster) -> int:
    """Port of the API server's Service within the meta cluster. A node port is not the Service's own."""
    endpoint = cluster.spec.endpoint
    return APISERVER_PORT if endpoint.type is EndpointType.NodePort or endpoint.port is None else endpoint.port


def etcds_of(cluster: Cluster) -> tuple[str, ...]:
    """The etcds of a plane: `etcd`, and `etcd-events` when asked for."""
    return ("etcd", "etcd-events") if cluster.spec.etcd.separate_events else ("etcd",)
