"""Makes and judges keys and certificates (ECDSA P-256, `cryptography`). No I/O, but slow (milliseconds): callers run it off the loop.

Key material goes in and out as Secret data (base64 text, as the API shows it); nothing here logs it or puts it into an error.
Called by cluster_operator.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from operators.domain.plane.certificates import LeafForm, LeafSpec, RootForm, RootSpec
from operators.errors import ErrorCode, KokError
from operators.services import pki_certificates as certificates
from operators.services.pki_certificates import Certificate

SecretData = Mapping[str, str]

CA_LIFE = timedelta(days=3650)
LEAF_LIFE = timedelta(days=365)
RENEW_AFTER = 2 / 3
"""Part of a leaf's life after which it is issued anew."""


@dataclass(frozen=True, slots=True)
class Issued:
    """The data of a new Secret."""

    type: str
    """The Secret's type."""
    data: SecretData = field(repr=False)
    """Key -> base64 text."""


class Unusable(Exception):
    """Why a Secret's content cannot be used, in words without content."""


def new_root(spec: RootSpec, now: datetime) -> Issued:
    """A new CA (10 years) or key pair."""
    key = ec.generate_private_key(ec.SECP256R1())
    if spec.form is RootForm.KeyPair:
        return Issued("Opaque", _encoded({"sa.pub": _public_pem(key), "sa.key": _key_pem(key)}))
    certificate = certificates.new_ca(spec.common_name, key, now, now + CA_LIFE)
    return Issued("kubernetes.io/tls", _encoded({"tls.crt": _certificate_pem(certificate), "tls.key": _key_pem(key)}))


def issue_leaf(spec: LeafSpec, ca: SecretData, now: datetime) -> Issued:
    """A new key with a certificate of one year, signed by `ca` (data of the signer's Secret).

    Raises KokError SecretInvalid if `ca` is unusable.
    """
    try:
        ca_certificate, ca_key = _pair_of(ca)
    except Unusable as fault:
        raise KokError(ErrorCode.SecretInvalid, f"Secret {spec.signer} cannot sign: {fault}", f"restore Secret {spec.signer}") from None
    key = ec.generate_private_key(ec.SECP256R1())
    life_end = min(now + LEAF_LIFE, ca_certificate.not_valid_after_utc)
    signer = certificates.Signer(ca_certificate, ca_key)
    certificate = certificates.new_leaf(spec, key.public_key(), signer, (now, life_end))
    pems = {"tls.crt": _certificate_pem(certificate), "tls.key": _key_pem(key), "ca.crt": _certificate_pem(ca_certificate)}
    if spec.form is LeafForm.Kubeconfig:
        return Issued("Opaque", _encoded({"kubeconfig": _kubeconfig(spec, pems)}))
    return Issued("kubernetes.io/tls", _encoded(pems))


def root_fault(data: SecretData | None, spec: RootSpec) -> str | None:
    """Why a root Secret cannot be used (missing, emptied, unparsable, key and certificate do not match), in words; None when it is sound."""
    if data is None:
        return "it is missing"
    try:
        if spec.form is RootForm.CA:
            _pair_of(data)
        elif _key_of(data, "sa.key").public_key() != _public_of(data):
            return "sa.pub does not belong to sa.key"
    except Unusable as fault:
        return str(fault)
    return None


def leaf_fault(data: SecretData | None, spec: LeafSpec, ca: SecretData, now: datetime) -> str | None:
    """Why a leaf must be issued anew (missing, emptied, unparsable, other signer, other names, past 2/3 of its life), in words.

    None when it is sound. `ca` must be sound itself (`root_fault`); if it is not, that is the fault.
    """
    if data is None:
        return "it is missing"
    try:
        ca_certificate, _ = _pair_of(ca)
        pems = _pems_of(data, spec)
        certificate, _ = _pair_of(pems)
        if _certificate_of(pems, "ca.crt") != ca_certificate:
            return f"its ca.crt is not the certificate of {spec.signer}"
    except Unusable as fault:
        return str(fault)
    return _mismatch(certificate, spec, ca_certificate, now)


