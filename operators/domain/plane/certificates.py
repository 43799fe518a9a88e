"""Which keys and certificates a plane has: root keys, leaves, kubeconfigs, as data. Pure; called by cluster_operator (and `services.pki`, which makes them).

One CA per trust domain (cluster, etcd, front-proxy), so that a client of one is a stranger to the others.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from operators.domain.plane.inputs import Names, PlaneEndpoint, PlaneInputs, PlaneTunnel, etcds_of, service_address, service_port

ADMINS = "kok:admins"
"""Group of the admin kubeconfig; bound to cluster-admin inside, so that it can be taken away again (system:masters cannot)."""
CLUSTER_OPERATOR = "kok:cluster-operator"
MACHINE_OPERATOR = "kok:machine-operator"
"""User name of the Machine-Operator in the business cluster; RBAC and admission there know it by this."""
KUBELET_CLIENT = "kok:apiserver-kubelet-client"
KONNECTIVITY_SERVER = "kok:konnectivity-server"
"""User name of the konnectivity server in the business cluster, where it asks whose a token is."""
ETCD_MEMBER = "kok:etcd-member"
"""Common name that etcd asks of its peers."""


class RootForm(StrEnum):
    """What a root Secret holds."""

    CA = "CA"
    """`tls.crt`, `tls.key`: a self-signed CA, 10 years."""
    KeyPair = "KeyPair"
    """`sa.pub`, `sa.key`: the key pair that signs service account tokens."""


@dataclass(frozen=True, slots=True)
class RootSpec:
    """A root key: made once; never made anew while the cluster lives (kept in a sealed second copy)."""

    secret: str
    form: RootForm
    common_name: str
    component: str
    """Whose label it carries."""


class LeafForm(StrEnum):
    """What a leaf Secret holds."""

    TLS = "TLS"
    """`tls.crt`, `tls.key`, `ca.crt` (type kubernetes.io/tls)."""
    Kubeconfig = "Kubeconfig"
    """`kubeconfig`: client certificate, key, CA and server embedded."""


class Usage(StrEnum):
    """Extended key usage."""

    Client = "Client"
    Server = "Server"


@dataclass(frozen=True, slots=True)
class LeafSpec:
    """A certificate with its key: renewed at 2/3 of its life, re-issued when it is not as specified."""

    secret: str
    form: LeafForm
    component: str
    """Whose label it carries."""
    signer: str
    """Secret of the CA."""
    common_name: str
    organisation: str = ""
    dns_names: tuple[str, ...] = ()
    ip_addresses: tuple[str, ...] = ()
    usages: tuple[Usage, ...] = (Usage.Client,)
    server: str = ""
    """Kubeconfig: URL of the API server."""
    user: str = ""
    """Kubeconfig: name of cluster, context and user in it."""


def root_specs(inputs: PlaneInputs) -> tuple[RootSpec, ...]:
    """The root keys of a plane: cluster CA, etcd CA, front-proxy CA, service account key pair."""
    names = Names.of(inputs.cluster)
    whose = f"{names.namespace}/{names.cluster}"[:48]  # a common name is at most 64 characters (X.520)
    return (
        RootSpec(names["ca"], RootForm.CA, f"kok {whose}", "apiserver"),
        RootSpec(names["etcd-ca"], RootForm.CA, f"kok etcd {whose}", "etcd"),
        RootSpec(names["front-proxy-ca"], RootForm.CA, f"kok front {whose}", "apiserver"),
        RootSpec(names["service-account"], RootForm.KeyPair, "", "apiserver"),
    )


def leaf_specs(inputs: PlaneInputs) -> tuple[LeafSpec, ...]:
    """All leaves of a plane; without an endpoint only those that do not depend on it."""
    names = Names.of(inputs.cluster)
    etcd = tuple(_etcd_leaf(names, etcd) for etcd in etcds_of(inputs.cluster))
    facing = (_serving_leaf(inputs, inputs.endpoint), _admin_leaf(names, inputs.endpoint)) if inputs.endpoint else ()
    tunnel = (_konnectivity_leaf(names, inputs.tunnel),) if inputs.tunnel and inputs.package.spec.components.konnectivity else ()
    return (*etcd, *_apiserver_clients(names), *_kubeconfigs(inputs, names), *facing, *tunnel)


def digest_of(data: Mapping[str, str]) -> str:
    """Short digest of a Secret's `data` (base64 values, as the API shows them): 16 hex digits that say nothing of the content."""
    return hashlib.sha256(json.dumps(dict(data), sort_keys=True).encode()).hexdigest()[:16]


