"""`kubectl wait` and kstatus on objects that a real API server serves: before anybody looked at them, and with each status that operators write."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from tests.contract.states import sample_states
from tests.integration.api_server import KUBECTL, ApiServer, asset
from tests.integration.known.test_verdicts import kstatus, verdict

FIRST = {
    (manifest["kind"], verdict(manifest)): manifest
    for _, manifest in reversed(sample_states())
    if manifest["status"].get("observedGeneration") == manifest["metadata"]["generation"]
}
ANSWERS = (("moving", "InProgress"), ("stuck", "Failed"), ("right", "Current"))
KINDS = sorted({kind for kind, _ in FIRST})


def waited(server: ApiServer, manifest: dict[str, Any], seconds: int) -> bool:
    """Whether `kubectl wait --for=condition=Ready` ends well within that time."""
    meta, plural = manifest["metadata"], f"{manifest['kind'].lower()}s.kok.dev"
    where = ["--namespace", meta["namespace"]] if meta.get("namespace") else []
    words = [asset(KUBECTL), f"--kubeconfig={server.admin_kubeconfig}", *where, "wait", "--for=condition=Ready", f"--timeout={seconds}s"]
    return subprocess.run([*words, f"{plural}/{meta['name']}"], capture_output=True, check=False).returncode == 0


def served(server: ApiServer, manifest: dict[str, Any]) -> dict[str, Any]:
    where = ["-n", manifest["metadata"]["namespace"]] if manifest["metadata"].get("namespace") else []
    found: dict[str, Any] = json.loads(
        server.kubectl("get", *where, f"{manifest['kind'].lower()}s.kok.dev", manifest["metadata"]["name"], "-o", "json")
    )
    return found


@pytest.mark.usefixtures("crds")
@pytest.mark.parametrize("kind", KINDS)
def test_should_be_waited_for_until_it_is_ready(api_server: ApiServer, namespace: str, kind: str) -> None:
    right = FIRST[kind, "right"]
    meta = {"name": namespace, **({"namespace": namespace} if right["metadata"].get("namespace") else {})}
    body = {"apiVersion": right["apiVersion"], "kind": kind, "metadata": meta, "spec": right["spec"]}
    api_server.kubectl("create", "-f", "-", stdin=json.dumps(body))
    try:
        new = served(api_server, body)
        assert (new["status"]["observedGeneration"], new["status"]["conditions"]) == (-1, [])
        assert kstatus([new]) == ["InProgress"]
        assert not waited(api_server, body, 1)
        states = [(state, answer) for state, answer in ANSWERS if (kind, state) in FIRST]
        assert len(states) >= 2
        for state, answer in states:
            write_status(api_server, body, FIRST[kind, state]["status"])
            assert kstatus([served(api_server, body)]) == [answer]
            assert waited(api_server, body, 1) is (state == "right")
    finally:
        where = ["-n", namespace] if meta.get("namespace") else []
        api_server.kubectl("delete", *where, f"{kind.lower()}s.kok.dev", namespace, "--wait=false")


def write_status(server: ApiServer, body: dict[str, Any], status: dict[str, Any]) -> None:
    generation = served(server, body)["metadata"]["generation"]
    conditions = [{**each, "observedGeneration": generation} for each in status["conditions"]]
    patch = {"status": {**status, "observedGeneration": generation, "conditions": conditions}}
    where = ["-n", body["metadata"]["namespace"]] if body["metadata"].get("namespace") else []
    plural, name = f"{body['kind'].lower()}s.kok.dev", body["metadata"]["name"]
    server.kubectl("patch", *where, plural, name, "--subresource=status", "--type=merge", "-p", json.dumps(patch))
