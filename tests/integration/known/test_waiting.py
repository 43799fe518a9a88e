"""`kubectl wait` and kstatus on objects that a real API server serves: before anybody looked at them, and with each status that operators write."""

from __future__ import annotations

import asyncio
import subprocess
from typing import Any

import pytest

from operators.ports.kube import KubePort, Manifest, Ref, Subresource
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


@pytest.mark.usefixtures("crds")
@pytest.mark.parametrize("kind", KINDS)
async def test_should_be_waited_for_until_it_is_ready(api_server: ApiServer, kube: KubePort, namespace: str, kind: str) -> None:
    right = FIRST[kind, "right"]
    meta = {"name": namespace, **({"namespace": namespace} if right["metadata"].get("namespace") else {})}
    body = {"apiVersion": right["apiVersion"], "kind": kind, "metadata": meta, "spec": right["spec"]}
    await kube.create(body)
    try:
        new = await served(kube, body)
        assert (new["status"]["observedGeneration"], new["status"]["conditions"]) == (-1, [])
        assert kstatus([new]) == ["InProgress"]
        assert not await asyncio.to_thread(waited, api_server, body, 1)
        states = [(state, answer) for state, answer in ANSWERS if (kind, state) in FIRST]
        assert len(states) >= 2
        for state, answer in states:
            await write_status(kube, body, FIRST[kind, state]["status"])
            assert kstatus([await served(kube, body)]) == [answer]
            assert await asyncio.to_thread(waited, api_server, body, 60 if state == "right" else 1) is (state == "right")
    finally:
        await kube.delete(Ref.of(body))


async def served(kube: KubePort, manifest: Manifest) -> Manifest:
    found = await kube.get(Ref.of(manifest))
    assert found
    return found


async def write_status(kube: KubePort, body: Manifest, status: dict[str, Any]) -> None:
    generation = (await served(kube, body))["metadata"]["generation"]
    conditions = [{**each, "observedGeneration": generation} for each in status["conditions"]]
    patch = {"status": {**status, "observedGeneration": generation, "conditions": conditions}}
    await kube.patch_json(Ref.of(body), patch, subresource=Subresource.Status)
