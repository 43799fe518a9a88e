"""Reports are believed only while the policies that bind writers are as the plane's revision has them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from operators.domain.machine.reporting_rules import RULE_NAMES, TEMPLATE, rules_problem, wanted_rules
from operators.errors import KokError
from tests.unit.operators.domain.plane.rendered import some_inputs, templates

WANTED = wanted_rules(templates()[TEMPLATE])


def stored() -> list[dict[str, Any]]:
    """As the API server gives them back: with metadata of its own and every default filled in."""
    from operators.domain.plane.desired_rendering import Renderer

    found = [copy.deepcopy(rule) for rule in Renderer(some_inputs(), templates()).render("inside-conditions")]
    for rule in found:
        rule["metadata"] |= {"uid": "x", "generation": 1}
        place = rule["spec"].get("matchConstraints") or rule["spec"]["matchResources"]
        for field, value in (("matchPolicy", "Equivalent"), ("namespaceSelector", {}), ("objectSelector", {})):
            place.setdefault(field, value)
        for each in place.get("resourceRules", ()):
            each["scope"] = "*"
        rule["status"] = {"observedGeneration": 1}
    return found


def test_should_believe_reports_while_the_rules_are_as_rendered() -> None:
    assert {rule["metadata"]["name"] for rule in WANTED} == RULE_NAMES
    assert len(WANTED) == 4
    assert rules_problem(WANTED, stored()) == ""


def _at(*path: Any, value: Any) -> Callable[[list[dict[str, Any]]], None]:
    def change(found: list[dict[str, Any]]) -> None:
        place: Any = found
        for part in path[:-1]:
            place = place[part]
        place[path[-1]] = value

    return change


CHANGES: list[tuple[str, Callable[[list[dict[str, Any]]], None], str]] = [
    ("no policy", lambda found: found.pop(0) and None, "ValidatingAdmissionPolicy kok-conditions, which binds reports"),
    ("no binding", lambda found: found.pop(1) and None, "ValidatingAdmissionPolicyBinding kok-conditions, which"),
    ("no lease policy", lambda found: found.pop(2) and None, "kok-conditions-freshness"),
    ("no lease binding", lambda found: found.pop(3) and None, "kok-conditions-freshness"),
    ("nothing at all", lambda found: found.clear(), "is not in the business cluster"),
    ("going", _at(0, "metadata", "deletionTimestamp", value="2026-01-01T00:00:00Z"), "is not in the business cluster"),
    ("fails open", _at(0, "spec", "failurePolicy", value="Ignore"), "was changed"),
    ("fewer validations", lambda found: found[0]["spec"]["validations"].pop(0) and None, "was changed"),
    ("weaker validation", _at(0, "spec", "validations", 0, "expression", value="true"), "was changed"),
    ("an exemption", lambda found: found[0]["spec"]["matchConditions"].append({"name": "x", "expression": "false"}), "was changed"),
    ("an exclusion", _at(0, "spec", "matchConstraints", "excludeResourceRules", value=[{}]), "was changed"),
    ("a selector", _at(0, "spec", "matchConstraints", "objectSelector", value={"matchLabels": {"a": "b"}}), "was changed"),
    ("exact matching", _at(0, "spec", "matchConstraints", "matchPolicy", value="Exact"), "was changed"),
    ("a scope", _at(0, "spec", "matchConstraints", "resourceRules", 0, "scope", value="Cluster"), "was changed"),
    ("parameters", _at(0, "spec", "paramKind", value={"apiVersion": "v1", "kind": "ConfigMap"}), "was changed"),
    ("only warns", _at(1, "spec", "validationActions", value=["Warn"]), "was changed"),
    ("another namespace", _at(1, "spec", "matchResources", "namespaceSelector", value={"matchLabels": {"a": "b"}}), "was changed"),
    ("another policy", _at(1, "spec", "policyName", value="other"), "was changed"),
]


@pytest.mark.parametrize(("change", "words"), [row[1:] for row in CHANGES], ids=[row[0] for row in CHANGES])
def test_should_believe_nothing_when_a_rule_is_gone_or_changed(change: Callable[[list[dict[str, Any]]], None], words: str) -> None:
    found = stored()
    change(found)
    problem = rules_problem(WANTED, found)
    assert words in problem
    assert problem.endswith("no report is believed")


def test_should_believe_nothing_of_a_revision_without_rules() -> None:
    with pytest.raises(KokError, match="has no rules"):
        wanted_rules("")
