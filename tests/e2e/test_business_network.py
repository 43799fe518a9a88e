"""What API servers ask of nodes, pods and Services goes through konnectivity: the lab's meta nodes may only speak SSH to hosts.

Control (slow): the same questions fail while the API server runs without its egress selector.
"""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Iterator

import pytest

from meta_cluster.demo import fleet as wish
from meta_cluster.demo.kubectl import Kubectl, wait_until
from meta_cluster.lab import isolation
from meta_cluster.lab.docker import attempt
from operators.errors import ErrorCode, KokError
from tests.e2e.ground import Fleet
from tests.e2e.served_in_a_pod import GROUP, NAME, served

STORY = "network-story"
JUDGED = f"{STORY}-judged"
APISERVER = f"{wish.CLUSTER}-apiserver"
KONNECTIVITY = f"{wish.CLUSTER}-konnectivity"
PAUSE = '{"spec":{"paused":%s}}'


@pytest.fixture(scope="module")
def asked(fleet: Fleet) -> Iterator[str]:
    """The pod that is asked, on one of the nodes; yields the node's name."""
    node = fleet.business.items("nodes")[0]["metadata"]["name"]
    manifests = served(STORY, image=wish.WEB_IMAGE, node=node)
    fleet.business.apply(*(each for each in manifests if each["kind"] == "Namespace"))
    fleet.business.apply(*(each for each in manifests if each["kind"] != "Namespace"))
    try:
        wait_until("the pod that is asked", lambda: pod_is_ready(fleet.business), timeout=60)
        yield node
    finally:
        for kind, name in (("validatingwebhookconfiguration", GROUP), ("apiservice", f"v1.{GROUP}"), ("ns", STORY), ("ns", JUDGED)):
            fleet.business.run("delete", kind, name, "--ignore-not-found", "--wait=false")


def pod_is_ready(business: Kubectl) -> bool:
    return business.condition("pod", NAME, "Ready", namespace=STORY).get("status") == "True"


def logs(business: Kubectl) -> bool:
    return "asked is listening" in business.run("-n", STORY, "logs", NAME, timeout=10)


def executes(business: Kubectl) -> bool:
    return (
        business.run("-n", STORY, "exec", NAME, "--", "/bin/cat", "/program/..data/asked.py", timeout=10)
        .strip()
        .endswith("server.serve_forever()")
    )


def api_answers(business: Kubectl) -> bool:
    return json.loads(business.run("get", "--raw", f"/apis/{GROUP}/v1/hello", timeout=10)) == {"hello": "from a pod"}


def webhook_judges(business: Kubectl) -> bool:
    """Whether the webhook lets one object pass and refuses the other. Raises KokError when it was not reached."""
    metadata = {"generateName": "judged-", "namespace": JUDGED}
    found = []
    for wanted in ("yes", "no"):
        try:
            given = json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"wanted": wanted}})
            business.run("create", "-f", "-", stdin=given, timeout=10)
            found.append("allowed")
        except KokError as error:
            if "a pod said no" not in error.message:
                raise
            found.append("denied")
    return found == ["allowed", "denied"]


