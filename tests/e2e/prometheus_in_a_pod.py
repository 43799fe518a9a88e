"""A real Prometheus (Debian's) as a pod of the meta cluster, which scrapes itself, and whose address the Cluster-Operator is told.

Its numbers say nothing about business clusters; the stories need one that answers, is gone, and answers again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

from meta_cluster.demo.kubectl import Kubectl, Manifest, wait_until
from meta_cluster.lab import layout
from tests.integration.api_server import asset

NAMESPACE, NAME = "monitoring", "prometheus"
URL = f"http://{NAME}.{NAMESPACE}:9090"
OPERATOR = ("deployment/kok-cluster-operator", "-n", "kok-system")
CONFIG = {
    "global": {"scrape_interval": "2s", "scrape_timeout": "2s"},
    "scrape_configs": [{"job_name": "self", "static_configs": [{"targets": ["127.0.0.1:9090"]}]}],
}
METRIC = {
    "name": "answers",
    "good": 'sum(increase(prometheus_http_requests_total{code="200",job!="{{cluster}}"}[{{window}}]))',
    "total": 'sum(increase(prometheus_http_requests_total{job!="{{cluster}}"}[{{window}}]))',
    "floor": 0.5,
    "minSamples": 5,
}


@contextmanager
def known_to_the_operator(meta: Kubectl) -> Iterator[None]:
    """One that runs and that the operator asks; both are as before at the end."""
    path = asset("prometheus")
    image = str(meta.run("get", *OPERATOR, "-o", "jsonpath={.spec.template.spec.containers[0].image}"))
    meta.apply(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}, _config(), _service(), _deployment(path.name, image)
    )
    meta.run("rollout", "status", f"deployment/{NAME}", "-n", NAMESPACE, "--timeout=120s", timeout=130)
    _tell(meta, f"KOK_PROMETHEUS_URL={URL}")
    try:
        yield
    finally:
        _tell(meta, "KOK_PROMETHEUS_URL-")
        meta.run("delete", "namespace", NAMESPACE, timeout=120)


def end(meta: Kubectl) -> None:
    """No pod of it, at once; its data is gone."""
    meta.run("scale", f"deployment/{NAME}", "-n", NAMESPACE, "--replicas=0")
    meta.run("delete", "pods", "--all", "-n", NAMESPACE, "--grace-period=0", "--force", timeout=60)
    wait_until("Prometheus has no pod", lambda: not meta.items("pods", "-n", NAMESPACE), timeout=60)


def begin(meta: Kubectl) -> None:
    """A new pod of it."""
    meta.run("scale", f"deployment/{NAME}", "-n", NAMESPACE, "--replicas=1")


def _tell(meta: Kubectl, word: str) -> None:
    meta.run("set", "env", *OPERATOR, word)
    meta.run("rollout", "status", *OPERATOR, "--timeout=120s", timeout=130)


def _config() -> Manifest:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": _metadata(), "data": {"prometheus.yml": json.dumps(CONFIG)}}


def _service() -> Manifest:
    spec = {"selector": {"app": NAME}, "ports": [{"port": 9090, "targetPort": 9090}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": _metadata(), "spec": spec}


def _deployment(binary: str, image: str) -> Manifest:
    """The binary of the assets, as the node has it mounted, in an image that is there already."""
    container = {
        "name": NAME,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": [f"/assets/bin/{binary}", "--config.file=/config/prometheus.yml", "--storage.tsdb.path=/data"],
        "readinessProbe": {"httpGet": {"path": "/-/ready", "port": 9090}, "periodSeconds": 1},
        "volumeMounts": [{"name": name, "mountPath": f"/{name}"} for name in ("assets", "config", "data")],
    }
    volumes = [
        {"name": "assets", "hostPath": {"path": layout.NODE_ASSETS}},
        {"name": "config", "configMap": {"name": NAME}},
        {"name": "data", "emptyDir": {}},
    ]
    pod = {"containers": [container], "volumes": volumes, "terminationGracePeriodSeconds": 0, "securityContext": {"fsGroup": 65532}}
    labels = {"app": NAME}
    template = {"metadata": {"labels": labels}, "spec": pod}
    spec = {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": _metadata(), "spec": spec}


def _metadata() -> Manifest:
    return {"name": NAME, "namespace": NAMESPACE}
