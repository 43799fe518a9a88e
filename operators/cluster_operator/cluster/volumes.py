"""Why a volume of etcd does not come, in the provisioner's own words: they stand in events only. Reads; called by observe while a claim is pending."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from operators.cluster_operator.cluster.world import World
from operators.domain.plane.inputs import Manifest
from operators.domain.plane.view import Workload
from operators.domain.plane.workloads import component_of, name_of
from operators.errors import KokError
from operators.ports.kube import Kind

EVENT = Kind("v1", "Event")


async def with_volume_trouble(world: World, workloads: Mapping[str, Workload], claims: Iterable[Manifest]) -> Mapping[str, Workload]:
    """The workloads, those whose volume was refused with the reason; asks only if a claim is pending."""
    pending = {name_of(claim): claim for claim in claims if (claim.get("status") or {}).get("phase") == "Pending"}
    if not pending:
        return workloads
    namespace = next(iter(pending.values()))["metadata"]["namespace"]
    try:
        events = (await world.meta.list(EVENT, namespace=namespace, deadline=3.0)).items
    except KokError:
        return workloads  # only words are missing
    result = dict(workloads)
    for name, claim in pending.items():
        workload, words = result.get(component_of(claim)), _last_warning(events, name)
        if workload and words and not workload.trouble:
            result[workload.component] = replace(workload, trouble=f"volume claim {name} is Pending: {words}")
    return result


def _last_warning(events: Iterable[Manifest], claim: str) -> str:
    about = [
        event
        for event in events
        if event.get("type") == "Warning"
        and (event.get("involvedObject") or {}).get("kind") == "PersistentVolumeClaim"
        and event["involvedObject"].get("name") == claim
    ]
    if not about:
        return ""
    last = max(about, key=lambda event: str(event.get("lastTimestamp") or event.get("eventTime") or ""))
    return " ".join(str(last.get("message", "")).split())[:300]