def _mismatch(certificate: Certificate, spec: LeafSpec, ca: Certificate, now: datetime) -> str | None:
    try:
        certificate.verify_directly_issued_by(ca)
    except (InvalidSignature, ValueError, TypeError):
        return f"it was not signed by {spec.signer}"
    if difference := certificates.difference(certificate, spec):
        return difference
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now >= end:
        return f"it expired on {end:%Y-%m-%d}"
    if now >= start + (end - start) * RENEW_AFTER:
        return f"two thirds of its life are over (it ends on {end:%Y-%m-%d})"
    return None


def _pems_of(data: SecretData, spec: LeafSpec) -> SecretData:
    """tls.crt, tls.key and ca.crt of a leaf Secret in either form."""
    if spec.form is LeafForm.TLS:
        return data
    try:
        config = json.loads(_decoded(data, "kubeconfig"))
        user, cluster = config["users"][0]["user"], config["clusters"][0]["cluster"]
        pems = {
            "tls.crt": user["client-certificate-data"],
            "tls.key": user["client-key-data"],
            "ca.crt": cluster["certificate-authority-data"],
        }
        server = cluster["server"]
    except (ValueError, KeyError, IndexError, TypeError):
        raise Unusable("its kubeconfig is not as kok writes it") from None
    if server != spec.server:
        raise Unusable(f"its server is {str(server)[:300]}, not {spec.server}")
    if config != json.loads(_kubeconfig_of(spec, pems)):
        raise Unusable("its kubeconfig is not as kok writes it")
    return pems


def _kubeconfig(spec: LeafSpec, pems: Mapping[str, bytes]) -> bytes:
    return _kubeconfig_of(spec, {name: base64.b64encode(pem).decode() for name, pem in pems.items()}).encode()


def _kubeconfig_of(spec: LeafSpec, pems: SecretData) -> str:
    """A kubeconfig as JSON (which is YAML), so that reading it back needs no YAML parser."""
    cluster = {"certificate-authority-data": pems["ca.crt"], "server": spec.server}
    user = {"client-certificate-data": pems["tls.crt"], "client-key-data": pems["tls.key"]}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": spec.user, "cluster": cluster}],
        "users": [{"name": spec.user, "user": user}],
        "contexts": [{"name": spec.user, "context": {"cluster": spec.user, "user": spec.user}}],
        "current-context": spec.user,
    }
    return json.dumps(config, indent=1) + "\n"


def _pair_of(data: SecretData) -> tuple[Certificate, ec.EllipticCurvePrivateKey]:
    certificate, key = _certificate_of(data, "tls.crt"), _key_of(data, "tls.key")
    if certificate.public_key() != key.public_key():
        raise Unusable("tls.key does not belong to tls.crt")
    return certificate, key


def _certificate_of(data: SecretData, name: str) -> Certificate:
    try:
        return certificates.load(_decoded(data, name))
    except ValueError:
        raise Unusable(f"{name} is not a certificate") from None


def _key_of(data: SecretData, name: str) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(_decoded(data, name), password=None)
    except (ValueError, TypeError):
        raise Unusable(f"{name} is not a private key") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise Unusable(f"{name} is not an ECDSA key")
    return key


def _public_of(data: SecretData) -> object:
    try:
        return serialization.load_pem_public_key(_decoded(data, "sa.pub"))
    except ValueError:
        raise Unusable("sa.pub is not a public key") from None


def _decoded(data: SecretData, name: str) -> bytes:
    try:
        content = base64.b64decode(data.get(name) or "", validate=True)
    except (binascii.Error, ValueError):
        raise Unusable(f"{name} is not base64") from None
    if not content.strip():
        raise Unusable(f"{name} is empty")
    return content


def _encoded(pems: Mapping[str, bytes]) -> SecretData:
    return {name: base64.b64encode(pem).decode() for name, pem in pems.items()}


def _certificate_pem(certificate: Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """`EC PRIVATE KEY`: kube-apiserver reads a service account key of this kind in no other form."""
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption())


def _public_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
