"""Writes Kubernetes Events: the same sentence that the condition shows, once per change of it.

Never a reason for a pass to fail, and never an input of a decision. Called by the reconcile loop, and by a controller that has more to tell.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from uuid import uuid4

import structlog

from operators.engine.clock import utc_now
from operators.errors import KokError
from operators.ports.kube import KubePort, Manifest, Ref

log = structlog.get_logger(__name__)
NOTE_LIMIT = 1024  # bytes, events.k8s.io/v1 validation


@dataclass(frozen=True, slots=True)
class Occurrence:
    """What happened to an object: `reason` is one CamelCase word, `note` the sentence, `action` what was being done."""

    regarding: Ref
    uid: str
    reason: str
    note: str
    action: str = "Reconcile"
    warning: bool = False


class EventRecorder:
    """Creates events.k8s.io/v1 Events as `component` (e.g. `kok-cluster-operator`) and `instance` (the pod)."""

    def __init__(self, kube: KubePort, component: str, instance: str, *, now: Callable[[], datetime] = utc_now) -> None:
        self._kube, self._component, self._instance, self._now = kube, component, instance, now

    async def record(self, occurrence: Occurrence) -> None:
        """Create the Event; a failure is logged and forgotten."""
        try:
            await self._kube.create(self._event_of(occurrence))
        except KokError as error:
            log.debug("event not written", regarding=str(occurrence.regarding), error=str(error))

    def _event_of(self, occurrence: Occurrence) -> Manifest:
        ref = occurrence.regarding
        namespace = ref.namespace or "default"
        return {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": f"{ref.name[:200]}.{uuid4().hex[:16]}", "namespace": namespace},
            "eventTime": self._now().isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "reportingController": self._component,
            "reportingInstance": self._instance[:128],
            "action": occurrence.action,
            "reason": occurrence.reason[:128],
            "note": occurrence.note.encode()[:NOTE_LIMIT].decode(errors="ignore"),
            "type": "Warning" if occurrence.warning else "Normal",
            "regarding": _object_reference(ref, occurrence.uid),
        }


def _object_reference(ref: Ref, uid: str) -> Manifest:
    reference = {"apiVersion": ref.api_version, "kind": ref.kind, "name": ref.name, "namespace": ref.namespace, "uid": uid}
    return {field: value for field, value in reference.items() if value}
