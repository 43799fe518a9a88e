"""What is read of a Node, and the one patch by which kok changes it. Pure; called by observe, the ladder and the danger adapter.

kok owns on a Node: the labels and taints its pool lists (remembered in annotations, so that what leaves the pool leaves the Node),
the taint kok.dev/not-ready, and its own entries in kok.dev/cordon-claims. Everything else is left alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from operators.api.pools import Taint, TaintEffect

NOT_READY = Taint(key="kok.dev/not-ready", effect=TaintEffect.NoSchedule)
CORDON_CLAIMS = "kok.dev/cordon-claims"
SOMEBODY = "somebody"
"""The claim that stands for a cordon that was there before kok's."""
OPENED_BOOT = "kok.dev/opened-boot-id"
OWN_LABELS = "kok.dev/pool-labels"
OWN_TAINTS = "kok.dev/pool-taints"
OWN_CONDITIONS = "kok.dev/gate-conditions"


@dataclass(frozen=True, slots=True)
class NodeCondition:
    """One condition of a Node."""

    type: str
    status: str
    reason: str = ""
    message: str = ""
    heartbeat: str = ""
    transition: str = ""


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """A Node, as decisions see it."""

    name: str
    uid: str
    resource_version: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    taints: tuple[Mapping[str, Any], ...]
    unschedulable: bool
    boot_id: str
    conditions: tuple[NodeCondition, ...]

    @property
    def ready(self) -> NodeCondition:
        """Its Ready condition; Unknown when the kubelet has not reported yet."""
        missing = NodeCondition("Ready", "Unknown", "NotReported", "the kubelet has not reported yet")
        return next((condition for condition in self.conditions if condition.type == "Ready"), missing)

    @property
    def is_ready(self) -> bool:
        """Whether Ready is True."""
        return self.ready.status == "True"

    @property
    def is_closed(self) -> bool:
        """Whether it carries kok's not-ready taint."""
        return any(_is(taint, NOT_READY) for taint in self.taints)

    @property
    def cordon_claims(self) -> tuple[str, ...]:
        """Who keeps it cordoned."""
        return tuple(filter(None, self.annotations.get(CORDON_CLAIMS, "").split(",")))


def node_of(manifest: Mapping[str, Any]) -> NodeFacts:
    """The facts of a Node manifest."""
    metadata, spec, status = manifest["metadata"], manifest.get("spec") or {}, manifest.get("status") or {}
    conditions = tuple(
        NodeCondition(
            c["type"],
            c["status"],
            c.get("reason") or "",
            c.get("message") or "",
            c.get("lastHeartbeatTime") or "",
            c.get("lastTransitionTime") or "",
        )
        for c in status.get("conditions") or ()
    )
    return NodeFacts(
        metadata["name"],
        metadata.get("uid", ""),
        metadata.get("resourceVersion", ""),
        metadata.get("labels") or {},
        metadata.get("annotations") or {},
        tuple(spec.get("taints") or ()),
        bool(spec.get("unschedulable")),
        (status.get("nodeInfo") or {}).get("bootID", ""),
        conditions,
    )


def close_patch(node: NodeFacts) -> dict[str, Any]:
    """Put the not-ready taint on."""
    return {"spec": {"taints": [*node.taints, _manifest(NOT_READY)]}}


def open_patch(node: NodeFacts) -> dict[str, Any]:
    """Take the not-ready taint off, and note for which boot that was judged."""
    taints = [taint for taint in node.taints if not _is(taint, NOT_READY)]
    return {"metadata": {"annotations": {OPENED_BOOT: node.boot_id}}, "spec": {"taints": taints or None}}


def settings_patch(node: NodeFacts, labels: Mapping[str, str], taints: Sequence[Taint]) -> dict[str, Any]:
    """The pool's labels and taints on the Node, and off what left the pool; empty if it is right."""
    ours = set(filter(None, node.annotations.get(OWN_LABELS, "").split(",")))
    changes: dict[str, str | None] = {key: value for key, value in labels.items() if node.labels.get(key) != value}
    changes |= {key: None for key in ours - set(labels) if key in node.labels}
    notes = {OWN_LABELS: ",".join(sorted(labels)), OWN_TAINTS: ",".join(sorted(_id(_manifest(t)) for t in taints))}
    notes = {key: value for key, value in notes.items() if node.annotations.get(key, "") != value}
    wanted = _wanted_taints(node, taints)
    patch: dict[str, Any] = {}
    if changes or notes:
        patch["metadata"] = {"labels": changes, "annotations": notes}
    if wanted != list(node.taints):
        patch["spec"] = {"taints": wanted}
    return patch


def _wanted_taints(node: NodeFacts, taints: Sequence[Taint]) -> list[Mapping[str, Any]]:
    ours = set(filter(None, node.annotations.get(OWN_TAINTS, "").split(",")))
    wanted = {_id(_manifest(taint)): _manifest(taint) for taint in taints}
    kept = [_corrected(taint, wanted) for taint in node.taints if _id(taint) in wanted or _id(taint) not in ours]
    present = {_id(taint) for taint in kept}
    return [*kept, *(taint for key, taint in wanted.items() if key not in present)]


def _corrected(taint: Mapping[str, Any], wanted: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any]:
    right = wanted.get(_id(taint), taint)
    return taint if taint.get("value", "") == right.get("value", "") else right


def cordon_patch(node: NodeFacts, owner: str) -> dict[str, Any]:
    """Cordon with a claim of `owner`; a cordon that was there before is claimed for somebody, so that kok never lifts it. Empty if it is so.

    Empty, too, where the claim is there and the cordon is not: a person lifted it, and kok does not put it on again (`cancelled`).
    """
    before = (SOMEBODY,) if node.unschedulable and not node.cordon_claims else ()
    claims = (*node.cordon_claims, *before, owner) if owner not in node.cordon_claims else node.cordon_claims
    if claims == node.cordon_claims:
        return {}
    return {"metadata": {"annotations": {CORDON_CLAIMS: ",".join(claims)}}, "spec": {"unschedulable": True}}


def uncordon_patch(node: NodeFacts, owners: frozenset[str]) -> dict[str, Any]:
    """Give up the claims of `owners`; the last claim to go makes the Node schedulable. Empty if there is none of theirs."""
    rest = [claim for claim in node.cordon_claims if claim not in owners]
    if len(rest) == len(node.cordon_claims):
        return {}
    if rest:
        return {"metadata": {"annotations": {CORDON_CLAIMS: ",".join(rest)}}}
    return {"metadata": {"annotations": {CORDON_CLAIMS: None}}, "spec": {"unschedulable": None}}


def _manifest(taint: Taint) -> dict[str, str]:
    value = {"value": taint.value} if taint.value else {}
    return {"key": taint.key, **value, "effect": taint.effect.value}


def _id(taint: Mapping[str, Any]) -> str:
    return f"{taint['key']}:{taint['effect']}"


def _is(taint: Mapping[str, Any], other: Taint) -> bool:
    return _id(taint) == _id(_manifest(other))
