"""Which keys and certificates a plane has: root keys, leaves, kubeconfigs, as data. Pure; called by cluster_operator (and `services.pki`, which makes them).

One CA per trust domain (cluster, etcd, front-proxy), so that a client of one is a stranger to the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from operators.domain.plane.inputs import PlaneInputs


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
    raise NotImplementedError


def leaf_specs(inputs: PlaneInputs) -> tuple[LeafSpec, ...]:
    """All leaves of a plane; without an endpoint only those that do not depend on it."""
    raise NotImplementedError


def digest_of(data: Mapping[str, str]) -> str:
    """Short digest of a Secret's `data` (base64 values, as the API shows them): 16 hex digits that say nothing of the content."""
    raise NotImplementedError
