"""Keys and certificates: what is issued verifies, and every way a Secret can be wrong is noticed in words that hold no key."""

from __future__ import annotations

import base64
import json
import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.verification import PolicyBuilder, Store

from operators.domain.plane.certificates import LeafForm, LeafSpec, RootForm, RootSpec, Usage
from operators.errors import ErrorCode, KokError
from operators.services.pki import SecretData, issue_leaf, leaf_fault, new_root, root_fault

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
CA = RootSpec("demo-ca", RootForm.CA, "kok demo/demo", "apiserver")
PAIR = RootSpec("demo-service-account", RootForm.KeyPair, "", "apiserver")
SERVING = LeafSpec(
    "demo-apiserver-tls",
    LeafForm.TLS,
    "apiserver",
    "demo-ca",
    "kube-apiserver",
    dns_names=("kubernetes", "*.demo-etcd-peer.demo.svc"),
    ip_addresses=("10.97.0.1",),
    usages=(Usage.Server,),
)
CLIENT = LeafSpec("demo-client", LeafForm.TLS, "apiserver", "demo-ca", "kok:admin", "kok:admins")
KUBECONFIG = LeafSpec(
    "demo-kubeconfig", LeafForm.Kubeconfig, "apiserver", "demo-ca", "kok:admin", "kok:admins", server="https://10.89.0.2:31443", user="demo"
)


@pytest.fixture(scope="module")
def ca() -> SecretData:
    return new_root(CA, NOW).data


@pytest.fixture(scope="module")
def other_ca() -> SecretData:
    return new_root(CA, NOW).data


def pem(data: SecretData, key: str) -> bytes:
    return base64.b64decode(data[key])


def text64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def certificate(data: SecretData, key: str = "tls.crt") -> x509.Certificate:
    return x509.load_pem_x509_certificate(pem(data, key))


def test_should_make_a_ca_that_signs_leaves_only(ca: SecretData) -> None:
    issued = certificate(ca)
    constraints = issued.extensions.get_extension_for_class(x509.BasicConstraints)

    assert constraints.critical
    assert (constraints.value.ca, constraints.value.path_length) == (True, 0)
    assert issued.not_valid_after_utc == NOW + timedelta(days=3650)
    assert root_fault(ca, CA) is None


def test_should_issue_a_server_certificate_that_verifies_for_its_names(ca: SecretData) -> None:
    issued = issue_leaf(SERVING, ca, NOW)
    assert issued.type == "kubernetes.io/tls"
    verifier = PolicyBuilder().store(Store([certificate(ca)])).time(NOW + timedelta(days=1))

    for name in (x509.DNSName("kubernetes"), x509.DNSName("demo-etcd-0.demo-etcd-peer.demo.svc")):
        assert len(verifier.build_server_verifier(name).verify(certificate(issued.data), [])) == 2
    with pytest.raises(x509.verification.VerificationError):
        verifier.build_server_verifier(x509.DNSName("elsewhere")).verify(certificate(issued.data), [])


@pytest.mark.parametrize(
    ("spec", "purpose", "verifies"), [(SERVING, "sslserver", True), (SERVING, "sslclient", False), (CLIENT, "sslclient", True)]
)
def test_should_satisfy_openssl_for_its_purpose_only(ca: SecretData, tmp_path: Path, spec: LeafSpec, purpose: str, verifies: bool) -> None:
    (tmp_path / "ca.crt").write_bytes(pem(ca, "tls.crt"))
    (tmp_path / "tls.crt").write_bytes(pem(issue_leaf(spec, ca, NOW).data, "tls.crt"))
    at = str(int((NOW + timedelta(days=30)).timestamp()))
    command = [
        "openssl",
        "verify",
        "-x509_strict",
        "-attime",
        at,
        "-purpose",
        purpose,
        "-CAfile",
        tmp_path / "ca.crt",
        tmp_path / "tls.crt",
    ]

    done = subprocess.run(command, capture_output=True, text=True)

    assert (done.returncode == 0) is verifies, done.stdout + done.stderr


