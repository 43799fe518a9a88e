"""Cluster: the wish for one business cluster, and ClusterRelease: what of that wish is authorised. Read by the Cluster-Operator."""

from __future__ import annotations

import ipaddress
from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, ConfigDict, Field

from operators.api.base import (
    LIST_SET,
    Column,
    Conditions,
    DnsLabel,
    DnsName,
    KindInfo,
    Model,
    ObservedGeneration,
    Resource,
    Scope,
    Text,
    cel,
    list_map,
    rules,
)
from operators.api.pending import PendingSum

NO_RANGE = "is not an IPv4 range: write its first address and a length of at most 32, such as 10.245.0.0/16"


def _ipv4_range(text: str) -> str:
    """For who reads an object that no API server has seen. Raises ValueError."""
    try:
        is_range = "/" in text and isinstance(ipaddress.ip_network(text, strict=False), ipaddress.IPv4Network)
    except ValueError:
        is_range = False
    if not is_range:
        raise ValueError(NO_RANGE)
    return text


Cidr = Annotated[
    str,
    AfterValidator(_ipv4_range),
    Field(
        max_length=64,
        json_schema_extra=rules(
            cel("isCIDR(self) && cidr(self).ip().family() == 4", NO_RANGE),  # no pattern: a regular expression tells nobody what to write
            cel(
                "!isCIDR(self) || cidr(self).masked() == cidr(self)",
                "must be the first address of its range: 10.245.0.0/16, not 10.245.0.1/16",
            ),
        ),
    ),
]

FLAG_COMPONENTS = ("etcd", "apiserver", "controllerManager", "scheduler")
FlagValue = Annotated[str, Field(max_length=4096, pattern=r"^[^\x00-\x1f\x7f]*$")]
Flags = Annotated[
    dict[str, FlagValue],
    Field(
        max_length=64,
        json_schema_extra=rules(
            cel(
                "self.all(f, f.matches('^[a-z][a-z0-9-]{0,127}$'))",
                "a flag is named without its dashes, in lower-case letters, digits and '-': v, audit-log-maxage",
            )
        ),
    ),
]
"""Command-line flags of one component without their leading dashes; the value is a string, as on the command line."""
ComponentFlags = Annotated[
    dict[str, Flags],
    Field(
        max_length=8,
        json_schema_extra=rules(
            cel(
                "self.all(c, c in ['etcd', 'apiserver', 'controllerManager', 'scheduler'])",
                "unknown component: flags may be set for etcd, apiserver, controllerManager and scheduler",
            )
        ),
    ),
]


class ChangePolicy(StrEnum):
    """Who may turn the wish into a release."""

    Direct = "Direct"
    """An edit of the spec is authorised at once, within budgets."""
    RolloutOnly = "RolloutOnly"
    """Only a FleetRollout that covers this Cluster authorises."""


class Size(StrEnum):
    """Requests and limits of the masters."""

    small = "small"
    medium = "medium"
    large = "large"


class EndpointType(StrEnum):
    """How clients and nodes reach the API server."""

    NodePort = "NodePort"
    LoadBalancer = "LoadBalancer"
    ClusterIP = "ClusterIP"


class Masters(Model):
    """API server, controller-manager and scheduler."""

    replicas: Annotated[int, Field(ge=1, le=5)] = 1
    """How many of each; more than one API server answers behind one endpoint, the controllers elect a leader. 1 to 5."""


