"""The verbs of KubePort and their errors, against a real API server."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from operators.adapters.kube import KubeClient
from operators.adapters.kube_connector import BusinessClusters
from operators.adapters.kube_credentials import Credentials, kubeconfig_credentials
from operators.errors import ErrorCode, KokError
from operators.ports.kube import (
    AlreadyExists,
    Conflict,
    DeadlineExceeded,
    Forbidden,
    Invalid,
    Kind,
    NotFound,
    Preconditions,
    Ref,
    Subresource,
    TooManyRequests,
    Unauthorized,
    Unreachable,
    Untrusted,
    WatchEventType,
    WatchExpired,
)

pytestmark = pytest.mark.integration

CONFIG_MAP, SECRET = Kind("v1", "ConfigMap"), Kind("v1", "Secret")


def config_map(namespace: str, name: str = "one", **data: str) -> dict:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace}, "data": data}


def pod(namespace: str, name: str, **labels: str) -> dict:
    metadata = {"name": name, "namespace": namespace, "labels": labels}
    spec = {"containers": [{"name": "c", "image": "i"}], "automountServiceAccountToken": False}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


async def test_should_read_back_what_was_applied(kube, namespace):
    ref = CONFIG_MAP.ref("one", namespace)
    assert await kube.get(ref) is None
    made = await kube.apply(config_map(namespace, a="1"))
    assert (await kube.get(ref))["metadata"]["uid"] == made["metadata"]["uid"]


async def test_should_give_up_a_field_that_the_intent_leaves_out(kube, namespace):
    await kube.apply(config_map(namespace, a="1", b="2"))
    assert (await kube.apply(config_map(namespace, a="1")))["data"] == {"a": "1"}


async def test_should_change_nothing_when_the_same_is_applied_again(kube, namespace):
    first = await kube.apply(config_map(namespace, a="1"))
    assert (await kube.apply(config_map(namespace, a="1")))["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


async def test_should_take_a_field_back_from_whoever_changed_it(kube, kube_as, namespace):
    await kube.apply(config_map(namespace, a="1"))
    await kube_as("test-admin", "system:masters", field_manager="somebody").apply(config_map(namespace, a="2"))
    assert (await kube.apply(config_map(namespace, a="1")))["data"] == {"a": "1"}


async def test_should_let_one_of_two_creates_win(kube, namespace):
    results = await asyncio.gather(*(kube.create(config_map(namespace)) for _ in range(5)), return_exceptions=True)
    assert sorted(type(result).__name__ for result in results) == ["AlreadyExists"] * 4 + ["dict"]
    with pytest.raises(AlreadyExists) as caught:
        await kube.create(config_map(namespace))
    assert caught.value.code is ErrorCode.AlreadyExists


@pytest.mark.parametrize("patch", [{"data": {"a": "mine"}}, [{"op": "replace", "path": "/data/a", "value": "mine"}]])
async def test_should_compare_and_swap(kube, namespace, patch):
    ref, before = CONFIG_MAP.ref("one", namespace), await kube.apply(config_map(namespace, a="1"))
    version = before["metadata"]["resourceVersion"]
    assert (await kube.patch_json(ref, patch, resource_version=version))["data"] == {"a": "mine"}
    with pytest.raises(Conflict):
        await kube.patch_json(ref, patch, resource_version=version)
    assert (await kube.get(ref))["data"] == {"a": "mine"}


async def test_should_apply_only_to_the_version_it_names(kube, namespace):
    before = await kube.apply(config_map(namespace, a="1"))
    await kube.apply(config_map(namespace, a="2"))
    stale = config_map(namespace, a="3")
    stale["metadata"]["resourceVersion"] = before["metadata"]["resourceVersion"]
    with pytest.raises(Conflict):
        await kube.apply(stale)


async def test_should_write_status_and_nothing_else(kube, namespace):
    await kube.create(pod(namespace, "p"))
    condition = {"type": "Ready", "status": "True", "lastTransitionTime": "2030-01-01T00:00:00Z"}
    ref = Ref("v1", "Pod", namespace, "p")
    done = await kube.patch_status(ref, {"phase": "Running", "conditions": [condition]})
    assert done["status"]["phase"] == "Running"
    assert (await kube.patch_status(ref, {"phase": "Running"}))["status"].get("conditions") is None
    with pytest.raises(NotFound):
        await kube.patch_status(Ref("v1", "Pod", namespace, "nobody"), {"phase": "Running"})


async def test_should_page_through_long_lists_at_one_version(kube, namespace, monkeypatch):
    monkeypatch.setattr("operators.adapters.kube.PAGE", 3)
    for number in range(8):
        await kube.create(pod(namespace, f"p-{number}"))
    listing = await kube.list(Kind("v1", "Pod"), namespace=namespace)
    assert [item["metadata"]["name"] for item in listing.items] == [f"p-{number}" for number in range(8)]
    assert {(item["kind"], item["apiVersion"]) for item in listing.items} == {("Pod", "v1")}
    assert int(listing.resource_version) > 0


async def test_should_list_by_label(kube, namespace):
    await kube.create(pod(namespace, "p1", app="a"))
    await kube.create(pod(namespace, "p2", app="b"))
    listing = await kube.list(Kind("v1", "Pod"), namespace=namespace, selector="app=b")
    assert [item["metadata"]["name"] for item in listing.items] == ["p2"]


async def test_should_delete_once_and_only_what_was_meant(kube, namespace):
    ref, made = CONFIG_MAP.ref("one", namespace), await kube.apply(config_map(namespace))
    with pytest.raises(Conflict):
        await kube.delete(ref, preconditions=Preconditions(uid="another"))
    with pytest.raises(Conflict):
        await kube.delete(ref, preconditions=Preconditions(resource_version="1"))
    uid = made["metadata"]["uid"]
    assert await kube.delete(ref, preconditions=Preconditions(uid=uid)) is True
    assert await kube.delete(ref) is False


async def test_should_tell_that_a_budget_refuses_an_eviction(kube, namespace):
    await kube.create(pod(namespace, "p", app="a"))
    await kube.patch_status(Ref("v1", "Pod", namespace, "p"), {"phase": "Running"})
    budget = {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "b", "namespace": namespace}}
    await kube.create({**budget, "spec": {"maxUnavailable": 0, "selector": {"matchLabels": {"app": "a"}}}})
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p", "namespace": namespace}}
    with pytest.raises(TooManyRequests) as caught:
        await kube.create_subresource(Ref("v1", "Pod", namespace, "p"), Subresource.Eviction, eviction)
    assert caught.value.disruption_budget
    await kube.delete(Ref("policy/v1", "PodDisruptionBudget", namespace, "b"))
    await kube.create_subresource(Ref("v1", "Pod", namespace, "p"), Subresource.Eviction, eviction)
    left = await kube.get(Ref("v1", "Pod", namespace, "p"))
    assert left is None or left["metadata"].get("deletionTimestamp")


async def test_should_issue_a_token_for_a_service_account(kube, namespace):
    ref = Ref("v1", "ServiceAccount", namespace, "robot")
    await kube.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "robot", "namespace": namespace}})
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 600}}
    token = (await kube.create_subresource(ref, Subresource.Token, request))["status"]["token"]
    robot = KubeClient(Credentials(kube.server, ca_pem=kube._transport.credentials.ca_pem, token=token), field_manager="robot")
    review = await robot.create({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"})
    assert review["status"]["userInfo"]["username"] == f"system:serviceaccount:{namespace}:robot"
    await robot.close()


async def test_should_find_kinds_that_were_defined_after_it_started(kube):
    lamp = Kind("test.kok.dev/v1", "Lamp")
    with pytest.raises(NotFound, match="no kind Lamp"):
        await kube.list(lamp)
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    await kube.create(
        {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": "lampen.test.kok.dev"},
            "spec": {
                "group": "test.kok.dev",
                "scope": "Cluster",
                "names": {"kind": "Lamp", "plural": "lampen"},
                "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}],
            },
        }
    )
    made = None
    for _ in range(100):
        with contextlib.suppress(NotFound):
            made = await kube.apply({"apiVersion": "test.kok.dev/v1", "kind": "Lamp", "metadata": {"name": "l"}})
            break
        await asyncio.sleep(0.1)
    assert made
    assert [item["metadata"]["name"] for item in (await kube.list(lamp)).items] == ["l"]
    await kube.delete(Ref("apiextensions.k8s.io/v1", "CustomResourceDefinition", "", "lampen.test.kok.dev"))


async def test_should_name_the_field_that_is_invalid(kube, namespace):
    with pytest.raises(Invalid, match=r"spec\.containers"):
        await kube.create({**pod(namespace, "p"), "spec": {"containers": []}})


async def test_should_say_what_is_forbidden_to_whom(kube_as, namespace):
    with pytest.raises(Forbidden, match="jane"):
        await kube_as("jane").list(SECRET, namespace=namespace)


async def test_should_not_be_known_with_a_wrong_token(kube):
    stranger = KubeClient(Credentials(kube.server, ca_pem=kube._transport.credentials.ca_pem, token="wrong"), field_manager="x")
    with pytest.raises(Unauthorized):
        await stranger.list(SECRET)
    await stranger.close()


async def test_should_not_talk_to_a_server_it_cannot_verify(kube):
    stranger = KubeClient(Credentials(kube.server), field_manager="x")
    with pytest.raises(Untrusted, match="its certificate does not verify: ") as refusal:
        await stranger.list(SECRET)
    assert refusal.value.code is ErrorCode.CertificateUntrusted
    await stranger.close()


async def test_should_say_that_a_server_is_not_there(kube_as):
    gone = KubeClient(Credentials("https://127.0.0.1:1", ca_pem=kube_as("a")._transport.credentials.ca_pem), field_manager="x")
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1:1"):
        await gone.list(SECRET)
    await gone.close()


async def test_should_give_up_at_the_deadline_on_a_server_that_hangs():
    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    client = KubeClient(Credentials(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"), field_manager="x")
    with pytest.raises(DeadlineExceeded, match=r"0\.3 s"):
        await client.list(SECRET, deadline=0.3)
    await client.close()
    server.close()


async def test_should_wait_once_as_long_as_a_busy_server_asks():
    answers = [b"429 Too Many Requests\r\nRetry-After: 1", b"200 OK", b"429 Too Many Requests\r\nRetry-After: 1"]
    seen: list[float] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        seen.append(asyncio.get_running_loop().time())
        head = answers.pop(0) if len(answers) > 1 else answers[0]
        writer.write(b"HTTP/1.1 " + head + b'\r\nConnection: close\r\nContent-Length: 13\r\n\r\n{"metadata":1}'[:-1])
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    client = KubeClient(Credentials(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"), field_manager="x")
    await client._transport.exchange(_get("/x"), 5)
    assert seen[1] - seen[0] == pytest.approx(1, abs=0.3)
    with pytest.raises(TooManyRequests):
        await client._transport.exchange(_get("/x"), 5)
    assert len(seen) == 4
    await client.close()
    server.close()


def _get(path: str):
    from operators.adapters.kube_transport import Request

    return Request("get", "GET", path, repeatable=True)


async def test_should_watch_from_where_the_list_ended(kube, namespace):
    listing = await kube.list(CONFIG_MAP, namespace=namespace)
    made = await kube.create(config_map(namespace, a="1"))
    await kube.patch_json(CONFIG_MAP.ref("one", namespace), {"data": {"a": "x" * 300_000}})
    await kube.delete(CONFIG_MAP.ref("one", namespace))
    seen = []
    async with asyncio.timeout(60):
        async for event in kube.watch(CONFIG_MAP, namespace=namespace, resource_version=listing.resource_version):
            seen.append((event.type, event.object["metadata"]["uid"]))
            if event.type is WatchEventType.Deleted:
                break
    uid = made["metadata"]["uid"]
    assert seen == [(kind, uid) for kind in (WatchEventType.Added, WatchEventType.Modified, WatchEventType.Deleted)]


async def test_should_read_paths_that_are_no_objects(kube):
    assert "ping ok" in await kube.read_path("/readyz?verbose")
    with pytest.raises(NotFound):
        await kube.read_path("/nowhere")


async def test_should_count_calls_by_verb_and_code(api_server):
    calls: list[tuple[str, int]] = []
    credentials = kubeconfig_credentials(api_server.admin_kubeconfig.read_text())
    client = KubeClient(credentials, field_manager="test", on_call=lambda verb, code, seconds: calls.append((verb, code)))
    await client.get(CONFIG_MAP.ref("nobody", "default"))
    await client.list(CONFIG_MAP)
    assert calls == [("get", 404), ("list", 200)]
    await client.close()


async def test_should_survive_a_restart_of_the_server_and_say_that_a_watch_must_list_again(own_api_server):
    client = KubeClient(kubeconfig_credentials(own_api_server.admin_kubeconfig.read_text()), field_manager="test")
    await client.apply(config_map("default", a="1"))
    own_api_server.stop()
    with pytest.raises(Unreachable):
        await client.apply(config_map("default", a="2"))
    own_api_server.start()  # its watch cache begins anew, so that nothing is known of what was before
    with pytest.raises(WatchExpired):
        await asyncio.wait_for(anext(client.watch(CONFIG_MAP, resource_version="1")), 60)
    assert (await client.apply(config_map("default", a="3")))["data"] == {"a": "3"}
    await client.close()


async def test_should_close_when_idle_and_open_again(api_server, monkeypatch):
    monkeypatch.setattr("operators.adapters.kube_transport.IDLE_SECONDS", 0.1)
    client = KubeClient(kubeconfig_credentials(api_server.admin_kubeconfig.read_text()), field_manager="test")
    await client.list(CONFIG_MAP)
    assert client.is_open
    await asyncio.sleep(0.3)
    assert not client.is_open
    await client.list(CONFIG_MAP)
    await client.close()


async def test_should_bound_open_sessions_to_business_clusters(api_server):
    clusters = BusinessClusters(field_manager="test", open_sessions=2)
    text = api_server.admin_kubeconfig.read_text()
    ports = [clusters.connect(f"c{number}", text) for number in range(4)]
    for port in ports:
        await port.list(CONFIG_MAP)
    assert clusters.connect("c3", text) is ports[3]
    await asyncio.sleep(0.05)
    assert [port.is_open for port in ports] == [False, False, True, True]
    await clusters.close()


async def test_should_connect_anew_when_the_kubeconfig_changed(api_server):
    clusters = BusinessClusters(field_manager="test")
    first = clusters.connect("c", api_server.kubeconfig("jane"))
    second = clusters.connect("c", api_server.kubeconfig("jane", groups=["system:masters"]))
    assert second is not first
    assert (await second.list(CONFIG_MAP)).items is not None
    await clusters.close()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [", "no YAML"),
        ("[]", "it is no kubeconfig"),
        ("current-context: x", "it has no contexts"),
        ("{current-context: x, contexts: [{name: x, context: {cluster: y}}]}", "no cluster named 'y'"),
        ("{current-context: x, contexts: [{name: x, context: {cluster: y}}], clusters: [{name: y, cluster: {}}]}", "no server"),
        (
            "{current-context: x, contexts: [{name: x, context: {cluster: y}}], "
            "clusters: [{name: y, cluster: {server: s, certificate-authority-data: '%'}}]}",
            "certificate-authority-data",
        ),
    ],
)
def test_should_say_what_is_wrong_with_a_kubeconfig(text, words):
    with pytest.raises(KokError, match=words) as caught:
        kubeconfig_credentials(text)
    assert caught.value.code is ErrorCode.SecretInvalid
