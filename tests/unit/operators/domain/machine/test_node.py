"""The patches by which kok changes a Node: its own entries and nothing else, and nothing at all when it is right."""

from __future__ import annotations

from typing import Any

import pytest

from operators.api.pools import Taint, TaintEffect
from operators.domain.machine.node import close_patch, cordon_patch, node_of, open_patch, settings_patch, uncordon_patch

FOREIGN = {"key": "node.kubernetes.io/disk-pressure", "effect": "NoSchedule", "timeAdded": "2026-01-01T00:00:00Z"}
OURS = {"key": "kok.dev/not-ready", "effect": "NoSchedule"}
DEDICATED = Taint(key="dedicated", value="x", effect=TaintEffect.NoSchedule)


def node(
    *taints: dict[str, Any], labels: dict[str, str] | None = None, annotations: dict[str, str] | None = None, cordoned: bool = False
) -> Any:
    metadata = {"name": "m1", "labels": labels or {}, "annotations": annotations or {}}
    status = {"nodeInfo": {"bootID": "boot-1"}}
    return node_of({"metadata": metadata, "spec": {"taints": list(taints), "unschedulable": cordoned}, "status": status})


def test_should_take_off_only_its_own_taint_and_note_the_boot() -> None:
    patch = open_patch(node(FOREIGN, OURS))
    assert patch == {"metadata": {"annotations": {"kok.dev/opened-boot-id": "boot-1"}}, "spec": {"taints": [FOREIGN]}}
    assert open_patch(node(OURS))["spec"] == {"taints": None}


def test_should_put_its_taint_beside_the_others() -> None:
    assert close_patch(node(FOREIGN)) == {"spec": {"taints": [FOREIGN, OURS]}}


def test_should_set_the_pools_labels_and_taints_once() -> None:
    patch = settings_patch(node(FOREIGN), {"tier": "web"}, [DEDICATED])
    taint = {"key": "dedicated", "value": "x", "effect": "NoSchedule"}
    notes = {"kok.dev/pool-labels": "tier", "kok.dev/pool-taints": "dedicated:NoSchedule"}
    assert patch == {"metadata": {"labels": {"tier": "web"}, "annotations": notes}, "spec": {"taints": [FOREIGN, taint]}}
    assert settings_patch(node(FOREIGN, taint, labels={"tier": "web"}, annotations=notes), {"tier": "web"}, [DEDICATED]) == {}


def test_should_take_off_what_left_the_pool_and_leave_what_others_put_there() -> None:
    taint = {"key": "dedicated", "value": "x", "effect": "NoSchedule"}
    notes = {"kok.dev/pool-labels": "tier", "kok.dev/pool-taints": "dedicated:NoSchedule"}
    patch = settings_patch(node(FOREIGN, taint, labels={"tier": "web", "other": "1"}, annotations=notes), {}, [])
    assert patch["metadata"]["labels"] == {"tier": None}
    assert patch["spec"] == {"taints": [FOREIGN]}


def test_should_correct_the_value_of_a_taint() -> None:
    wrong = {"key": "dedicated", "value": "y", "effect": "NoSchedule"}
    assert settings_patch(node(wrong), {}, [DEDICATED])["spec"]["taints"] == [{**wrong, "value": "x"}]


@pytest.mark.parametrize(
    ("before", "cordoned", "claims"),
    [("", False, "update"), ("", True, "somebody,update"), ("maintenance", True, "maintenance,update")],
)
def test_should_claim_a_cordon(before: str, cordoned: bool, claims: str) -> None:
    found = node(annotations={"kok.dev/cordon-claims": before} if before else {}, cordoned=cordoned)
    assert cordon_patch(found, "update") == {
        "metadata": {"annotations": {"kok.dev/cordon-claims": claims}},
        "spec": {"unschedulable": True},
    }


@pytest.mark.parametrize(
    ("before", "rest", "opens"),
    [("update", None, True), ("somebody,update", "somebody", False), ("maintenance,update", "maintenance", False)],
)
def test_should_uncordon_only_when_its_claim_was_the_last(before: str, rest: str | None, opens: bool) -> None:
    patch = uncordon_patch(node(annotations={"kok.dev/cordon-claims": before}, cordoned=True), frozenset({"update"}))
    assert patch["metadata"]["annotations"]["kok.dev/cordon-claims"] == rest
    assert ("spec" in patch) is opens


def test_should_not_put_a_cordon_on_again_that_a_person_lifted() -> None:
    assert cordon_patch(node(annotations={"kok.dev/cordon-claims": "update"}, cordoned=False), "update") == {}


def test_should_leave_a_persons_cordon_alone() -> None:
    assert uncordon_patch(node(cordoned=True), frozenset({"update", "decommission"})) == {}
    assert cordon_patch(node(annotations={"kok.dev/cordon-claims": "update"}, cordoned=True), "update") == {}