def forwards(business: Kubectl) -> bool:
    """Whether a TLS server in the pod is reached through a forwarded port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [business.binary, f"--kubeconfig={business.kubeconfig}", "-n", STORY, "port-forward", f"pod/{NAME}", f"{port}:8443"]
    process = subprocess.Popen([str(word) for word in words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        assert process.stdout is not None
        if "Forwarding from" not in process.stdout.readline():
            raise KokError(ErrorCode.Unreachable, "port-forward did not begin")
        return hello_at(port)
    finally:
        process.kill()
        process.wait()


def hello_at(port: int) -> bool:
    unverified = ssl._create_unverified_context()
    with urllib.request.urlopen(f"https://127.0.0.1:{port}/apis/{GROUP}/v1/hello", timeout=10, context=unverified) as answer:
        return bool(json.load(answer) == {"hello": "from a pod"})


QUESTIONS = (logs, executes, forwards, api_answers, webhook_judges)


def answered(business: Kubectl) -> list[str]:
    """Names of the questions that are answered."""
    names = []
    for question in QUESTIONS:
        try:
            if question(business):
                names.append(question.__name__)
        except (KokError, OSError):
            continue
    return names


ALL = [question.__name__ for question in QUESTIONS]


def test_should_not_route_from_the_meta_cluster_to_hosts(fleet: Fleet) -> None:
    host = fleet.lab["hosts"][0]["address"]
    for node in isolation.meta_nodes():
        kubelet, ssh = (attempt("exec", node, "bash", "-c", f"exec 3<>/dev/tcp/{host}/{port}", timeout=10) for port in (10250, 22))
        assert ssh.returncode == 0, ssh.stderr
        assert kubelet.returncode != 0


def test_should_answer_what_is_asked_of_nodes_pods_and_services(fleet: Fleet, asked: str) -> None:
    wait_until("the aggregated API", lambda: api_is_available(fleet.business), timeout=40)

    assert answered(fleet.business) == ALL
    condition = fleet.meta.condition("clusters.kok.dev", wish.CLUSTER, "TunnelReady", namespace=wish.NAMESPACE)
    assert condition["status"] == "True", condition


def api_is_available(business: Kubectl) -> bool:
    return business.condition("apiservice", f"v1.{GROUP}", "Available").get("status") == "True"


@pytest.mark.slow
def test_should_answer_nothing_without_the_egress_selector_and_be_put_right_again(fleet: Fleet, asked: str) -> None:
    pause(fleet, "true")
    try:
        without_egress(fleet)
        assert answered(fleet.business) == []
    finally:
        pause(fleet, "false")
    wait_until("every question answered again", lambda: answered(fleet.business) == ALL, timeout=90, every=1)


def pause(fleet: Fleet, value: str) -> None:
    fleet.meta.run("-n", wish.NAMESPACE, "patch", "clusters.kok.dev", wish.CLUSTER, "--type=merge", "-p", PAUSE % value)
    wait_until("it is seen", lambda: (phase(fleet) == "Paused") == (value == "true"), timeout=20)


def phase(fleet: Fleet) -> str:
    return str(((fleet.meta.get("clusters.kok.dev", wish.CLUSTER, "-n", wish.NAMESPACE) or {}).get("status") or {}).get("phase"))


def without_egress(fleet: Fleet) -> None:
    """Take the flag from the API server's Deployment and wait for its pods."""
    deployment = fleet.meta.get("deployment", APISERVER, "-n", wish.NAMESPACE) or {}
    arguments = deployment["spec"]["template"]["spec"]["containers"][0]["args"]
    kept = [each for each in arguments if not each.startswith("--egress-selector-config-file")]
    assert len(kept) == len(arguments) - 1
    patch = json.dumps([{"op": "replace", "path": "/spec/template/spec/containers/0/args", "value": kept}])
    fleet.meta.run("-n", wish.NAMESPACE, "patch", "deployment", APISERVER, "--type=json", "-p", patch)
    fleet.meta.run("-n", wish.NAMESPACE, "rollout", "status", f"deployment/{APISERVER}", "--timeout=90s", timeout=100)
    wait_until("only the new one", lambda: len(pods(fleet, "apiserver")) == (deployment["spec"].get("replicas") or 1), timeout=90)


def pods(fleet: Fleet, component: str) -> list[str]:
    selector = f"kok.dev/cluster={wish.CLUSTER},app.kubernetes.io/component={component}"
    return [one["metadata"]["name"] for one in fleet.meta.items("pods", "-n", wish.NAMESPACE, "-l", selector)]


@pytest.mark.slow
def test_should_keep_the_api_and_come_back_when_the_konnectivity_server_is_killed(fleet: Fleet, asked: str) -> None:
    (before,) = pods(fleet, "konnectivity")
    fleet.meta.run("-n", wish.NAMESPACE, "delete", "pod", before, "--grace-period=0", "--force")
    began = time.monotonic()
    assert fleet.business.run("get", "--raw", "/readyz") == "ok"
    wait_until("every question answered again", lambda: answered(fleet.business) == ALL, timeout=60, every=0.5)
    print(f"every question answered again {time.monotonic() - began:.1f} s after the konnectivity server was killed")


@pytest.mark.slow
def test_should_lose_no_question_while_an_apiserver_or_konnectivity_is_rolled(fleet: Fleet, asked: str) -> None:
    for deployment in (APISERVER, KONNECTIVITY):
        fleet.meta.run("-n", wish.NAMESPACE, "rollout", "restart", f"deployment/{deployment}")
        failed, asked_times, deadline = [], 0, time.monotonic() + 20
        while time.monotonic() < deadline:
            asked_times += 1
            try:
                assert webhook_judges(fleet.business)
            except KokError as error:
                failed.append(error.message)
        fleet.meta.run("-n", wish.NAMESPACE, "rollout", "status", f"deployment/{deployment}", "--timeout=60s", timeout=70)
        print(f"{deployment} rolled: {asked_times} pairs of requests judged by a pod, {len(failed)} failed")
        assert not failed, failed[:3]
