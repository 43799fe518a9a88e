"""X.509 as kok writes it: a CA, a leaf, and how a leaf differs from its specification. Knows no Secrets; called by `services.pki`.

Extensions follow RFC 5280: a CA may sign certificates only, a leaf is no CA, and key identifiers tie them together.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeVar

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from operators.domain.plane.certificates import LeafSpec, Usage

Certificate = x509.Certificate
Validity = tuple[datetime, datetime]
BACKDATED = timedelta(minutes=5)
"""Clocks of meta nodes and hosts differ a little."""
Value = TypeVar("Value", bound=x509.ExtensionType)
_OIDS = {Usage.Client: ExtendedKeyUsageOID.CLIENT_AUTH, Usage.Server: ExtendedKeyUsageOID.SERVER_AUTH}


@dataclass(frozen=True, slots=True)
class Signer:
    """A CA that can sign."""

    certificate: Certificate
    key: ec.EllipticCurvePrivateKey = field(repr=False)


def load(pem: bytes) -> Certificate:
    """The certificate in a PEM. Raises ValueError."""
    return x509.load_pem_x509_certificate(pem)


def new_ca(common_name: str, key: ec.EllipticCurvePrivateKey, start: datetime, end: datetime) -> Certificate:
    """A self-signed CA that signs leaves only."""
    subject, public = _name(common_name, ""), key.public_key()
    usage = _key_usage(signature=True, certificates=True)
    builder = _builder(subject, subject, public, (start, end))
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(usage, critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    return builder.sign(key, hashes.SHA256())


def new_leaf(spec: LeafSpec, public: ec.EllipticCurvePublicKey, signer: Signer, validity: Validity) -> Certificate:
    """A leaf as specified."""
    builder = _builder(_name(spec.common_name, spec.organisation), signer.certificate.subject, public, validity)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_key_usage(signature=True, certificates=False), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([_OIDS[usage] for usage in spec.usages]), critical=False)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    authority = signer.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    builder = builder.add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(authority), critical=False)
    if alternatives := _alternatives(spec):
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    return builder.sign(signer.key, hashes.SHA256())


def difference(certificate: Certificate, spec: LeafSpec) -> str | None:
    """What of a certificate is not as specified, in words; None if nothing."""
    if certificate.subject != _name(spec.common_name, spec.organisation):
        return f"its subject is {certificate.subject.rfc4514_string()[:200]}"
    found = _extension(certificate, x509.SubjectAlternativeName)
    if set(found or ()) != set(_alternatives(spec)):
        return f"its names are not {', '.join((*spec.dns_names, *spec.ip_addresses)) or 'empty'}"
    usages = _extension(certificate, x509.ExtendedKeyUsage)
    if set(usages or ()) != {_OIDS[usage] for usage in spec.usages}:
        return f"its usages are not {', '.join(spec.usages)}"
    return None


def _builder(subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey, validity: Validity) -> x509.CertificateBuilder:
    start, end = validity
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(public)
    return builder.serial_number(x509.random_serial_number()).not_valid_before(start - BACKDATED).not_valid_after(end)


def _name(common_name: str, organisation: str) -> x509.Name:
    parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation)] if organisation else []
    return x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _alternatives(spec: LeafSpec) -> list[x509.GeneralName]:
    names: list[x509.GeneralName] = [x509.DNSName(name) for name in spec.dns_names]
    return names + [x509.IPAddress(ipaddress.ip_address(address)) for address in spec.ip_addresses]


def _extension(certificate: Certificate, kind: type[Value]) -> Value | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except (x509.ExtensionNotFound, ValueError):
        return None


def _key_usage(*, signature: bool, certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=certificates,
        crl_sign=certificates,
        encipher_only=False,
        decipher_only=False,
    )
