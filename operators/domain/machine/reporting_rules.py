"""Whether the admission policies that bind a report to its writer are in force in a business cluster, exactly as the plane's revision has them. Pure.

Without them anybody who may write ConfigMaps there could report anything in anybody's name. The wanted form comes from the plane's templates
(`inside-conditions.yaml.j2`), never from the business cluster: its admins can change the objects, not what they are compared with.
Called by machine_operator.gatekeeping.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import yaml
from jinja2 import Environment, StrictUndefined, TemplateError

from operators.errors import ErrorCode, KokError
from operators.yaml_text import read_all

TEMPLATE = "inside-conditions.yaml.j2"
RULE_NAMES = frozenset({"kok-conditions", "kok-conditions-freshness"})
Rule = Mapping[str, Any]


def wanted_rules(template: str) -> tuple[Rule, ...]:
    """Policies and bindings as that template has them; of their metadata only the name. Raises KokError TemplateInvalid."""
    environment = Environment(undefined=StrictUndefined, finalize=_json, trim_blocks=True, lstrip_blocks=True, autoescape=False)  # noqa: S701 - YAML
    try:
        text = environment.from_string(template).render(inside_metadata=lambda name, *_: {"name": name})
        rules = tuple(read_all(text))
    except (TemplateError, yaml.YAMLError) as error:
        raise KokError(ErrorCode.TemplateInvalid, f"plane template {TEMPLATE}: {error}", "this is a fault of the plane revision") from error
    if not rules:
        raise KokError(ErrorCode.TemplateInvalid, f"plane template {TEMPLATE} has no rules", "use a plane revision that binds reports")
    return rules


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def rules_problem(wanted: Iterable[Rule], found: Iterable[Rule]) -> str:
    """Why reports cannot be believed now, one sentence; empty if every rule is there as it should be."""
    present = {_key(rule): rule for rule in found}
    for rule in wanted:
        kind, name = _key(rule)
        if (other := present.get((kind, name))) is None or other["metadata"].get("deletionTimestamp"):
            return f"{kind} {name}, which binds reports to their writers, is not in the business cluster: no report is believed"
        if _filled_in(kind, rule.get("spec") or {}) != _filled_in(kind, other.get("spec") or {}):
            return f"{kind} {name}, which binds reports to their writers, was changed in the business cluster: no report is believed"
    return ""


def _key(rule: Rule) -> tuple[str, str]:
    return str(rule["kind"]), str(rule["metadata"]["name"])


def _filled_in(kind: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    """The spec with what the API server writes where nothing was said; anything else that is said stays and so makes a difference."""
    filled = dict(spec)
    field = "matchConstraints" if kind == "ValidatingAdmissionPolicy" else "matchResources"
    if field in filled:
        filled[field] = _selection(filled[field])
    return filled


def _selection(selection: Mapping[str, Any]) -> dict[str, Any]:
    defaults = {"matchPolicy": "Equivalent", "namespaceSelector": {}, "objectSelector": {}}
    filled = {**defaults, **selection}
    if "resourceRules" in filled:
        filled["resourceRules"] = [{"scope": "*", **rule} for rule in filled["resourceRules"]]
    return filled
