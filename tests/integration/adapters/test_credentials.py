"""Who we are: kubeconfigs, token files that rotate, credential plugins, the pod's own service account. No private key touches a disk."""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path

import pytest
import yaml

from operators.adapters.kube import KubeClient
from operators.adapters.kube_credentials import (
    Credentials,
    TokenSource,
    in_cluster_credentials,
    kubeconfig_credentials,
    kubeconfig_file_credentials,
)
from operators.errors import ErrorCode, KokError
from operators.ports.kube import Kind, Subresource, Unauthorized

pytestmark = pytest.mark.integration


@pytest.fixture
async def robot_token(kube, namespace) -> str:
    """A token of service account `robot`."""
    ref = Kind("v1", "ServiceAccount").ref("robot", namespace)
    await kube.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "robot", "namespace": namespace}})
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 600}}
    return (await kube.create_subresource(ref, Subresource.Token, request))["status"]["token"]


async def user_of(credentials: Credentials) -> str:
    client = KubeClient(credentials, field_manager="test")
    try:
        review = await client.create({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"})
        return review["status"]["userInfo"]["username"]
    finally:
        await client.close()


def with_user(api_server, user: dict) -> str:
    config = yaml.safe_load(api_server.kubeconfig("nobody"))
    config["users"] = [{"name": "nobody", "user": user}]
    return yaml.safe_dump(config)


async def test_should_be_who_the_certificate_says(api_server):
    assert await user_of(kubeconfig_credentials(api_server.kubeconfig("jane", groups=["system:masters"]))) == "jane"


async def test_should_find_files_beside_the_kubeconfig(api_server, tmp_path):
    config = yaml.safe_load(api_server.kubeconfig("jane"))
    user, cluster = config["users"][0]["user"], config["clusters"][0]["cluster"]
    for section, field in ((user, "client-certificate"), (user, "client-key"), (cluster, "certificate-authority")):
        (tmp_path / field).write_bytes(base64.b64decode(section.pop(f"{field}-data")))
        section[field] = field
    (tmp_path / "config").write_text(yaml.safe_dump(config))
    assert await user_of(kubeconfig_file_credentials(tmp_path / "config")) == "jane"


async def test_should_use_the_context_that_is_named(api_server):
    config = yaml.safe_load(api_server.kubeconfig("jane"))
    config["contexts"][0]["name"], config["current-context"] = "other", "missing"
    assert await user_of(kubeconfig_credentials(yaml.safe_dump(config), context="other")) == "jane"


async def test_should_leave_no_key_in_a_file(api_server, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    await user_of(kubeconfig_credentials(api_server.kubeconfig("jane")))
    assert list(tmp_path.iterdir()) == []


def test_should_not_show_secrets_when_printed(api_server):
    credentials = kubeconfig_credentials(api_server.kubeconfig("jane"))
    assert "PRIVATE KEY" in credentials.key_pem
    assert "PRIVATE KEY" not in repr(credentials)


async def test_should_ask_a_plugin_for_the_token(api_server, robot_token, namespace, tmp_path):
    answer = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": robot_token}}
    plugin = {
        "apiVersion": answer["apiVersion"],
        "command": sys.executable,
        "args": ["-c", "import os; assert 'ExecCredential' in os.environ['KUBERNETES_EXEC_INFO']; print(os.environ['ANSWER'])"],
        "env": [{"name": "ANSWER", "value": json.dumps(answer)}],
    }
    credentials = kubeconfig_credentials(with_user(api_server, {"exec": plugin}))
    assert await user_of(credentials) == f"system:serviceaccount:{namespace}:robot"


@pytest.mark.parametrize(
    ("code", "words"), [("import sys; sys.exit('log in first')", "log in first"), ("print('{}')", "no token"), ("", "no token")]
)
async def test_should_say_why_a_plugin_gave_nothing(code, words):
    source = TokenSource(Credentials("https://s", exec={"command": sys.executable, "args": ["-c", code]}))
    with pytest.raises(Unauthorized, match=words):
        await source.token()


async def test_should_read_a_rotated_token_when_the_old_one_is_refused(api_server, robot_token, namespace, tmp_path):
    (tmp_path / "token").write_text("worn out")
    credentials = kubeconfig_credentials(with_user(api_server, {"tokenFile": "token"}), base=tmp_path)
    client = KubeClient(credentials, field_manager="test")
    with pytest.raises(Unauthorized):
        await client.create({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"})
    (tmp_path / "token").write_text(robot_token)
    review = await client.create({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"})
    assert review["status"]["userInfo"]["username"] == f"system:serviceaccount:{namespace}:robot"
    await client.close()


async def test_should_be_the_service_account_of_its_pod(api_server, robot_token, namespace, tmp_path, monkeypatch):
    for name, text in {"token": robot_token, "ca.crt": api_server.authority.pem, "namespace": namespace}.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(api_server.port))
    credentials = in_cluster_credentials(tmp_path)
    assert credentials.namespace == namespace
    assert await user_of(credentials) == f"system:serviceaccount:{namespace}:robot"


def test_should_say_what_to_give_outside_a_pod(monkeypatch):
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(KokError) as caught:
        in_cluster_credentials(Path("/nowhere"))
    assert (caught.value.code, "--kubeconfig" in caught.value.hint) == (ErrorCode.Usage, True)


def test_should_say_that_the_file_is_not_there(tmp_path):
    with pytest.raises(KokError, match="there is no kubeconfig"):
        kubeconfig_file_credentials(tmp_path / "missing")


async def test_should_verify_the_server_by_the_name_it_is_told(api_server):
    config = yaml.safe_load(api_server.kubeconfig("jane"))
    config["clusters"][0]["cluster"]["tls-server-name"] = "kubernetes"
    assert await user_of(kubeconfig_credentials(yaml.safe_dump(config))) == "jane"
    config["clusters"][0]["cluster"]["tls-server-name"] = "elsewhere"
    with pytest.raises(KokError, match="Hostname mismatch"):
        await user_of(kubeconfig_credentials(yaml.safe_dump(config)))
