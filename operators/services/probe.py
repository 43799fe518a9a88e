"""kok's own measure of a business cluster: can it make a pod? One small pod, made, watched until it runs, deleted. Works before any monitoring exists.

Touches only pods with its own label in its own namespace, and removes those that an earlier process left. Called by cluster_operator.rollout.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from operators.api.base import LABEL_MANAGED_BY, MANAGED_BY
from operators.errors import KokError
from operators.ports.kube import Kind, KubePort, Manifest, NotFound, Preconditions, Ref

NAMESPACE = "kok-probe"
POD = Kind("v1", "Pod")
SELECTOR = "app.kubernetes.io/component=probe"
POLL = 0.2
DEADLINE = 20.0
"""Seconds until a pod that does not run counts as a failure."""
FINISH = 5.0
"""Seconds for its deletion."""
LEFT_BEHIND = timedelta(seconds=60)
"""A pod of that age belongs to no probe that still runs: several may run at once."""


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """Whether the cluster made a pod, in how many seconds, and if not why."""

    good: bool
    seconds: float
    reason: str = ""
    is_of_server: bool = False
    """Whether it was the API server that did not do its part: of a single node that says nothing."""


async def probe(port: KubePort, *, image: str, node: str = "", deadline: float = DEADLINE) -> ProbeResult:
    """Make one pod and see it run; where there is no node at all, see the scheduler say so. Never raises KokError: a failure is a result.

    `node`: on this one, without the scheduler.
    """
    began = time.monotonic()
    try:
        async with asyncio.timeout(deadline):
            await _prepare(port)
            made = await port.create(_pod(image, node))
            try:
                await _until_made(port, Ref.of(made))
            finally:
                await asyncio.shield(_remove(port, made))
    except TimeoutError:
        return ProbeResult(False, time.monotonic() - began, f"the pod did not run within {deadline:.0f} s")
    except KokError as error:
        return ProbeResult(False, time.monotonic() - began, error.message, is_of_server=True)
    return ProbeResult(True, time.monotonic() - began)


async def _prepare(port: KubePort) -> None:
    """The namespace, and no pods of a process that ended in the middle."""
    found = await port.list(POD, namespace=NAMESPACE, selector=SELECTOR)
    for pod in found.items:
        if datetime.now(UTC) - datetime.fromisoformat(pod["metadata"]["creationTimestamp"]) > LEFT_BEHIND:
            await _remove(port, pod)
    if not found.items and await port.get(Kind("v1", "Namespace").ref(NAMESPACE)) is None:
        labels = {LABEL_MANAGED_BY: MANAGED_BY}
        await port.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}})
        account = Kind("v1", "ServiceAccount").ref("default", NAMESPACE)
        while await port.get(account) is None:  # noqa: ASYNC110 - an object in another process; bounded by the deadline
            await asyncio.sleep(POLL)  # no pod is admitted before it is there


def _pod(image: str, node: str = "") -> Manifest:
    labels = {LABEL_MANAGED_BY: MANAGED_BY, "app.kubernetes.io/component": "probe"}
    resources = {"requests": {"cpu": "1m", "memory": "4Mi"}, "limits": {"memory": "16Mi"}}
    spec: Manifest = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 0,
        "activeDeadlineSeconds": 60,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "containers": [{"name": "probe", "image": image, "imagePullPolicy": "IfNotPresent", "resources": resources}],
    }
    if node:
        spec |= {"nodeName": node, "tolerations": [{"operator": "Exists"}]}
    metadata = {"name": f"probe-{uuid4().hex[:10]}", "namespace": NAMESPACE, "labels": labels}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


async def _until_made(port: KubePort, ref: Ref) -> None:
    """Until it runs, or the scheduler has said that there is no node to run it on."""
    while True:
        found = await port.get(ref)
        if found is None:
            raise NotFound(f"{ref} was deleted by somebody while it was watched")
        status = found.get("status") or {}
        if status.get("phase") in ("Running", "Succeeded") or _has_no_nodes(status) or _is_full(status):
            return
        await asyncio.sleep(POLL)


def _has_no_nodes(status: Manifest) -> bool:
    """Whether the scheduler looked at it and found a cluster without nodes: as good as that cluster can be."""
    conditions = {each["type"]: each for each in status.get("conditions") or ()}
    words = conditions.get("PodScheduled", {}).get("message") or ""
    return "no nodes available" in words or words.startswith("0/0 nodes")


def _is_full(status: Manifest) -> bool:
    """Whether the node's kubelet looked at it and found no room: as good as that node can be."""
    return status.get("phase") == "Failed" and str(status.get("reason") or "").startswith("OutOf")


async def _remove(port: KubePort, pod: Manifest) -> None:
    try:
        await port.delete(Ref.of(pod), preconditions=Preconditions(uid=pod["metadata"]["uid"]), deadline=FINISH)
    except KokError:
        return  # the next probe removes what is left