def test_should_name_user_and_group_in_a_client_certificate(ca: SecretData) -> None:
    subject = certificate(issue_leaf(CLIENT, ca, NOW).data).subject.rfc4514_string()

    assert subject == "CN=kok:admin,O=kok:admins"


def test_should_write_a_kubeconfig_with_everything_in_it(ca: SecretData) -> None:
    issued = issue_leaf(KUBECONFIG, ca, NOW)
    config = json.loads(pem(issued.data, "kubeconfig"))

    assert config["current-context"] == "demo"
    assert config["clusters"][0]["cluster"]["server"] == "https://10.89.0.2:31443"
    assert base64.b64decode(config["clusters"][0]["cluster"]["certificate-authority-data"]) == pem(ca, "tls.crt")
    assert set(config["users"][0]["user"]) == {"client-certificate-data", "client-key-data"}


def test_should_write_keys_in_the_only_form_the_apiserver_reads() -> None:
    data = new_root(PAIR, NOW).data

    assert pem(data, "sa.key").startswith(b"-----BEGIN EC PRIVATE KEY-----")
    assert pem(data, "sa.pub").startswith(b"-----BEGIN PUBLIC KEY-----")
    assert root_fault(data, PAIR) is None


def test_should_not_outlive_its_ca(ca: SecretData) -> None:
    late = NOW + timedelta(days=3600)

    assert certificate(issue_leaf(CLIENT, ca, late).data).not_valid_after_utc == certificate(ca).not_valid_after_utc


@pytest.mark.parametrize("spec", [SERVING, CLIENT, KUBECONFIG])
def test_should_find_no_fault_in_what_it_issued(ca: SecretData, spec: LeafSpec) -> None:
    data = issue_leaf(spec, ca, NOW).data

    assert leaf_fault(data, spec, ca, NOW) is None
    assert leaf_fault(data, spec, ca, NOW + timedelta(days=242)) is None


@pytest.mark.parametrize("spec", [SERVING, KUBECONFIG])
def test_should_renew_after_two_thirds_of_its_life(ca: SecretData, spec: LeafSpec) -> None:
    data = issue_leaf(spec, ca, NOW).data

    assert "two thirds" in str(leaf_fault(data, spec, ca, NOW + timedelta(days=244)))
    assert "expired" in str(leaf_fault(data, spec, ca, NOW + timedelta(days=366)))


@pytest.mark.parametrize(
    ("key", "content", "words"),
    [
        ("tls.crt", "", "tls.crt is empty"),
        ("tls.key", "", "tls.key is empty"),
        ("ca.crt", "", "ca.crt is empty"),
        ("tls.crt", "%%%", "tls.crt is not base64"),
        ("tls.crt", text64(b"hello"), "tls.crt is not a certificate"),
        ("tls.key", text64(b"hello"), "tls.key is not a private key"),
        ("ca.crt", text64(b"hello"), "ca.crt is not a certificate"),
    ],
)
def test_should_say_what_is_wrong_with_a_damaged_leaf(ca: SecretData, key: str, content: str, words: str) -> None:
    data = {**issue_leaf(SERVING, ca, NOW).data, key: content}

    assert leaf_fault(data, SERVING, ca, NOW) == words


@pytest.mark.parametrize("data", [{}, {"kubeconfig": ""}, {"kubeconfig": text64(b"{}")}, {"kubeconfig": text64(b"a: [")}])
def test_should_say_what_is_wrong_with_a_damaged_kubeconfig(ca: SecretData, data: SecretData) -> None:
    assert leaf_fault(data, KUBECONFIG, ca, NOW)


def test_should_notice_an_edited_kubeconfig(ca: SecretData) -> None:
    config = json.loads(pem(issue_leaf(KUBECONFIG, ca, NOW).data, "kubeconfig"))
    config["clusters"][0]["cluster"]["insecure-skip-tls-verify"] = True

    fault = leaf_fault({"kubeconfig": text64(json.dumps(config).encode())}, KUBECONFIG, ca, NOW)

    assert fault == "its kubeconfig is not as kok writes it"


