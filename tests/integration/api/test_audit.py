"""The lab's audit policy at a real API server: its lines are enough to tell an act that had leave from one that had none."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from operators.adapters.kube import KubeClient
from operators.adapters.kube_credentials import kubeconfig_credentials
from operators.ports.kube import Kind
from tests.e2e.audit import acts_in, acts_without_leave
from tests.integration.api_server import ApiServer

pytestmark = pytest.mark.integration

MANIFESTS = Path(__file__).parents[3] / "manifests"
OPERATOR = "system:serviceaccount:kok-system:kok-cluster-operator"
GRANT, POD = Kind("kok.dev/v1alpha1", "OperationGrant"), Kind("v1", "Pod")


@pytest.fixture
def audited(tmp_path: Path) -> Iterator[tuple[ApiServer, Path]]:
    log, policy = tmp_path / "audit.log", MANIFESTS / "kind" / "audit-policy.yaml"
    server = ApiServer(extra_flags=(f"--audit-policy-file={policy}", f"--audit-log-path={log}", "--audit-log-mode=blocking"))
    try:
        server.start()
        server.kubectl("apply", "--server-side", "-f", str(MANIFESTS / "crds" / "operationgrants.kok.dev.yaml"))
        yield server, log
    finally:
        server.close()


def grant(target: str) -> dict[str, Any]:
    spec = {
        "operation": "RestartMaster",
        "target": {"kind": "Pod", "name": target, "cluster": "demo"},
        "requester": "cluster-operator/demo",
    }
    metadata = {"name": f"restartmaster-{target}", "namespace": "default"}
    return {"apiVersion": GRANT.api_version, "kind": GRANT.kind, "metadata": metadata, "spec": spec}


def pod(name: str) -> dict[str, Any]:
    spec = {"containers": [{"name": "x", "image": "x"}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"}, "spec": spec}


async def test_should_tell_an_act_with_leave_from_one_without(audited: tuple[ApiServer, Path]) -> None:
    server, log = audited
    began = datetime.now(UTC)
    server.kubectl("wait", "--for=condition=Established", "--timeout=30s", "crd/operationgrants.kok.dev")
    groups = ["system:masters", "system:serviceaccounts", "system:serviceaccounts:kok-system"]
    kube = KubeClient(kubeconfig_credentials(server.kubeconfig(OPERATOR, groups=groups)), field_manager="kok-cluster-operator")
    try:
        for name in ("demo-etcd-0", "demo-etcd-1"):
            await kube.create(pod(name))
        await kube.create(grant("demo-etcd-0"))
        granted = {"decision": "Granted", "decidedAt": "2026-03-01T12:00:00Z", "expiresAt": "2100-01-01T00:00:00Z"}
        await kube.patch_status(GRANT.ref("restartmaster-demo-etcd-0", "default"), granted)
        await kube.delete(POD.ref("demo-etcd-0", "default"))
        assert len(acts_in(log.read_text().splitlines(), began)) == 1
        assert acts_without_leave(log.read_text().splitlines(), began) == []

        await kube.delete(POD.ref("demo-etcd-1", "default"))
        (found,) = acts_without_leave(log.read_text().splitlines(), began)
        assert f"delete pods default/demo-etcd-1 by {OPERATOR}" in found
    finally:
        await kube.close()