class Etcd(Model):
    """The cluster's own etcd."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            cel(
                "self.members > 1 || oldSelf.members == 1 || (has(self.confirmSingleMember) && self.confirmSingleMember)",
                "one member survives no failure: set etcd.confirmSingleMember to true with etcd.members 1 if that is meant",
            ),
        )
    )

    members: Annotated[
        int,
        Field(
            ge=1,
            le=5,
            json_schema_extra=rules(
                cel("self in [1, 3, 5]", "an even number of members tolerates no more failures than one member fewer; set 1, 3 or 5"),
            ),
        ),
    ] = 1
    """1, 3 or 5; may be changed while the cluster runs, one member at a time."""
    confirm_single_member: bool = False
    """Whether going back to one member is meant: from then on the loss of one volume is the loss of the cluster's data."""
    storage_gib: Annotated[
        int,
        Field(
            alias="storageGiB",
            ge=1,
            le=1024,
            json_schema_extra=rules(cel("self == oldSelf", "volumes are not resized; create the Cluster with the size you want")),
        ),
    ] = 2
    """Size of each member's volume in GiB."""
    storage_class_name: Annotated[str, Field(max_length=253, pattern=r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?)?$")] = ""
    """StorageClass of the volumes; empty: the meta cluster's default."""
    separate_events: Annotated[
        bool,
        Field(
            json_schema_extra=rules(cel("self == oldSelf", "events cannot move between etcds; create the Cluster with the layout you want"))
        ),
    ] = False
    """Whether Kubernetes events live in an etcd of their own, so that a flood of them cannot hurt the cluster's data."""


class Network(Model):
    """Address ranges inside the business cluster. Fixed for its life."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            cel("self == oldSelf", "the network of a running cluster cannot change; create a new Cluster"),
            cel(
                "!isCIDR(self.podCIDR) || !isCIDR(self.serviceCIDR) || "
                "!(cidr(self.podCIDR).containsIP(cidr(self.serviceCIDR).ip()) || cidr(self.serviceCIDR).containsIP(cidr(self.podCIDR).ip()))",
                "podCIDR and serviceCIDR overlap; choose two disjoint ranges",
                found="self.podCIDR + ' and ' + self.serviceCIDR",
            ),
            cel(
                "!isCIDR(self.serviceCIDR) || (cidr(self.serviceCIDR).prefixLength() >= 12 && cidr(self.serviceCIDR).prefixLength() <= 28)",
                "serviceCIDR must be between /12 and /28",
                found="self.serviceCIDR",
            ),
            cel(
                "!isCIDR(self.podCIDR) || cidr(self.podCIDR).prefixLength() <= 24",
                "podCIDR must be /24 or larger: every node takes a /24 of it",
                found="self.podCIDR",
            ),
        )
    )

    pod_cidr: Annotated[Cidr, Field(alias="podCIDR")] = "10.245.0.0/16"
    """Pods' addresses; each node takes a /24 of it."""
    service_cidr: Annotated[Cidr, Field(alias="serviceCIDR")] = "10.97.0.0/16"
    """Services' addresses; the first is the API server's, the tenth the DNS server's."""
    domain: DnsName = "cluster.local"
    """DNS domain of Services."""


class Endpoint(Model):
    """Where clients and nodes find the API server."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            cel(
                "self.type != 'NodePort' || (has(self.host) && self.host != '')",
                "endpoint.host is required with type NodePort: an address of a meta node that clients and hosts can reach",
            ),
            cel(
                "self.type != 'NodePort' || (has(self.port) && self.port >= 30000 && self.port <= 32767)",
                "endpoint.port must be between 30000 and 32767 with type NodePort",
            ),
            cel(
                "self.type != 'NodePort' || !has(self.konnectivityPort) || (self.konnectivityPort >= 30000 && self.konnectivityPort <= 32767)",
                "endpoint.konnectivityPort must be between 30000 and 32767 with type NodePort; leave it out and the meta cluster chooses one",
            ),
            cel(
                "!has(self.konnectivityPort) || !has(self.port) || self.konnectivityPort != self.port",
                "endpoint.konnectivityPort is the same as endpoint.port; choose another, or leave it out",
            ),
            cel(
                "!has(self.additionalHosts) || self.additionalHosts.size() == 0 || (self.type == 'NodePort' && has(self.konnectivityPort))",
                "endpoint.additionalHosts needs type NodePort and konnectivityPort: every node forwards both ports to all of these hosts",
            ),
            cel(
                "!has(self.additionalHosts) || !self.additionalHosts.exists(h, h == self.host)",
                "endpoint.additionalHosts repeats endpoint.host; list the other meta nodes only",
                found="self.host",
            ),
            cel(
                "(has(self.additionalHosts) && self.additionalHosts.size() > 0) == (has(oldSelf.additionalHosts) && oldSelf.additionalHosts.size() > 0)",
                "nodes find the API server the way they learned when they joined: a running cluster's additionalHosts may be changed, "
                "but neither be emptied nor be set for the first time",
            ),
            cel("self.type == oldSelf.type", "the type of a running cluster's endpoint cannot change; create a new Cluster"),
        )
    )

    type: EndpointType = EndpointType.NodePort
    """NodePort, LoadBalancer or ClusterIP."""
    host: Annotated[str, Field(pattern=r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?)?$", max_length=253)] = ""
    """Address or name that certificates and kubeconfigs carry. NodePort: an address of a meta node. LoadBalancer: empty means what the load balancer reports."""
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    """NodePort: the node port. Otherwise the Service's port (default 6443)."""
    additional_hosts: Annotated[
        tuple[Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", max_length=253)], ...],
        Field(max_length=8, json_schema_extra=LIST_SET),
    ] = ()
    """NodePort: addresses of further meta nodes. Nodes then reach the API server through a proxy of their own over all of them, so that none matters alone."""
    konnectivity_port: Annotated[int, Field(ge=1, le=65535)] | None = None
    """Where the agents on the nodes find the konnectivity server. NodePort: its node port; empty: the meta cluster chooses one. Otherwise the Service's port (default 8132)."""


class MachineAccess(Model):
    """How the Machine-Operator reaches this cluster's hosts."""

    ssh_key_secret_name: DnsName
    """A Secret of this namespace with the private key under `ssh-privatekey` (type kubernetes.io/ssh-auth)."""


class Upgrade(Model):
    """How the version of a cluster is changed."""

    soak_seconds: Annotated[int, Field(ge=0, le=604800)] = 600
    """How long the masters of a new minor emulate the old one before they are let loose; going back is cheapest until then. Patches do not soak."""
    confirm_unserved: Annotated[str, Field(max_length=253)] = ""
    """The older ClusterPackageVersion that may be gone back to although it cannot serve everything that is stored; those objects lie in etcd unseen until a newer version serves again."""
    stage_deadline_seconds: Annotated[int, Field(ge=30, le=604800)] = 1800
    """How long one stage of a change may take, a soak not counted, until the Cluster is Stalled (UpgradeOverdue). Nothing is given up by it: what serves stays, and it goes on once it can."""


def _endpoint_outside(field: str) -> dict[str, str]:
    """An address that nodes dial must not be one that they route to pods or Services."""
    known = f"has(self.endpoint.host) && isIP(self.endpoint.host) && isCIDR(self.network.{field})"
    return cel(
        f"!({known}) || !cidr(self.network.{field}).containsIP(self.endpoint.host)",
        f"endpoint.host lies in network.{field}: nodes would not find the API server; choose another range",
        field=".endpoint.host",
        found=f"self.endpoint.host + ' in ' + self.network.{field}",
    )


class ClusterSpec(Model):
    """The wish."""

    model_config = ConfigDict(json_schema_extra=rules(_endpoint_outside("podCIDR"), _endpoint_outside("serviceCIDR")))

    package_version: DnsName
    """The ClusterPackageVersion this cluster shall be at; an edit upgrades or rolls back, by as many hops as Kubernetes' skew policy asks for."""
    change_policy: ChangePolicy = ChangePolicy.Direct
    """Direct: an edit is authorised at once. RolloutOnly: only a FleetRollout authorises."""
    upgrade: Upgrade = Upgrade()
    """How its version is changed."""
    size: Size = Size.small
    """small, medium or large: requests and limits of the masters."""
    masters: Masters = Masters()
    """API server, controller-manager, scheduler."""
    etcd: Etcd = Etcd()
    """The cluster's own etcd."""
    network: Network = Network()
    """Address ranges inside the cluster."""
    endpoint: Endpoint
    """Where clients and nodes find the API server."""
    machine_access: MachineAccess | None = None
    """How hosts are reached; without it the cluster has no Machine-Operator."""
    flags: ComponentFlags = Field(default_factory=dict)
    """Flags per component, over those of the ClusterPackageVersion. Flags that kok owns (certificates, etcd endpoints, addresses) are refused by name."""
    deletion_protection: bool = True
    """While true, deleting this Cluster is refused."""
    paused: bool = False
    """While true, nothing is changed; what is observed is still shown."""


class ComponentStatus(Model):
    """One line per component, for people."""

    name: DnsLabel
    """etcd, etcd-events, apiserver, controller-manager, scheduler, machine-operator."""
    ready: Annotated[int, Field(ge=0)] = 0
    """Pods ready."""
    wanted: Annotated[int, Field(ge=0)] = 0
    """Pods wanted."""
    message: Text = ""
    """What is wrong, if something is; empty when it is fine."""


class ClusterStatus(Model):
    """What was observed; displays only, rebuilt from the world at every pass."""

    observed_generation: ObservedGeneration = 0
    """metadata.generation this was derived from."""
    phase: Annotated[str, Field(max_length=64)] = ""
    """The rung of the ladder in hand, one word: Creating, Ready, Deleting, ..."""
    message: Text = ""
    """The reason of the last step, one sentence."""
    kubernetes_version: Annotated[str, Field(max_length=64)] = ""
    """What the API server says it is."""
    endpoint: Annotated[str, Field(max_length=300)] = ""
    """https://host:port as clients see it."""
    package_version: Annotated[str, Field(max_length=253)] = ""
    """The authorised ClusterPackageVersion."""
    components: Annotated[tuple[ComponentStatus, ...], Field(max_length=16, json_schema_extra=list_map("name"))] = ()
    """One line per component."""
    machines: Annotated[int, Field(ge=0)] = 0
    """Machines of this cluster."""
    machines_ready: Annotated[int, Field(ge=0)] = 0
    """Machines open to pods."""
    pending: PendingSum = ()
    """Changes of machines that are still to come, over all pools."""
    conditions: Conditions = ()
    """Ready, Reconciling, Stalled and one per stage."""


class Cluster(Resource):
    """One business cluster, as wished: its masters run as pods in this namespace."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            cel(
                "self.metadata.name.matches('^[a-z]([-a-z0-9]{0,30}[a-z0-9])?$')",
                "the name of a Cluster is the prefix of its Services and pods: at most 32 characters, lower-case letters, digits and '-', starting with a letter",
            )
        )
    )

    INFO: ClassVar[KindInfo] = KindInfo(
        plural="clusters",
        short=("kc",),
        scope=Scope.Namespaced,
        columns=(
            Column("Version", ".status.kubernetesVersion"),
            Column("Ready", ".status.conditions[?(@.type=='Ready')].status"),
            Column("Phase", ".status.phase"),
            Column("Endpoint", ".status.endpoint"),
            Column("Machines", ".status.machinesReady", "integer"),
            Column("Package", ".spec.packageVersion", priority=1),
            Column("Message", ".status.message", priority=1),
            Column("Age", ".metadata.creationTimestamp", "date"),
        ),
    )
    kind: Literal["Cluster"] = "Cluster"
    spec: ClusterSpec
    status: ClusterStatus | None = None
