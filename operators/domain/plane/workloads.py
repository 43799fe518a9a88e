"""What StatefulSets, Deployments and their pods say about a component: how many are ready, what is outdated, what is wrong. Pure.

Made from manifests as the API server shows them; called by cluster_operator.cluster.observe.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from operators.api.base import LABEL_COMPONENT
from operators.domain.plane.inputs import Manifest
from operators.domain.plane.view import Workload

REVISION = "controller-revision-hash"
SAY_LITTLE = frozenset({"ContainerCreating", "PodInitializing"})
"""Waiting reasons of a pod that is simply on its way."""


def workload_of(manifest: Manifest, pods: Sequence[Manifest]) -> Workload:
    """One StatefulSet or Deployment with the pods of its component."""
    status: Mapping[str, Any] = manifest.get("status") or {}
    wanted = int(manifest["spec"].get("replicas", 1))
    seen = int(status.get("observedGeneration") or 0) >= int(manifest["metadata"].get("generation") or 0)
    outdated: tuple[str, ...] = ()
    rolled = True
    if manifest["kind"] == "StatefulSet":
        outdated = _outdated(pods, str(status.get("updateRevision") or "")) if seen else ()
    else:
        rolled = int(status.get("updatedReplicas") or 0) >= wanted and int(status.get("replicas") or 0) <= wanted
    return Workload(
        component=component_of(manifest),
        wanted=wanted,
        ready=int(status.get("readyReplicas") or 0) if seen else 0,
        settled=seen and rolled,
        trouble=next(filter(None, map(trouble_of, pods)), ""),
        unready=tuple(name_of(pod) for pod in pods if not is_ready(pod)),
        outdated=outdated,
    )


def _outdated(pods: Sequence[Manifest], revision: str) -> tuple[str, ...]:
    """Pods of another revision: those that are down anyway first, then from the highest ordinal down."""
    old = [pod for pod in pods if revision and (pod["metadata"].get("labels") or {}).get(REVISION, revision) != revision]
    return tuple(name_of(pod) for pod in sorted(old, key=lambda pod: (is_ready(pod), -ordinal_of(name_of(pod)))))


def component_of(manifest: Manifest) -> str:
    """Value of its component label."""
    return str((manifest["metadata"].get("labels") or {}).get(LABEL_COMPONENT, ""))


def name_of(manifest: Manifest) -> str:
    """metadata.name."""
    return str(manifest["metadata"]["name"])


def ordinal_of(pod: str) -> int:
    """The number at the end of a StatefulSet pod's name."""
    number = pod.rpartition("-")[2]
    return int(number) if number.isdigit() else 0


def is_ready(pod: Manifest) -> bool:
    """Whether its Ready condition is True and it is not ending."""
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return not pod["metadata"].get("deletionTimestamp") and any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def trouble_of(pod: Manifest) -> str:
    """Why a pod is not on its way to ready, in the words of scheduler, kubelet and container; empty if it is, or is ready."""
    if is_ready(pod):
        return ""
    status: Mapping[str, Any] = pod.get("status") or {}
    name = f"pod {name_of(pod)}"
    for condition in status.get("conditions") or ():
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return f"{name} is Pending: {_one_line(condition.get('message') or condition.get('reason') or '')}"
    containers = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
    return next(filter(None, (_container_trouble(name, each) for each in containers)), "")


def _container_trouble(pod: str, container: Mapping[str, Any]) -> str:
    state: Mapping[str, Any] = container.get("state") or {}
    waiting = state.get("waiting") or {}
    last = (container.get("lastState") or {}).get("terminated") or state.get("terminated") or {}
    if (reason := waiting.get("reason", "")) and reason not in SAY_LITTLE:
        return f"{pod}: container {container['name']} waits: {reason}{_ended(last) or _because(waiting)}"
    if last and last.get("exitCode"):
        return f"{pod}: container {container['name']} has ended {container.get('restartCount', 1)} times{_ended(last)}"
    return ""


def _because(waiting: Mapping[str, Any]) -> str:
    message = _one_line(str(waiting.get("message") or ""))
    return f", {message}" if message else ""


def _ended(terminated: Mapping[str, Any]) -> str:
    """Its last words, where the kubelet kept them (terminationMessagePolicy FallbackToLogsOnError)."""
    if not terminated:
        return ""
    lines = [line for line in str(terminated.get("message") or "").strip().splitlines() if line.strip()]
    tail = f", its last line: {lines[-1][:300]}" if lines else ""
    return f", exit code {terminated.get('exitCode')}{tail}"


def _one_line(text: str, limit: int = 300) -> str:
    return " ".join(text.split())[:limit]


def workloads_of(manifests: Iterable[Manifest], pods: Sequence[Manifest]) -> dict[str, Workload]:
    """Component -> its workload."""
    found = {}
    for manifest in manifests:
        component = component_of(manifest)
        found[component] = workload_of(manifest, [pod for pod in pods if component_of(pod) == component])
    return found
