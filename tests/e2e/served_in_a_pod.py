"""A pod on a business node that serves a validating webhook and an aggregated API over TLS, and the objects that make the API server ask it.

The program runs on the Python of the host, whose /usr the pod mounts: no image of its own is needed.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from operators.domain.plane.certificates import LeafForm, LeafSpec, RootForm, RootSpec, Usage
from operators.services.pki import issue_leaf, new_root

Manifest = dict[str, Any]
NAME = "asked"
GROUP = "asked.example.org"
PROGRAM = """
import http.server, json, ssl

class Answer(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def say(self, what, status=200):
        body = json.dumps(what).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        group = {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "asked.example.org/v1", "resources": []}
        if self.path.split("?")[0] == "/apis/asked.example.org/v1":
            return self.say(group)
        if self.path.split("?")[0] == "/apis/asked.example.org/v1/hello":
            return self.say({"hello": "from a pod"})
        self.say({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404}, 404)

    def do_POST(self):
        review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        request = review["request"]
        allowed = (request["object"].get("data") or {}).get("wanted") != "no"
        response = {"uid": request["uid"], "allowed": allowed, "status": {"message": "a pod said no"}}
        self.say({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response})

server = http.server.ThreadingHTTPServer(("", 8443), Answer)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("/keys/tls.crt", "/keys/tls.key")
server.socket = context.wrap_socket(server.socket, server_side=True)
print("asked is listening", flush=True)
server.serve_forever()
"""


def served(namespace: str, *, image: str, node: str) -> list[Manifest]:
    """Namespace, keys, program, pod and Service; then what the API server is told."""
    now, host = datetime.now(UTC), f"{NAME}.{namespace}.svc"
    authority = new_root(RootSpec("ca", RootForm.CA, "asked", "test"), now).data
    leaf = issue_leaf(LeafSpec("leaf", LeafForm.TLS, "test", "ca", host, dns_names=(host,), usages=(Usage.Server,)), authority, now).data
    keys = {name: leaf[name] for name in ("tls.crt", "tls.key")}
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}},
        _named("v1", "Secret", namespace, data=keys),
        _named("v1", "ConfigMap", namespace, data={"asked.py": PROGRAM}),
        _pod(namespace, image, node),
        _named("v1", "Service", namespace, spec={"selector": {"app": NAME}, "ports": [{"port": 443, "targetPort": 8443}]}),
        *_asking(namespace, authority["tls.crt"]),
    ]


def _named(api_version: str, kind: str, namespace: str, **rest: Any) -> Manifest:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": NAME, "namespace": namespace}, **rest}


def _pod(namespace: str, image: str, node: str) -> Manifest:
    mounts = [
        {"name": "usr", "mountPath": "/usr", "readOnly": True},
        {"name": "keys", "mountPath": "/keys"},
        {"name": "program", "mountPath": "/program"},
    ]
    container = {
        "name": NAME,
        "image": image,
        "command": ["/usr/bin/python3", "/program/asked.py"],
        "imagePullPolicy": "IfNotPresent",
        "volumeMounts": mounts,
        "readinessProbe": {"tcpSocket": {"port": 8443}, "periodSeconds": 1},
    }
    volumes = [
        {"name": "usr", "hostPath": {"path": "/usr"}},
        {"name": "keys", "secret": {"secretName": NAME}},
        {"name": "program", "configMap": {"name": NAME}},
    ]
    pod = _named("v1", "Pod", namespace)
    pod["metadata"]["labels"] = {"app": NAME}
    node_selector = {"kubernetes.io/hostname": node}
    pod["spec"] = {"nodeSelector": node_selector, "terminationGracePeriodSeconds": 1, "containers": [container], "volumes": volumes}
    return pod


def _asking(namespace: str, ca: str) -> list[Manifest]:
    service = {"name": NAME, "namespace": namespace}
    webhook = {
        "name": GROUP,
        "clientConfig": {"service": {**service, "path": "/validate"}, "caBundle": ca},
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": f"{namespace}-judged"}},
        "failurePolicy": "Fail",
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "timeoutSeconds": 5,
    }
    api = {"group": GROUP, "version": "v1", "service": service, "caBundle": ca, "groupPriorityMinimum": 1000, "versionPriority": 10}
    configuration = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration"}
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": f"{namespace}-judged"}},
        {**configuration, "metadata": {"name": GROUP}, "webhooks": [webhook]},
        {"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": {"name": f"v1.{GROUP}"}, "spec": api},
    ]
