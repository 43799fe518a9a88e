"""Trees of objects, compared with goldens; `KOK_WRITE_GOLDENS=1 pytest ...` writes them anew."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from meta_cluster.cli.cluster_tree import cluster_tree
from meta_cluster.cli.object_tree import machine_tree, object_tree
from meta_cluster.cli.picture import Business
from meta_cluster.cli.tree import Node, folded, rendered
from tests.unit.meta_cluster.cli import pictures as p

GOLDENS = Path(__file__).parent / "goldens"
DIFFERING = p.machine(
    "demo-2",
    p.condition("Ready", "False", "Packages", "containerd: /etc/containerd/config.toml differs", ago=8),
    p.condition("HostReachable", "True", "Answered"),
    p.condition("PackagesReady", "False", "Differ", "containerd: /etc/containerd/config.toml differs"),
    phase="Packages",
    message="containerd: /etc/containerd/config.toml differs",
    packages=(
        {"component": "containerd", "wanted": "containerd-1.6.20-r1", "version": "1.6.20", "matches": False, "pending": "Restart", "difference": "/etc/containerd/config.toml differs"},
        {"component": "cni-plugins", "wanted": "cni-plugins-1.1.1-r1", "version": "1.1.1", "matches": True},
        {"component": "kubelet", "wanted": "kubelet-1.35.4-r1", "version": "1.35.4", "matches": True},
    ),
)  # fmt: skip
OUT_OF_SIGHT = p.machine(
    "demo-2",
    p.condition("Ready", "False", "Unreachable", "10.89.0.6: no route to host"),
    p.condition("HostReachable", "False", "Unreachable", "10.89.0.6: no route to host"),
    p.condition("PackagesReady", "Unknown", "NotLookedAt", "nothing is known of the host"),
    phase="Unreachable",
    message="10.89.0.6: no route to host",
    packages=({"component": "kubelet", "wanted": "kubelet-1.35.4-r1", "version": "1.35.4", "matches": True},),
)
TREES = {
    "cluster-well": cluster_tree(p.WELL, p.NOW),
    "cluster-pod-pending": cluster_tree(p.broken(p.PENDING), p.NOW),
    "cluster-secret-missing": cluster_tree(p.broken(p.WAITING_FOR_SECRET, events=(p.FAILED_MOUNT,)), p.NOW),
    "cluster-business-unreachable": cluster_tree(
        p.broken(p.CRASHING, business=Business(problem="https://10.89.0.2:31443: connection refused")), p.NOW
    ),
    "cluster-new": cluster_tree(p.ClusterPicture({**p.cluster(), "status": {}}), p.NOW),
    "cluster-upgrading": cluster_tree(p.upgrading(), p.NOW),
    "machine-differs": machine_tree(DIFFERING, "demo/demo", p.NOW),
    "machine-out-of-sight": machine_tree(OUT_OF_SIGHT, "demo/demo", p.NOW),
    "machine-key-changed": machine_tree(p.UNREACHABLE, "demo/demo", p.NOW),
    "pool": object_tree(p.POOL, p.NOW),
}

WHOLE = {"pool"}


@pytest.mark.parametrize("name", TREES)
def test_should_draw_the_tree(name: str) -> None:
    text = rendered(TREES[name] if name in WHOLE else folded(TREES[name]), width=100) + "\n"
    golden = GOLDENS / f"{name}.txt"
    if os.environ.get("KOK_WRITE_GOLDENS"):
        golden.write_text(text)
    assert text == golden.read_text()


@pytest.mark.parametrize("name", TREES)
def test_should_fit_a_hundred_columns_and_end_no_line_with_a_space(name: str) -> None:
    for line in rendered(TREES[name], width=100).splitlines():
        assert len(line) <= 100
        assert line == line.rstrip()


def test_should_fold_what_is_fine_and_unfold_what_is_not() -> None:
    tree = Node("root", children=(Node("part", "x", children=(Node("a"), Node("b"), Node("c", "broken", wrong=True))),))
    assert rendered(folded(tree)) == "root\n└─ part   x\n   ├─ c   broken\n   └─ (2 fine)"


def test_should_name_the_only_fine_sibling() -> None:
    tree = Node("root", children=(Node("part", children=(Node("a", "1/1"), Node("c", "broken", wrong=True))),))
    assert "a" in rendered(folded(tree))
    assert "fine" not in rendered(folded(tree))


def test_should_never_cut_a_sentence() -> None:
    words = [f"word{number}" for number in range(40)]
    lines = rendered(Node("root", children=(Node("part", " ".join(words), children=(Node("x"),)),)), width=60)
    assert all(word in lines.replace("│", " ").split() for word in words)
    assert max(map(len, lines.splitlines())) <= 60


def test_should_paint_only_where_there_is_colour() -> None:
    tree = Node("root", children=(Node("c", "broken", wrong=True),))
    assert "\x1b" not in rendered(tree)
    assert "\x1b[31m" in rendered(tree, coloured=True)


def test_should_say_one_cause_once_however_many_stages_it_holds_up() -> None:
    words = "the API server does not answer: it is not ready, by its own checks: etcd"
    stages = [p.condition(kind, "Unknown", "NotRead", words) for kind in ("InsideReady", "TunnelReady", "RightsReady")]
    parts = (*p.ALL_UP[:1], p.component("apiserver", 0, 1, "0 of 1 pods are ready"))
    picture = p.ClusterPicture(p.cluster(p.condition("Ready", "False", "Repairing", words), *stages, components=parts), p.RELEASE)
    assert rendered(cluster_tree(picture, p.NOW), width=None).count(words) == 1


@pytest.mark.parametrize(
    ("nodes", "told"),
    [
        (("a", "a", "b"), "demo-etcd-0, demo-etcd-1 share meta node a: its loss would cost the quorum, for of 3 members 1 can be spared"),
        (("a", "b", "c"), ""),
        (("a", "a", "a"), ""),
        (("a", "a", "b", "b", "c"), ""),
        (("a", "a", "a", "b", "c"), "demo-etcd-0, demo-etcd-1, demo-etcd-2 share meta node a"),
        (("a", "b"), ""),
    ],
    ids=["two of three", "spread", "one meta node is all there is", "two of five", "three of five", "two members"],
)
def test_should_say_that_members_share_a_meta_node_where_the_plane_has_others(nodes: tuple[str, ...], told: str) -> None:
    pods = []
    for number, node in enumerate(nodes):
        made = p.pod(f"demo-etcd-{number}", "etcd", ready=True)
        pods.append({**made, "spec": {"nodeName": node}})
    text = " ".join(rendered(cluster_tree(replace(p.WELL, pods=tuple(pods)), p.NOW), width=None).split())
    assert ("share meta node" in text) == bool(told)
    assert told in text
