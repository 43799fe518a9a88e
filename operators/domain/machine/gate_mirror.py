"""A Node's conditions that show what reports say: one for each gate that is read from ConfigMaps. Pure; called by the gates' rungs.

Which conditions are kok's stands in an annotation, written before the first of them and changed after the last, so that a gate that leaves the
pool takes its condition with it, and nobody else's is ever touched. A condition is written when its words change, not at every pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from operators.api.pools import RESERVED_GATES, GateSource
from operators.domain.machine.gates import GateResult
from operators.domain.machine.node import OWN_CONDITIONS, NodeFacts
from operators.domain.machine.steps import MirrorGates, PatchNode, Rung, Step

MESSAGE_LIMIT = 1024


def mirror_step(node: NodeFacts, results: Sequence[GateResult], now: datetime) -> Step | None:
    """The next write that makes the Node show its gates; None if it does. A Node without any condition waits for its kubelet."""
    wanted = {r.type: r for r in results if r.source is GateSource.ConfigMap and r.type not in RESERVED_GATES}
    noted = set(filter(None, node.annotations.get(OWN_CONDITIONS, "").split(",")))
    if not node.conditions:
        return None
    if missing := set(wanted) - noted:
        return _note(noted | missing)
    operations = [*_updates(node, wanted, now), *_removals(node, noted - set(wanted))]
    if operations:
        return MirrorGates(reason="shows on the Node what its gates say", rung=Rung.Gates, operations=tuple(operations))
    return _note(set(wanted)) if noted != set(wanted) else None


def _note(types: set[str]) -> Step:
    patch: dict[str, object] = {"metadata": {"annotations": {OWN_CONDITIONS: ",".join(sorted(types)) or None}}}
    return PatchNode(reason="notes which conditions of the Node are kok's", patch=patch, rung=Rung.Gates)


def _updates(node: NodeFacts, wanted: dict[str, GateResult], now: datetime) -> list[dict[str, Any]]:
    stamp = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    places = {condition.type: (index, condition) for index, condition in enumerate(node.conditions)}
    operations: list[dict[str, Any]] = []
    for name, result in sorted(wanted.items()):
        status, message = "True" if result.is_open else "False", result.message[:MESSAGE_LIMIT]
        index, before = places.get(name, (-1, None))
        if before and (before.status, before.reason, before.message) == (status, result.reason.value, message):
            continue
        since = before.transition if before and before.status == status and before.transition else stamp
        value = {"type": name, "status": status, "reason": result.reason.value, "message": message}
        value |= {"lastHeartbeatTime": stamp, "lastTransitionTime": since}
        path = f"/status/conditions/{index}" if before else "/status/conditions/-"
        operations.append({"op": "replace" if before else "add", "path": path, "value": value})
    return operations


def _removals(node: NodeFacts, gone: set[str]) -> list[dict[str, Any]]:
    """From the end, so that places before stay what they were."""
    places = [index for index, condition in enumerate(node.conditions) if condition.type in gone]
    return [{"op": "remove", "path": f"/status/conditions/{index}"} for index in reversed(places)]
