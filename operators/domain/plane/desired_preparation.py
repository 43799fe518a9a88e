"""What a hop needs before the first pod moves: the images on every meta node and, across minors, a snapshot of etcd. Pure.

These objects live only while a hop prepares itself; the volume of the snapshots stays. Called by cluster_operator.cluster.release_look.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
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


def preparation(
    inputs: PlaneInputs, templates: Mapping[str, str], hop: Hop, destination: ClusterPackageVersion, nodes: Sequence[Manifest] = ()
) -> tuple[Manifest, ...]:
    """The objects: the destination's images unless `nodes` (of the meta cluster) all have them, and the snapshot with the etcd that runs.

    Raises KokError TemplateInvalid.
    """
    rendered = Renderer(replace(inputs, package=destination), templates).render(PREPULL)
    objects = tuple(each for each in rendered if each["kind"] != "DaemonSet" or not at_hand(_images_of(each), nodes))
    if not hop.emulated:
        return objects
    try:
        return (*objects, *Renderer(inputs, templates).render(SNAPSHOT, snapshot=snapshot_name(hop)))
    except NotYet:
        return objects


def unprepared(wanted: Sequence[Manifest], live: Mapping[str, Manifest], pods: Sequence[Manifest]) -> str:
    """What the preparation still waits for, in words; empty when images and snapshot are there. `live`: kind -> the object."""
    daemon_set, job = live.get("DaemonSet"), live.get("Job")
    is_pulling = any(each["kind"] == "DaemonSet" for each in wanted)
    words = not_pulled(daemon_set) if daemon_set else ""
    if is_pulling and (daemon_set is None or words):
        trouble = next(filter(None, (trouble_of(pod) for pod in _of(pods, PREPULL))), "")
        return f"images are pulled first: {trouble or (words if daemon_set else 'not begun')}"
    if any(each["kind"] == "Job" for each in wanted) and (job is None or not int((job.get("status") or {}).get("succeeded") or 0)):
        trouble = next(filter(None, (trouble_of(pod) for pod in _of(pods, SNAPSHOT))), "")
        return f"a snapshot of etcd is taken first{': ' if trouble else ''}{trouble or _failed(job)}"
    return ""


def at_hand(images: Collection[str], nodes: Sequence[Manifest]) -> bool:
    """Whether every meta node that takes pods says that it has all of these. Of no nodes nothing is known; a kubelet names its 50 largest."""
    takers = [node for node in nodes if not any(taint["effect"] in BARRING for taint in (node.get("spec") or {}).get("taints") or ())]
    return bool(takers) and all({whole_name(each) for each in images} <= _images_on(node) for node in takers)


BARRING = ("NoSchedule", "NoExecute")


def whole_name(image: str) -> str:
    """An image as kubelets list it: what names no registry is Docker's."""
    first, slash, _ = image.partition("/")
    if not slash:
        return f"docker.io/library/{image}"
    return image if "." in first or ":" in first or first == "localhost" else f"docker.io/{image}"


def _images_on(node: Manifest) -> set[str]:
    return {whole_name(name) for image in (node.get("status") or {}).get("images") or () for name in image.get("names") or ()}


def _images_of(daemon_set: Manifest) -> set[str]:
    pod = daemon_set["spec"]["template"]["spec"]
    return {container["image"] for container in (*pod["initContainers"], *pod["containers"])}


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
