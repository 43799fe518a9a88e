"""Only a machine's own certificate requests are approved; whatever is forged is not."""

from __future__ import annotations

import base64
import ipaddress
from functools import cache

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.domain.machine.certificates import CLIENT_SIGNER, SERVING_SIGNER, CertificateRequest, Identity, request_of, why_not

ME = Identity("m1", "10.0.0.1", "system:bootstrap:abc123")
TOKEN = ("system:bootstrap:abc123", ("system:bootstrappers", "system:bootstrappers:kok:m1", "system:authenticated"))
NODE = ("system:node:m1", ("system:nodes", "system:authenticated"))
CLIENT, SERVING = ("digital signature", "client auth"), ("digital signature", "server auth")


@cache
def key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def pem(
    common_names: tuple[str, ...], organizations: tuple[str, ...], names: tuple[str, ...] = (), *, extra: x509.ExtensionType | None = None
) -> bytes:
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, name) for name in organizations]
    attributes += [x509.NameAttribute(NameOID.COMMON_NAME, name) for name in common_names]
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(attributes))
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([_name(name) for name in names]), critical=False)
    if extra:
        builder = builder.add_extension(extra, critical=True)
    return builder.sign(key(), hashes.SHA256()).public_bytes(Encoding.PEM)


def _name(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.RFC822Name(text) if "@" in text else x509.DNSName(text)


def request(
    who: tuple[str, tuple[str, ...]] = TOKEN, signer: str = CLIENT_SIGNER, usages: tuple[str, ...] = CLIENT, text: bytes | None = None
) -> CertificateRequest:
    return CertificateRequest("csr-1", signer, *who, usages, False, pem(("system:node:m1",), ("system:nodes",)) if text is None else text)


OWN = pem(("system:node:m1",), ("system:nodes",))
SERVED = pem(("system:node:m1",), ("system:nodes",), ("m1", "10.0.0.1"))

APPROVED = [
    ("by its token", request()),
    ("renewed by the node", request(NODE)),
    ("RSA asks for key encipherment", request(usages=(*CLIENT, "key encipherment"))),
    ("serving", request(NODE, SERVING_SIGNER, SERVING, SERVED)),
]
REFUSED = [
    ("an admin", request(("jane", ("system:masters",))), "was asked for by jane"),
    ("another token", request(("system:bootstrap:zzz999", TOKEN[1])), "not m1's own identity"),
    ("token of another machine", request((TOKEN[0], ("system:bootstrappers", "system:bootstrappers:kok:m2"))), "not m1's own identity"),
    ("another node", request(("system:node:m2", NODE[1])), "not m1's own identity"),
    ("a user called like the node", request(("system:node:m1", ("system:authenticated",))), "not m1's own identity"),
    ("serving by token", request(TOKEN, SERVING_SIGNER, SERVING, SERVED), "not m1's own identity"),
    ("another signer", request(signer="example.com/x"), "none of the kubelet's"),
    ("server usage", request(usages=SERVING), "asks for usages"),
    ("any usage", request(usages=(*CLIENT, "any")), "asks for usages"),
    ("no usage", request(usages=()), "asks for usages"),
    ("another name", request(text=pem(("system:node:m2",), ("system:nodes",))), "not for CN=system:node:m1"),
    ("admins' group", request(text=pem(("system:node:m1",), ("system:masters",))), "not for CN=system:node:m1"),
    ("one more group", request(text=pem(("system:node:m1",), ("system:nodes", "system:masters"))), "not for CN=system:node:m1"),
    ("two names", request(text=pem(("system:node:m1", "system:node:m2"), ("system:nodes",))), "not for CN=system:node:m1"),
    ("the same twice", request(text=pem(("system:node:m1",), ("system:nodes", "system:nodes"))), "not for CN=system:node:m1"),
    ("client with addresses", request(text=SERVED), "no names or addresses"),
    ("serving without", request(NODE, SERVING_SIGNER, SERVING, OWN), "needs a name"),
    ("foreign address", request(NODE, SERVING_SIGNER, SERVING, pem(("system:node:m1",), ("system:nodes",), ("m1", "10.0.0.2"))), "10.0.0.2"),
    ("foreign name", request(NODE, SERVING_SIGNER, SERVING, pem(("system:node:m1",), ("system:nodes",), ("kubernetes.default",))), "kubernetes.default"),
    ("mail", request(NODE, SERVING_SIGNER, SERVING, pem(("system:node:m1",), ("system:nodes",), ("a@b.c",))), "a@b.c"),
    ("a CA", request(text=pem(("system:node:m1",), ("system:nodes",), extra=x509.BasicConstraints(True, None))), "extensions"),
    ("rubbish", request(text=b"-----BEGIN CERTIFICATE REQUEST-----\nxx\n-----END CERTIFICATE REQUEST-----\n"), "cannot be read"),
    ("empty", request(text=b""), "exactly one request"),
    ("two requests", request(text=OWN + pem(("system:node:m2",), ("system:nodes",))), "exactly one request"),
    ("broken signature", request(text=OWN.replace(OWN.splitlines()[-3], OWN.splitlines()[-3][::-1])), ""),
]  # fmt: skip


@pytest.mark.parametrize("made", [row[1] for row in APPROVED], ids=[row[0] for row in APPROVED])
def test_should_approve_a_machines_own_request(made: CertificateRequest) -> None:
    assert why_not(made, ME) == ""


@pytest.mark.parametrize(("made", "words"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_should_refuse_and_say_why(made: CertificateRequest, words: str) -> None:
    why = why_not(made, ME)
    assert why
    assert words in why


def test_should_approve_nothing_by_token_when_there_is_no_live_token() -> None:
    assert why_not(request(("", ())), Identity("m1", "10.0.0.1", ""))
    assert why_not(request(), Identity("m1", "10.0.0.1", ""))


NAMES = st.sampled_from(
    ["system:node:m1", "system:node:m2", "system:node:", "m1", "system:node:m1 ", "system:node:M1", "system:masters", "kubernetes-admin"]
)
GROUPS = st.sampled_from(["system:nodes", "system:masters", "system:nodes ", "kok:admins"])
SANS = st.sampled_from(["m1", "m2", "10.0.0.1", "10.0.0.2", "localhost", "127.0.0.1", "kubernetes"])
USERS = st.sampled_from(["system:node:m1", "system:node:m2", "system:bootstrap:abc123", "system:bootstrap:abc124", "jane", ""])
USER_GROUPS = st.sampled_from(
    ["system:nodes", "system:bootstrappers", "system:bootstrappers:kok:m1", "system:bootstrappers:kok:m2", "system:masters"]
)
USAGES = st.sampled_from(["digital signature", "client auth", "server auth", "key encipherment", "cert sign", "any"])


@settings(max_examples=150, deadline=None)
@given(
    st.lists(NAMES, max_size=2), st.lists(GROUPS, max_size=2), st.lists(SANS, max_size=3, unique=True), USERS,
    st.lists(USER_GROUPS, max_size=3), st.lists(USAGES, max_size=4, unique=True), st.sampled_from([CLIENT_SIGNER, SERVING_SIGNER, "other/signer"]),
)  # fmt: skip
def test_should_never_approve_a_forged_name(
    common: list[str], groups: list[str], sans: list[str], user: str, user_groups: list[str], usages: list[str], signer: str
) -> None:
    made = CertificateRequest("x", signer, user, tuple(user_groups), tuple(usages), False, pem(tuple(common), tuple(groups), tuple(sans)))
    if why_not(made, ME):
        return
    assert (common, groups) == (["system:node:m1"], ["system:nodes"])
    assert set(sans) <= {"m1", "10.0.0.1"}
    by_node = user == "system:node:m1" and "system:nodes" in user_groups
    by_token = user == "system:bootstrap:abc123" and "system:bootstrappers:kok:m1" in user_groups and signer == CLIENT_SIGNER
    assert by_node or by_token
    assert ("client auth" in usages) is (signer == CLIENT_SIGNER)
    assert not {"cert sign", "any"} & set(usages)


def test_should_find_the_machines_a_request_speaks_of() -> None:
    manifest = {
        "metadata": {"name": "c", "resourceVersion": "4"},
        "spec": {"signerName": CLIENT_SIGNER, "username": "jane", "groups": ["x"], "usages": [], "request": base64.b64encode(OWN).decode()},
        "status": {"conditions": [{"type": "Denied"}]},
    }
    found = request_of(manifest)
    assert found.machines == {"m1"}
    assert found.decided
    broken = request_of({**manifest, "spec": {**manifest["spec"], "request": "%%%"}})
    assert broken.machines == frozenset()
