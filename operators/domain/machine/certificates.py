"""Which certificate requests of kubelets are a machine's own. Pure; any doubt means no. Called by the ladder.

Rules of the two signers (Kubernetes, "Certificate Signing Requests"), and narrower: a client certificate only for the identity that the
machine's own bootstrap token or its own node certificate proves; a serving certificate only for the names and addresses that the pool lists.
The requestor was authenticated by the API server; the subject was written by whoever asks and is believed in nothing.
"""

from __future__ import annotations

import binascii
import ipaddress
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.x509.oid import NameOID

CLIENT_SIGNER = "kubernetes.io/kube-apiserver-client-kubelet"
SERVING_SIGNER = "kubernetes.io/kubelet-serving"
SIGNERS = frozenset({CLIENT_SIGNER, SERVING_SIGNER})
TOKEN_GROUP = "system:bootstrappers:kok:"  # noqa: S105 - the name of a group
_NODE = "system:node:"
_USAGES = {
    CLIENT_SIGNER: (frozenset({"digital signature", "client auth"}), frozenset({"key encipherment"})),
    SERVING_SIGNER: (frozenset({"digital signature", "server auth"}), frozenset({"key encipherment"})),
}


@dataclass(frozen=True)
class CertificateRequest:
    """One CertificateSigningRequest. `decided`: approved, denied or failed already."""

    name: str
    signer: str
    username: str
    groups: tuple[str, ...]
    usages: tuple[str, ...]
    decided: bool
    pem: bytes = field(repr=False)
    resource_version: str = ""

    @cached_property
    def machines(self) -> frozenset[str]:
        """Names of machines it speaks of: by who asks, by what for. Never a proof. Read once: it means parsing what is asked for."""
        named = {group.removeprefix(TOKEN_GROUP) for group in self.groups if group.startswith(TOKEN_GROUP)}
        named |= {name.removeprefix(_NODE) for name in (self.username, *_common_names(self.pem)) if name.startswith(_NODE)}
        return frozenset(named)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who may ask for a machine's certificates. `token_user`: `system:bootstrap:<id>` of its live token, or empty."""

    name: str
    address: str
    token_user: str


def request_of(manifest: Mapping[str, Any]) -> CertificateRequest:
    """The facts of a CertificateSigningRequest manifest."""
    spec, conditions = manifest["spec"], (manifest.get("status") or {}).get("conditions") or ()
    try:
        pem = b64decode(spec.get("request") or "", validate=True)
    except (binascii.Error, ValueError):
        pem = b""
    return CertificateRequest(
        manifest["metadata"]["name"],
        spec.get("signerName", ""),
        spec.get("username", ""),
        tuple(spec.get("groups") or ()),
        tuple(spec.get("usages") or ()),
        bool(conditions),
        pem,
        manifest["metadata"].get("resourceVersion", ""),
    )


def why_not(request: CertificateRequest, identity: Identity) -> str:
    """Why this request is not approved for this machine; empty if it is exactly the machine's own."""
    if request.signer not in SIGNERS:
        return f"signer {request.signer} is none of the kubelet's"
    if problem := _requestor_problem(request, identity):
        return problem
    required, optional = _USAGES[request.signer]
    if not required <= set(request.usages) <= required | optional:
        return f"asks for usages {', '.join(request.usages)}"
    parsed = _parsed(request.pem)
    if isinstance(parsed, str):
        return parsed
    return _subject_problem(parsed, identity) or _names_problem(parsed, request.signer, identity)


def _requestor_problem(request: CertificateRequest, identity: Identity) -> str:
    if request.username == _NODE + identity.name and "system:nodes" in request.groups:
        return ""
    by_token = bool(identity.token_user) and request.username == identity.token_user and TOKEN_GROUP + identity.name in request.groups
    if by_token and request.signer == CLIENT_SIGNER:
        return ""
    return f"was asked for by {request.username}, which is not {identity.name}'s own identity"


def _parsed(pem: bytes) -> x509.CertificateSigningRequest | str:
    """The one request in the PEM text, its signature checked; or what is wrong with it."""
    if pem.count(b"-----BEGIN") != 1:
        return "does not hold exactly one request"
    try:
        parsed = x509.load_pem_x509_csr(pem)
        valid = parsed.is_signature_valid
    except (ValueError, TypeError, UnsupportedAlgorithm, InvalidSignature):
        return "cannot be read"
    return parsed if valid else "is not signed with its own key"


def _subject_problem(parsed: x509.CertificateSigningRequest, identity: Identity) -> str:
    wanted = {(NameOID.COMMON_NAME, _NODE + identity.name), (NameOID.ORGANIZATION_NAME, "system:nodes")}
    found = [(attribute.oid, attribute.value) for attribute in parsed.subject]
    if len(found) == len(wanted) and set(found) == wanted:
        return ""
    return f"is for {parsed.subject.rfc4514_string() or 'nobody'}, not for CN={_NODE}{identity.name}, O=system:nodes"


def _names_problem(parsed: x509.CertificateSigningRequest, signer: str, identity: Identity) -> str:
    if any(not isinstance(extension.value, x509.SubjectAlternativeName) for extension in parsed.extensions):
        return "asks for extensions beside names"
    names = [name for extension in parsed.extensions for name in extension.value]
    if signer == CLIENT_SIGNER:
        return "a client certificate carries no names or addresses" if names else ""
    if not names:
        return "a serving certificate needs a name or an address"
    foreign = [str(name.value) for name in names if not _is_own(name, identity)]
    return f"is for {', '.join(foreign)}, which the pool does not list for {identity.name}" if foreign else ""


def _is_own(name: x509.GeneralName, identity: Identity) -> bool:
    if isinstance(name, x509.DNSName):
        return name.value in (identity.name, identity.address)
    if isinstance(name, x509.IPAddress):
        return str(name.value) == _plain(identity.address)
    return False


def _plain(address: str) -> str:
    try:
        return str(ipaddress.ip_address(address))
    except ValueError:
        return ""


def _common_names(pem: bytes) -> list[str]:
    try:
        subject = x509.load_pem_x509_csr(pem).subject
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return []
    return [str(attribute.value) for attribute in subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
