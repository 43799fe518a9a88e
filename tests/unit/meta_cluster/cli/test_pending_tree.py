"""Changes to come and repairs done, as branches of a tree."""

from __future__ import annotations

from meta_cluster.cli.pending_tree import pending_nodes, repair_nodes
from meta_cluster.cli.tree import rendered

KUBELET = {"component": "kubelet", "from": "kubelet-1.35.3-r1", "to": "kubelet-1.35.4-r1", "effect": "Restart"}


def drawn(*nodes: object) -> str:
    return "\n".join(rendered(node, width=None, coloured=False) for node in nodes)  # type: ignore[arg-type]


def test_should_say_what_changes_and_what_it_does_to_pods() -> None:
    pending = [{**KUBELET, "hosts": 12}, {"component": "sysctl", "from": "sysctl-1-r1", "to": "", "effect": "None", "hosts": 2}]
    text = drawn(*pending_nodes({"status": {"pending": pending}}))
    assert "Pending" in text
    assert "2 changes on 14 hosts" in text
    assert "kubelet-1.35.3-r1 -> kubelet-1.35.4-r1   restarts services, pods live   12 hosts" in text
    assert "sysctl-1-r1 -> removed   touches no pod   2 hosts" in text


def test_should_say_why_a_change_waits_and_what_is_put_back() -> None:
    waits = {**KUBELET, "effect": "Drain", "waits": "waits until pool workers authorises it"}
    back = {"component": "containerd", "from": "containerd-1-r1", "to": "containerd-1-r1", "effect": "Restart"}
    text = drawn(*pending_nodes({"status": {"pending": [waits, back]}}))
    assert "drains the node first" in text
    assert "! waits until pool workers authorises it" in text.replace("!  ", "! ")
    assert "puts containerd-1-r1 back as it was" in text


def test_should_show_nothing_where_nothing_is_to_come_and_the_newest_repairs_first() -> None:
    assert pending_nodes({"status": {"pending": []}}) == ()
    assert pending_nodes({}) == ()
    repairs = [{"component": "sysctl", "found": f"found {n}", "putBackAt": f"2026-03-01T12:00:0{n}Z"} for n in range(8)]
    text = drawn(*repair_nodes({"status": {"repairs": repairs}}))
    assert text.index("found 7") < text.index("found 6")
    assert "found 2" not in text
    assert repair_nodes({"status": {}}) == ()
