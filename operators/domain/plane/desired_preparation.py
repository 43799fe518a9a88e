"""What a hop needs before the first pod moves: the images on every meta node and, across minors, a snapshot of etcd. Pure.

These objects live only while a hop prepares itself; the volume of the snapshots stays. Called by cluster_operator.cluster.release_look.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from operators.api.base import LABEL_COMPONENT
from operators.api.cluster_release import Hop
from operators.api.packages import ClusterPackageVersion
from operators.domain.plane.desired_rendering import NotYet, Renderer
from operators.domain.plane.inputs import Manifest, PlaneInputs
from operators.domain.plane.workloads import trouble_of
from operators.domain.risk.identity import at

PREPULL, SNAPSHOT = "prepull", "snapshot"
PREPARING = frozenset({PREPULL, SNAPSHOT})
"""Components that exist only while a hop is being prepared."""


def snapshot_name(hop: Hop) -> str:
    """Of the Job and of the file; a new hop takes a new one."""
    return f"snapshot-{at(hop.started_at):%Y%m%d-%H%M%S}"


def preparation(inputs: PlaneInputs, templates: Mapping[str, str], hop: Hop, destination: ClusterPackageVersion) -> tuple[Manifest, ...]:
    """The objects: the destination's images, and the snapshot with the etcd that runs. Raises KokError TemplateInvalid."""
    objects = Renderer(replace(inputs, package=destination), templates).render(PREPULL)
    if not hop.emulated:
        return objects
    try:
        return (*objects, *Renderer(inputs, templates).render(SNAPSHOT, snapshot=snapshot_name(hop)))
    except NotYet:
        return objects


def unprepared(wanted: Sequence[Manifest], live: Mapping[str, Manifest], pods: Sequence[Manifest]) -> str:
    """What the preparation still waits for, in words; empty when images and snapshot are there. `live`: kind -> the object."""
    daemon_set, job = live.get("DaemonSet"), live.get("Job")
    if daemon_set is None or (words := not_pulled(daemon_set)):
        trouble = next(filter(None, (trouble_of(pod) for pod in _of(pods, PREPULL))), "")
        return f"images are pulled first: {trouble or (words if daemon_set else 'not begun')}"
    if any(each["kind"] == "Job" for each in wanted) and (job is None or not int((job.get("status") or {}).get("succeeded") or 0)):
        trouble = next(filter(None, (trouble_of(pod) for pod in _of(pods, SNAPSHOT))), "")
        return f"a snapshot of etcd is taken first{': ' if trouble else ''}{trouble or _failed(job)}"
    return ""


def not_pulled(daemon_set: Manifest) -> str:
    """How many of the meta nodes have the images, in words; empty when all have."""
    status = daemon_set.get("status") or {}
    if int(status.get("observedGeneration") or 0) < int(daemon_set["metadata"].get("generation") or 0):
        return "not begun"
    wanted, fresh, ready = (int(status.get(field) or 0) for field in ("desiredNumberScheduled", "updatedNumberScheduled", "numberReady"))
    done = min(fresh, ready)
    return "" if done >= wanted else f"{done} of {wanted} meta nodes have them"


def _failed(job: Manifest | None) -> str:
    conditions = ((job or {}).get("status") or {}).get("conditions") or ()
    failed = next((each for each in conditions if each["type"] == "Failed" and each["status"] == "True"), None)
    return f": it failed, {failed.get('message', '')}; kubectl delete the Job to try again" if failed else ""


def _of(pods: Sequence[Manifest], component: str) -> list[Manifest]:
    return [pod for pod in pods if (pod["metadata"].get("labels") or {}).get(LABEL_COMPONENT) == component]
