"""The way into the business network as the templates render it: real API server, konnectivity server and agent; a kubelet that answers.

Everything is on loopback here, so what proves the way is that nothing arrives without an agent. Networks that do not route: tests/e2e.
"""

from __future__ import annotations

import base64
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from operators.domain.plane.certificates import LeafForm, LeafSpec, Usage
from operators.domain.plane.inputs import Manifest
from operators.services.pki import issue_leaf
from tests.integration.api_server import Child, asset
from tests.integration.plane.rendered_plane import BINARIES, RenderedPlane, documents
from tests.unit.operators.domain.plane.rendered import NOW, a_cluster

pytestmark = pytest.mark.integration
AS_OPERATOR = "demo-operator-kubeconfig"
AGENT = "konnectivity-agent"
AUDIENCE = "system:konnectivity-server"
LOG = "a line that only the kubelet knows\n"


class TunnelledPlane(RenderedPlane):
    """A plane with its konnectivity server, a node with a kubelet, and agents on request."""

    def __init__(self) -> None:
        super().__init__(a_cluster())
        self.node = self.address.removesuffix("10") + "20"

    def kubelet_certificate(self) -> tuple[Path, Path]:
        """Serving certificate and key of the node, signed as the kubelet's would be."""
        spec = LeafSpec("k", LeafForm.TLS, "kubelet", "demo-ca", "system:node:n1", "system:nodes", (), (self.node,), (Usage.Server,))
        issued = issue_leaf(spec, self.secrets["demo-ca"].data, NOW.now(NOW.tzinfo))
        paths = self.folder / "kubelet.crt", self.folder / "kubelet.key"
        for path, key in zip(paths, ("tls.crt", "tls.key"), strict=True):
            path.write_bytes(base64.b64decode(issued.data[key]))
        return paths

    def agents(self) -> tuple[Manifest, ...]:
        """What the agents need inside, and another account to try."""
        return tuple(
            each
            for each in self.inside()
            if each["metadata"]["labels"]["app.kubernetes.io/component"] == AGENT or each["metadata"]["name"] == "kube-proxy"
        )

    def token(self, account: str, audience: str) -> str:
        made = self.kubectl(AS_OPERATOR, "-n", "kube-system", "create", "token", account, f"--audience={audience}")
        assert made.returncode == 0, made.stderr
        return made.stdout.strip()

    @contextmanager
    def agent(self, token: str) -> Iterator[Child]:
        """The agent's container as the DaemonSet says, with another place for its identity and its listeners."""
        (daemon,) = (each for each in self.inside() if each["kind"] == "DaemonSet" and each["metadata"]["name"] == AGENT)
        container = daemon["spec"]["template"]["spec"]["containers"][0]
        identity = self.folder / "identity"
        identity.mkdir(exist_ok=True)
        (identity / "token").write_text(token)
        (identity / "ca.crt").write_bytes(base64.b64decode(self.secrets["demo-ca"].data["tls.crt"]))
        known = {"/var/run/konnectivity": str(identity), "$(HOST_IP)": self.node, "$(NODE_NAME)": "n1", "127.0.0.1": self.node}
        words = container["args"]
        for before, after in known.items():
            words = [word.replace(before, after) for word in words]
        child = Child(AGENT, [asset(BINARIES[container["command"][0]]), *words], self.folder)
        child.start()
        try:
            yield child
        finally:
            child.kill()

    def logs(self) -> tuple[str, str]:
        """What kubectl logs says: output and complaint."""
        done = self.kubectl(AS_OPERATOR, "logs", "p1", "--request-timeout=10s")
        return done.stdout, done.stderr


class Kubelet(BaseHTTPRequestHandler):
    """Answers every question with the log."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(LOG.encode())

    def log_message(self, format: str, *args: Any) -> None:
        """Silence."""


@pytest.fixture(scope="module")
def plane() -> Iterator[TunnelledPlane]:
    running = TunnelledPlane()
    kubelet = None
    try:
        assert running.start_member("demo-etcd-0").returncode == 0
        for component in ("apiserver", "konnectivity"):
            running.start(component)
        running.wait("readiness of the API server", lambda: running.probe("apiserver", "readinessProbe", running.address) == 200)
        running.wait("life of konnectivity", lambda: running.probe("konnectivity", "livenessProbe", running.address) == 200)
        applied = running.kubectl(AS_OPERATOR, "apply", "--server-side", "-f", "-", given=documents(running.agents()))
        assert applied.returncode == 0, applied.stderr
        for words in (
            ("create", "serviceaccount", "default"),
            ("create", "-f", "-"),
            ("create", "--raw", "/api/v1/namespaces/default/pods", "-f", "-"),
        ):
            given = json.dumps(a_node(running.node) if words == ("create", "-f", "-") else a_pod())
            done = running.kubectl(AS_OPERATOR, *words, given=given)
            assert done.returncode == 0, done.stderr
        kubelet = start_kubelet(running)
        yield running
    finally:
        if kubelet:
            kubelet.shutdown()
        running.close()


def start_kubelet(plane: TunnelledPlane) -> ThreadingHTTPServer:
    server = ThreadingHTTPServer((plane.node, 10250), Kubelet)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*plane.kubelet_certificate())
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def a_node(address: str) -> dict[str, Any]:
    status = {"addresses": [{"type": "InternalIP", "address": address}], "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}}}
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}, "status": status}


def a_pod() -> dict[str, Any]:
    containers = [{"name": "c", "image": "i"}]
    metadata = {"name": "p1", "namespace": "default"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"nodeName": "n1", "containers": containers}}


def test_should_reach_a_kubelet_only_through_an_agent(plane: TunnelledPlane) -> None:
    output, complaint = plane.logs()
    assert output == ""
    assert "500" in complaint, "without an agent there is no way, although loopback routes"

    with plane.agent(plane.token(AGENT, AUDIENCE)) as agent:
        plane.wait("readiness of konnectivity", lambda: plane.probe("konnectivity", "readinessProbe", plane.address) == 200)
        agent.check()
        assert plane.logs() == (LOG, "")
    plane.wait("its end", lambda: plane.probe("konnectivity", "readinessProbe", plane.address) == 500)


@pytest.mark.parametrize(("account", "audience"), [("kube-proxy", AUDIENCE), (AGENT, "https://kubernetes.default.svc.cluster.local")])
def test_should_take_no_agent_that_is_not_the_agents_account(plane: TunnelledPlane, account: str, audience: str) -> None:
    with plane.agent(plane.token(account, audience)) as agent:
        plane.wait("a refusal", lambda: "cannot connect once" in agent.log.read_text())

        assert plane.probe("konnectivity", "readinessProbe", plane.address) == 500
        assert plane.logs()[0] == ""


def test_should_answer_while_konnectivity_is_gone(plane: TunnelledPlane) -> None:
    plane.kill("konnectivity")
    try:
        assert plane.probe("apiserver", "readinessProbe", plane.address) == 200
        assert plane.kubectl(AS_OPERATOR, "get", "nodes").returncode == 0
    finally:
        plane.start("konnectivity")
        plane.wait("its life", lambda: plane.probe("konnectivity", "livenessProbe", plane.address) == 200)
