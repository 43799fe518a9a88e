"""No string of what people write is taken for a template: the API server refuses braces, or the string is one of those that stay literal."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from operators.adapters.kube import KubeClient
from operators.adapters.kube_credentials import kubeconfig_credentials
from operators.ports.kube import Invalid, Manifest
from tests.integration.api_server import ApiServer
from tests.sample_manifests import sample_manifests

INJECTION = "{{ 7*7 }}"
LITERAL = {
    "Cluster": {"flags.apiserver.v", "flags.apiserver.audit-log-maxage", "flags.scheduler.v"},
    "ClusterPackageVersion": {"components.etcd.flags.quota-backend-bytes"},
    "MachinePool": {"readinessGates.reporter"},
    "MachinePackageVersion": {
        "files.content", "units.content", "sysctls.net.ipv4.ip_forward", "observe.command", "observe.pattern", "remove.commands", "description",
    },
}  # fmt: skip
"""Free text: held literal by tests/unit/operators/domain/plane/test_injection.py and tests/unit/operators/adapters/test_injection.py."""
AUTHORED = [m for m in sample_manifests() if m["kind"] in LITERAL]

Path = tuple[str | int, ...]


def strings(value: Any, path: Path = ()) -> Iterator[Path]:
    """Where strings stand."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from strings(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from strings(inner, (*path, index))
    elif isinstance(value, str):
        yield path


def put(manifest: Manifest, path: Path, value: str) -> Manifest:
    result = copy.deepcopy(manifest)
    node: Any = result["spec"]
    for part in path[:-1]:
        node = node[part]
    node[path[-1]] = value
    return result


@pytest.mark.parametrize("sample", AUTHORED, ids=lambda m: f"{m['kind']} {m['metadata']['name']}")
async def test_should_refuse_a_template_wherever_text_is_not_free(api_server: ApiServer, crds: None, sample: Manifest) -> None:
    client = KubeClient(kubeconfig_credentials(api_server.kubeconfig("jane", groups=["system:masters"])), field_manager="x", dry_run=True)
    sample = copy.deepcopy(sample)
    sample["metadata"] |= {"namespace": "default"} if "namespace" in sample["metadata"] else {}
    sample["metadata"]["name"] += f"-{uuid4().hex[:6]}"  # other tests make the samples as they are
    taken = set()
    for path in strings(sample["spec"]):
        try:
            await client.create(put(sample, path, INJECTION))
        except Invalid:
            continue
        taken.add(".".join(part for part in path if isinstance(part, str)))
    await client.close()
    assert taken <= LITERAL[sample["kind"]]
