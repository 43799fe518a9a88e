"""What was seen of a target whose holder never reported: only positive evidence frees its slot. Pure; what to read is cluster_operator/risk/targets.py's.

A Machine is judged by Node facts, not by a status that somebody wrote about it (safety: nothing heals by silence).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from operators.domain.risk.identity import at

TAINT_NOT_READY = "kok.dev/not-ready"
SETTLING = timedelta(seconds=60)
"""What has not been in service since it was made is being built, not lost."""


class Sighting(StrEnum):
    """What is known of a target now."""

    Healthy = "Healthy"
    """It works, and nothing keeps work away from it."""
    Gone = "Gone"
    """Its API server says that it does not exist."""
    Impaired = "Impaired"
    """It exists and is not in order."""
    Unclear = "Unclear"
    """It could not be looked at."""


@dataclass(frozen=True, slots=True)
class Sighted:
    """One look at a target; `detail` says what was seen, or why nothing was."""

    sighting: Sighting
    detail: str

    @property
    def frees(self) -> bool:
        """Whether a slot that nobody reported on may be freed by it."""
        return self.sighting in (Sighting.Healthy, Sighting.Gone)


def sighted_machine(machine: Mapping[str, Any] | None, node: Mapping[str, Any] | None) -> Sighted:
    """Of a Machine and the Node of its name, as their API server gave them (None: it said that there is none)."""
    if node is None:
        if machine is None:
            return Sighted(Sighting.Gone, "neither Machine nor Node exists")
        return Sighted(Sighting.Impaired, "the Machine has no Node")
    if (machine or node)["metadata"].get("deletionTimestamp"):
        return Sighted(Sighting.Impaired, "it is being deleted")
    if trouble := node_trouble(node):
        return Sighted(Sighting.Impaired, trouble)
    return Sighted(Sighting.Healthy, "its Node is Ready and schedulable")


def node_trouble(node: Mapping[str, Any]) -> str:
    """Why a Node is out of service; empty if it is not."""
    if node["metadata"].get("deletionTimestamp"):
        return "it is being deleted"
    spec, conditions = node.get("spec") or {}, (node.get("status") or {}).get("conditions") or ()
    if spec.get("unschedulable"):
        return "its Node is cordoned"
    if any(taint.get("key") == TAINT_NOT_READY for taint in spec.get("taints") or ()):
        return f"its Node carries the taint {TAINT_NOT_READY}"
    ready = next((condition.get("status") for condition in conditions if condition.get("type") == "Ready"), "missing")
    return "" if ready == "True" else f"its Node's Ready condition is {ready}"


def lost_at(thing: Mapping[str, Any], condition: str = "Ready") -> datetime | None:
    """When a Node, a pod or a Deployment that stood was lost, by that condition; None if it stands, or never stood, or does not say."""
    conditions = (thing.get("status") or {}).get("conditions") or ()
    found = next((each for each in conditions if each.get("type") == condition), None)
    created, since = thing["metadata"].get("creationTimestamp"), (found or {}).get("lastTransitionTime")
    if found is None or found.get("status") == "True" or not created or not since:
        return None
    return at(since) if at(since) - at(created) >= SETTLING else None
