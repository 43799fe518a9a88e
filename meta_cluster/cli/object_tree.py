"""The tree of any one object: a Machine with its packages and conditions, and every other kind by its conditions and its spec. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from meta_cluster.cli.cluster_tree import headline
from meta_cluster.cli.conditions import SUMMARY, conditions_in, is_ready, is_wrong
from meta_cluster.cli.pending_tree import pending_nodes, repair_nodes
from meta_cluster.cli.times import age_of
from meta_cluster.cli.tree import MARK, Node
from operators.ports.kube import Manifest


def machine_tree(machine: Manifest, place: str, now: datetime) -> Node:
    """A Machine of the business cluster `place` (namespace/name)."""
    status = machine.get("status") or {}
    packages = tuple(_package(package) for package in status.get("packages") or ())
    address = f"   address {status['address']}" if status.get("address") else ""
    children = (
        Node("Wish", f"{machine['spec'].get('desiredState', 'InService')}, pool {machine['spec']['pool']}{address}"),
        _packages(machine, packages),
        *pending_nodes(machine),
        *repair_nodes(machine),
        conditions_node(machine, now),
    )
    said = (Node(MARK, str(status["message"]), wrong=True),) if status.get("message") and not is_ready(machine) else ()
    return Node(f"Machine {machine['metadata']['name']} of {place}", headline(machine, now), not is_ready(machine), (*said, *children))


def _packages(machine: Manifest, packages: Sequence[Node]) -> Node:
    """What matches; of a host that nobody can look at now, what did."""
    if not packages:
        return Node("Packages", "none observed yet", wrong=True)
    matching = sum(not package.wrong for package in packages)
    is_known = conditions_in(machine).get("PackagesReady", {}).get("status") != "Unknown"
    word = "match" if is_known else "matched when last seen"
    return Node("Packages", f"{matching} of {len(packages)} {word}", not is_known, tuple(packages))


def _package(package: Mapping[str, Any]) -> Node:
    name, version = str(package["component"]), str(package.get("version") or "absent")
    if package.get("matches"):
        return Node(name, version)
    pending = f" (will {str(package['pending']).lower()})" if package.get("pending") not in (None, "None") else ""
    return Node(
        name, f"{version} -> {package.get('wanted') or 'to be removed'}{pending}: {package.get('difference') or 'differs'}", wrong=True
    )


def object_tree(manifest: Manifest, now: datetime) -> Node:
    """Any kind: its conditions where it has any, and its spec."""
    metadata, status = manifest["metadata"], manifest.get("status") or {}
    place = f"{metadata['namespace']}/{metadata['name']}" if metadata.get("namespace") else metadata["name"]
    message = (Node("Status", str(status["message"])),) if status.get("message") else ()
    conditions = (conditions_node(manifest, now),) if conditions_in(manifest) else ()
    text = headline(manifest, now) if conditions else f"age {age_of(metadata.get('creationTimestamp'), now)}"
    return Node(
        f"{manifest['kind']} {place}",
        text,
        bool(conditions) and not is_ready(manifest),
        (*message, *pending_nodes(manifest), *conditions, data_node("Spec", manifest["spec"])),
    )


def conditions_node(manifest: Manifest, now: datetime) -> Node:
    """All conditions; what is wrong is marked, and no sentence is said twice."""
    nodes, told = [], {(manifest.get("status") or {}).get("message")}
    for condition in conditions_in(manifest).values():
        if condition["type"] in SUMMARY[1:] and not is_wrong(condition):
            continue
        message = condition.get("message")
        said = f": {message}" if message and message not in told else ""
        told.add(message)
        text = f"{condition['status']} for {age_of(condition.get('lastTransitionTime'), now)}   {condition['reason']}{said}"
        nodes.append(Node(condition["type"], text, is_wrong(condition)))
    fine = sum(not node.wrong for node in nodes)
    return Node("Conditions", f"{fine} of {len(nodes)} fine" if nodes else "none yet", not nodes, tuple(nodes))


def data_node(label: str, value: Any) -> Node:
    """Fields as branches, values as text."""
    if isinstance(value, Mapping) and value:
        return Node(label, "", False, tuple(data_node(str(key), item) for key, item in value.items()))
    if isinstance(value, Sequence) and not isinstance(value, str) and any(isinstance(item, Mapping) for item in value):
        return Node(label, "", False, tuple(data_node(_name_of(item, index), item) for index, item in enumerate(value)))
    if isinstance(value, Sequence) and not isinstance(value, str):
        return Node(label, ", ".join(map(str, value)) or "-")
    return Node(label, " ".join(str(value).split()) or "-")


def _name_of(item: Any, index: int) -> str:
    return str(item.get("name") or item.get("path") or item.get("type") or index) if isinstance(item, Mapping) else str(index)