def _etcd_leaf(names: Names, etcd: str) -> LeafSpec:
    """One for all members of an etcd: a server to clients and peers, a client to peers and (its gateway) to itself."""
    service, peers = f"{names[etcd]}.{names.namespace}.svc", f"*.{names[f'{etcd}-peer']}.{names.namespace}.svc"
    return LeafSpec(
        secret=names[f"{etcd}-tls"],
        form=LeafForm.TLS,
        component=etcd,
        signer=names["etcd-ca"],
        common_name=ETCD_MEMBER,
        dns_names=("localhost", service, peers),
        ip_addresses=("127.0.0.1",),
        usages=(Usage.Client, Usage.Server),
    )


def _apiserver_clients(names: Names) -> tuple[LeafSpec, ...]:
    """What the API server shows to etcd, to kubelets and to aggregated APIs; and the Cluster-Operator's own way to etcd."""

    def client(secret: str, signer: str, common_name: str, component: str = "apiserver") -> LeafSpec:
        return LeafSpec(names[secret], LeafForm.TLS, component, names[signer], common_name)

    return (
        client("apiserver-etcd-client", "etcd-ca", "kok:apiserver"),
        client("apiserver-kubelet-client", "ca", KUBELET_CLIENT),
        client("front-proxy-client", "front-proxy-ca", "front-proxy-client"),
        client("etcd-operator-client", "etcd-ca", CLUSTER_OPERATOR, "etcd"),
    )


def _kubeconfigs(inputs: PlaneInputs, names: Names) -> tuple[LeafSpec, ...]:
    """Those that are used within the meta cluster, through the Service."""
    server = f"https://{names.apiserver_host}:{service_port(inputs.cluster)}"

    def kubeconfig(secret: str, component: str, common_name: str, organisation: str = "") -> LeafSpec:
        return LeafSpec(
            names[f"{secret}-kubeconfig"],
            LeafForm.Kubeconfig,
            component,
            names["ca"],
            common_name,
            organisation,
            server=server,
            user=names.cluster,
        )

    has_tunnel = inputs.package.spec.components.konnectivity is not None
    konnectivity = (kubeconfig("konnectivity", "konnectivity", KONNECTIVITY_SERVER),) if has_tunnel else ()
    machine_operator = (kubeconfig("machine-operator", "machine-operator", MACHINE_OPERATOR),) if inputs.cluster.spec.machine_access else ()
    return (
        # system:masters: it must be able to write the RBAC that everybody else needs
        kubeconfig("operator", "apiserver", CLUSTER_OPERATOR, "system:masters"),
        kubeconfig("controller-manager", "controller-manager", "system:kube-controller-manager"),
        kubeconfig("scheduler", "scheduler", "system:kube-scheduler"),
        *konnectivity,
        *machine_operator,
    )


def _serving_leaf(inputs: PlaneInputs, endpoint: PlaneEndpoint) -> LeafSpec:
    names, network = Names.of(inputs.cluster), inputs.cluster.spec.network
    service = "kubernetes.default.svc"
    dns = {
        "localhost",
        "kubernetes",
        "kubernetes.default",
        service,
        f"{service}.{network.domain}",
        names["apiserver"],
        names.apiserver_host,
    }
    addresses = {service_address(network.service_cidr, 1), "127.0.0.1"}
    for host in (endpoint.host, *inputs.cluster.spec.endpoint.additional_hosts):
        (addresses if _is_address(host) else dns).add(host)
    return LeafSpec(
        secret=names["apiserver-tls"],
        form=LeafForm.TLS,
        component="apiserver",
        signer=names["ca"],
        common_name="kube-apiserver",
        dns_names=tuple(sorted(dns)),
        ip_addresses=tuple(sorted(addresses)),
        usages=(Usage.Server,),
    )


def _konnectivity_leaf(names: Names, tunnel: PlaneTunnel) -> LeafSpec:
    """What the konnectivity server shows to agents, and to API servers within the meta cluster."""
    hosts = {names.konnectivity_host, "127.0.0.1", tunnel.host}
    return LeafSpec(
        secret=names["konnectivity-tls"],
        form=LeafForm.TLS,
        component="konnectivity",
        signer=names["ca"],
        common_name=KONNECTIVITY_SERVER,
        dns_names=tuple(sorted(host for host in hosts if not _is_address(host))),
        ip_addresses=tuple(sorted(filter(_is_address, hosts))),  # 127.0.0.1: agents behind a node's own proxy
        usages=(Usage.Server,),
    )


def _admin_leaf(names: Names, endpoint: PlaneEndpoint) -> LeafSpec:
    return LeafSpec(
        names["kubeconfig"],
        LeafForm.Kubeconfig,
        "apiserver",
        names["ca"],
        "kok:admin",
        ADMINS,
        server=endpoint.url,
        user=names.cluster,
    )


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
