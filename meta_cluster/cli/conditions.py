"""Which conditions of an object need a person's eye, and in which order causes come before what they cause. Pure; used by trees and chains of reasons."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from operators.ports.kube import Manifest

ConditionView = Mapping[str, Any]
ABNORMAL_TRUE = frozenset({"Reconciling", "Stalled", "CertificatesRefused"})
"""Conditions that are a sign of something when they are True."""
NO_SIGN = frozenset({"Drained", "Staged"})
"""Conditions that are neither good nor bad."""
SUMMARY = ("Ready", "Reconciling", "Stalled")
CAUSES_FIRST = (
    "KeysReady", "EtcdReady", "ApiserverReady", "ControllersReady", "InsideReady", "MachineOperatorReady", "ReleaseMatchesWish",
    "HostReachable", "PackagesReady", "CertificatesRefused", "NodeReady", "GatesOpen",
)  # fmt: skip
"""Stages of a Cluster, then of a Machine; any other condition comes after these."""


def conditions_in(manifest: Manifest) -> dict[str, ConditionView]:
    """By type."""
    return {c["type"]: c for c in (manifest.get("status") or {}).get("conditions") or ()}


def is_wrong(condition: ConditionView) -> bool:
    """Whether it says that something is not as it should be, or is not known."""
    if condition["type"] in NO_SIGN:
        return False
    return bool(condition["status"] == "True") if condition["type"] in ABNORMAL_TRUE else bool(condition["status"] != "True")


def wrong_stages(manifest: Manifest) -> list[ConditionView]:
    """The conditions that are wrong, without the summaries, causes first."""
    return sorted((c for c in _stages(manifest) if is_wrong(c)), key=_rank)


def _stages(manifest: Manifest) -> Iterable[ConditionView]:
    return (c for c in conditions_in(manifest).values() if c["type"] not in SUMMARY)


def _rank(condition: ConditionView) -> tuple[int, str]:
    known = condition["type"] in CAUSES_FIRST
    return (CAUSES_FIRST.index(condition["type"]) if known else len(CAUSES_FIRST), condition["type"])


def is_ready(manifest: Manifest) -> bool:
    """Whether Ready is True of the generation that is stored."""
    ready = conditions_in(manifest).get("Ready")
    if ready is None or ready["status"] != "True":
        return False
    generation = int(manifest["metadata"].get("generation") or 0)
    return int(ready.get("observedGeneration") or generation) >= generation
