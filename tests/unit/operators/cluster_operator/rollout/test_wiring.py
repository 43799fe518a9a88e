"""The whole process knows every controller that its watches wake; records wake with releases, pools and rollouts."""

from __future__ import annotations

from typing import Any

import pytest

from operators.adapters.kube_credentials import kubeconfig_credentials
from operators.cluster_operator.cluster import kinds as cluster_kinds
from operators.cluster_operator.main import build
from operators.cluster_operator.rollout import kinds
from operators.cluster_operator.settings import Settings
from operators.ports.kube import Key, Kind

KUBECONFIG = """
{apiVersion: v1, kind: Config, current-context: x, contexts: [{name: x, context: {cluster: x, user: x}}],
 clusters: [{name: x, cluster: {server: 'https://127.0.0.1:1'}}], users: [{name: x, user: {token: t}}]}
"""
METADATA: dict[str, Any] = {"name": "one", "namespace": "n", "labels": {"kok.dev/cluster": "c"}}


@pytest.mark.parametrize(
    ("kind", "key"),
    [
        (cluster_kinds.RELEASE, Key("records", "n", "one")),
        (cluster_kinds.POOL, Key("records", "n", "pool/one")),
        (kinds.ROLLOUT, Key("records", "", "one")),
    ],
)
async def test_should_wake_the_records_and_only_controllers_that_run(kind: Kind, key: Key) -> None:
    process = build(Settings(kubeconfig="unused", identity="a"), kubeconfig_credentials(KUBECONFIG))
    watched = next(each for each in process.cache.watched if each.kind == kind)
    metadata = METADATA if key.namespace else {"name": "one"}
    keys = list(watched.keys_of({"kind": kind.kind, "metadata": metadata, "spec": {"clusterName": "c"}}))
    assert key in keys
    assert len(keys) >= 2, "the kind's own controller is still woken"
    for each in keys:
        process._wake(each)