def test_should_notice_another_server_in_a_kubeconfig(ca: SecretData) -> None:
    data = issue_leaf(KUBECONFIG, ca, NOW).data

    assert "its server is https://10.89.0.2:31443" in str(leaf_fault(data, replace(KUBECONFIG, server="https://other:1"), ca, NOW))


def test_should_notice_a_missing_leaf(ca: SecretData) -> None:
    assert leaf_fault(None, SERVING, ca, NOW) == "it is missing"
    assert leaf_fault({}, SERVING, ca, NOW) == "tls.crt is empty"


def test_should_notice_a_leaf_of_another_ca(ca: SecretData, other_ca: SecretData) -> None:
    foreign = issue_leaf(SERVING, other_ca, NOW).data

    assert leaf_fault(foreign, SERVING, ca, NOW) == "its ca.crt is not the certificate of demo-ca"
    assert leaf_fault({**foreign, "ca.crt": ca["tls.crt"]}, SERVING, ca, NOW) == "it was not signed by demo-ca"


def test_should_notice_other_names_subject_and_usages(ca: SecretData) -> None:
    data = issue_leaf(SERVING, ca, NOW).data

    assert "its names" in str(leaf_fault(data, replace(SERVING, dns_names=("kubernetes",)), ca, NOW))
    assert "its names" in str(leaf_fault(data, replace(SERVING, ip_addresses=("10.97.0.2",)), ca, NOW))
    assert "its subject" in str(leaf_fault(data, replace(SERVING, common_name="somebody"), ca, NOW))
    assert "its usages" in str(leaf_fault(data, replace(SERVING, usages=(Usage.Client,)), ca, NOW))


def test_should_notice_a_key_of_another_certificate(ca: SecretData) -> None:
    one, other = (issue_leaf(SERVING, ca, NOW).data for _ in range(2))

    assert leaf_fault({**one, "tls.key": other["tls.key"]}, SERVING, ca, NOW) == "tls.key does not belong to tls.crt"


@pytest.mark.parametrize(
    ("data", "words"),
    [(None, "it is missing"), ({}, "tls.crt is empty"), ({"tls.crt": "", "tls.key": ""}, "tls.crt is empty")],
)
def test_should_say_what_is_wrong_with_a_ca(data: SecretData | None, words: str) -> None:
    assert root_fault(data, CA) == words


def test_should_notice_a_key_pair_that_does_not_match() -> None:
    one, other = (new_root(PAIR, NOW).data for _ in range(2))

    assert root_fault({"sa.key": one["sa.key"], "sa.pub": other["sa.pub"]}, PAIR) == "sa.pub does not belong to sa.key"


def test_should_not_sign_with_a_damaged_ca(ca: SecretData) -> None:
    with pytest.raises(KokError) as caught:
        issue_leaf(SERVING, {**ca, "tls.key": ""}, NOW)

    assert caught.value.code is ErrorCode.SecretInvalid
    assert "demo-ca" in caught.value.message


def test_should_not_take_an_rsa_key(ca: SecretData) -> None:
    key = rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )

    assert leaf_fault({**issue_leaf(SERVING, ca, NOW).data, "tls.key": text64(key)}, SERVING, ca, NOW) == "tls.key is not an ECDSA key"


def test_should_show_no_key_in_its_repr_or_errors(ca: SecretData) -> None:
    issued = issue_leaf(KUBECONFIG, ca, NOW)

    assert "kubeconfig" not in repr(issued)
    with pytest.raises(KokError) as caught:
        issue_leaf(SERVING, {**ca, "tls.crt": text64(b"SECRET-CONTENT")}, NOW)
    assert "SECRET-CONTENT" not in f"{caught.value} {caught.value.__cause__} {caught.value.__context__}"
