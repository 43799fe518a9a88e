"""Reports to kok, for every node, whether the log agent's pod there is Ready. An operator of your own can be this small: docs/howto/report-a-condition.md."""

import datetime
import json
import os
import pathlib
import ssl
import time
import urllib.request

HOME = pathlib.Path(os.environ.get("SERVICE_ACCOUNT", "/var/run/secrets/kubernetes.io/serviceaccount"))
SERVER = os.environ.get("KUBERNETES_API", "https://kubernetes.default.svc")
REPORTER = os.environ.get("REPORTER", "system:serviceaccount:logging:log-agent-reporter")
PERIOD = float(os.environ.get("PERIOD_SECONDS", "30"))
PODS = "/api/v1/namespaces/logging/pods?labelSelector=app%3Dlog-agent"
MAPS = "/api/v1/namespaces/kok-conditions/configmaps"
LEASE = "/apis/coordination.k8s.io/v1/namespaces/kok-conditions/leases/log-agent-reporter"
TLS = ssl.create_default_context(cafile=str(HOME / "ca.crt"))


def call(method, path, body=None):
    """One request as this ServiceAccount; a body is applied server-side, so it need not be known whether the object is there."""
    headers = {"Authorization": f"Bearer {(HOME / 'token').read_text()}", "Content-Type": "application/apply-patch+yaml"}
    request = urllib.request.Request(SERVER + path, json.dumps(body).encode() if body else None, headers, method=method)
    with urllib.request.urlopen(request, timeout=10, context=TLS) as answer:
        return json.load(answer)


def report_of(node, pod):
    """What kok is told of one node; `bootID` says of which boot, so that it does not count after the next."""
    ready = pod and any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", ()))
    reason, message = ("AgentReady", "the log agent is ready") if ready else ("AgentNotReady", "no pod of the log agent is ready here")
    boot = node["status"].get("nodeInfo", {}).get("bootID", "")
    return {"type": "LogAgentReady", "status": str(bool(ready)), "reason": reason, "message": message, "reporter": REPORTER, "bootID": boot}


def one_round():
    """Write what changed, then say with the one Lease that all of it is still so."""
    pods = {pod["spec"].get("nodeName"): pod for pod in call("GET", PODS)["items"]}
    told = {item["metadata"]["name"]: item.get("data") for item in call("GET", MAPS)["items"]}
    for node in call("GET", "/api/v1/nodes")["items"]:
        machine = node["metadata"]["name"]
        name, data = f"log-agent.{machine}", report_of(node, pods.get(machine))
        if told.get(name) != data:
            head = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": {"kok.dev/machine": machine}}}
            call("PATCH", f"{MAPS}/{name}?fieldManager=log-agent-reporter&force=true", {**head, "data": data})
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "log-agent-reporter"}}
    call("PATCH", LEASE + "?fieldManager=log-agent-reporter", {**lease, "spec": {"holderIdentity": REPORTER, "renewTime": now}})


while True:
    try:
        one_round()
    except OSError as error:  # the API server is away, or says no: kok closes by itself what is not renewed
        print(f"not reported: {error}", flush=True)
    time.sleep(PERIOD)
