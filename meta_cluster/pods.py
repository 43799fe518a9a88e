"""What keeps a pod from being ready, in one sentence with the kubelet's or the scheduler's own words. Pure; called by `kok why`, `kok describe`, `kok meta install`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from operators.ports.kube import Manifest


@dataclass(frozen=True, slots=True)
class PodTrouble:
    """One link of a chain of reasons: what is so, and the object that says it."""

    pod: str
    sentence: str
    event: str = ""
    """The last warning about the pod, with how often and what it says."""


def is_ready(pod: Manifest) -> bool:
    """Whether the kubelet says Ready, and nobody asked for its deletion."""
    if pod["metadata"].get("deletionTimestamp"):
        return False
    return any(c["type"] == "Ready" and c["status"] == "True" for c in (pod.get("status") or {}).get("conditions") or ())


def pod_trouble(pod: Manifest, events: Sequence[Manifest] = ()) -> PodTrouble | None:
    """Why the pod is not ready, or None if it is. `events`: of its namespace, any order."""
    if is_ready(pod):
        return None
    name = pod["metadata"]["name"]
    return PodTrouble(name, _sentence(pod), last_warning(name, events))


def last_warning(name: str, events: Iterable[Manifest]) -> str:
    """The newest Warning about the object of that name: `FailedMount: secret "x" not found (x22)`; empty if there is none."""
    about = [e for e in events if _regarding(e) == name and e.get("type") == "Warning"]
    if not about:
        return ""
    newest = max(about, key=event_time)
    count = int(newest.get("count") or (newest.get("series") or {}).get("count") or 1)
    times = f" (x{count})" if count > 1 else ""
    return f"{newest.get('reason', '?')}: {(newest.get('message') or newest.get('note') or '').strip()}{times}"


def says_the_same(event: str, said: str) -> bool:
    """Whether an event (`Reason: message (xN)`) adds nothing to what is said already."""
    words = event.partition(": ")[2]
    return (words.rpartition(" (x")[0] if " (x" in event else words) in said


def event_time(event: Manifest) -> str:
    """RFC 3339 of the last occurrence; works for core/v1 and events.k8s.io/v1."""
    series = event.get("series") or {}
    stamps = (
        series.get("lastObservedTime"),
        event.get("lastTimestamp"),
        event.get("eventTime"),
        event["metadata"].get("creationTimestamp"),
    )
    return next((str(stamp) for stamp in stamps if stamp), "")


def _regarding(event: Manifest) -> str:
    return str((event.get("involvedObject") or event.get("regarding") or {}).get("name") or "")


def _sentence(pod: Manifest) -> str:
    name, status = pod["metadata"]["name"], pod.get("status") or {}
    if pod["metadata"].get("deletionTimestamp"):
        return f"pod {name} is being deleted"
    for container in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
        if sentence := _container_sentence(container):
            return f"pod {name}: {sentence}"
    for condition in status.get("conditions") or ():
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return f"pod {name} cannot be scheduled: {condition.get('message') or condition.get('reason')}"
    if status.get("reason"):
        return f"pod {name}: {status['reason']}: {status.get('message') or status.get('phase')}"
    return f"pod {name} is {status.get('phase') or 'not known to the kubelet yet'}, not ready"


def _container_sentence(container: dict[str, Any]) -> str:
    state = container.get("state") or {}
    name, waiting, ended = container["name"], state.get("waiting"), state.get("terminated")
    before = (container.get("lastState") or {}).get("terminated")
    if waiting and waiting.get("reason") not in ("PodInitializing", "ContainerCreating"):
        was = f"; it ended with exit code {before['exitCode']} ({before.get('reason', '?')})" if before else ""
        return f"container {name} waits: {waiting.get('reason')}: {waiting.get('message') or 'no message'}{was}"
    if ended and ended.get("exitCode"):
        text = (ended.get("message") or "").strip()
        return f"container {name} ended with exit code {ended['exitCode']} ({ended.get('reason', '?')}){f': {text}' if text else ''}"
    if "running" in state and not container.get("ready", True):
        times = container.get("restartCount") or 0
        return f"container {name} runs but its readiness probe does not succeed{f' (restarted {times} times)' if times else ''}"
    return ""
