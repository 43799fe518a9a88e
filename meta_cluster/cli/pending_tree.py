"""Changes that are still to come, as a branch of a tree: what, from where to where, what it does to pods. Pure; used by the trees of all kinds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from meta_cluster.cli.tree import MARK, Node
from operators.ports.kube import Manifest

MEANINGS = {
    "None": "touches no pod",
    "Reload": "reloads, pods live",
    "Restart": "restarts services, pods live",
    "Drain": "drains the node first",
    "Reboot": "needs a reboot",
    "Reinstall": "needs a new system",
}


def pending_nodes(manifest: Manifest) -> tuple[Node, ...]:
    """One branch, or nothing where nothing is to come. For a Machine, a MachinePool or a Cluster."""
    pending = (manifest.get("status") or {}).get("pending") or ()
    if not pending:
        return ()
    hosts = sum(int(each.get("hosts", 0)) for each in pending)
    counted = f"{len(pending)} change{'s' if len(pending) > 1 else ''}{f' on {hosts} hosts' if hosts > 1 else ''}"
    return (Node("Pending", counted, wrong=True, children=tuple(_change(each) for each in pending)),)


def pending_words(manifest: Manifest) -> tuple[str, ...]:
    """A sentence for each change that is still to come."""
    changes = map(_change, (manifest.get("status") or {}).get("pending") or ())
    return tuple(
        ", ".join([f"{each.label}: {each.text}".replace("   ", ", "), *(child.text for child in each.children)]) for each in changes
    )


def _change(change: Mapping[str, Any]) -> Node:
    hosts = int(change.get("hosts", 0))
    start, end = change.get("from") or "nothing", change.get("to") or "removed"
    way = f"puts {end} back as it was" if start == end else f"{start} -> {end}"
    text = f"{way}   {MEANINGS.get(str(change['effect']), change['effect'])}{f'   {hosts} hosts' if hosts > 1 else ''}"
    said = (Node(MARK, str(change["waits"]), wrong=True),) if change.get("waits") else ()
    return Node(str(change["component"]), text, wrong=True, children=said)


def repair_nodes(machine: Manifest, limit: int = 5) -> tuple[Node, ...]:
    """What was changed by hand and put back, the newest first."""
    repairs = (machine.get("status") or {}).get("repairs") or ()
    nodes = tuple(_repair(each) for each in reversed(repairs[-limit:]))
    return (Node("Put back", f"{len(repairs)} kept", children=nodes),) if nodes else ()


def _repair(repair: Mapping[str, Any]) -> Node:
    end = f"put back {repair['putBackAt']}" if repair.get("putBackAt") else "not put back yet"
    return Node(str(repair["component"]), f"{repair['found']}   {end}", wrong=not repair.get("putBackAt"))
