"""What others make of our statuses: kstatus (the library of Flux, Helm and kpt) and the shipped health scripts of Argo CD, beside our own Ready."""

from __future__ import annotations

import copy
import json
import subprocess
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from lupa import lua51  # what Argo CD runs scripts in (gopher-lua) is Lua 5.1

import operators.api
from operators.api import Resource
from tests.contract.states import sample_states
from tests.integration.api_server import asset

ARGOCD = Path(__file__).parents[3] / "manifests" / "argocd" / "argocd-cm.yaml"
SCRIPTS: dict[str, str] = yaml.safe_load(ARGOCD.read_text())["data"]
STATES = sample_states()


def condition(manifest: dict[str, Any], kind: str) -> str:
    found = [each["status"] for each in manifest["status"].get("conditions", ()) if each["type"] == kind]
    return found[0] if found else ""


def verdict(manifest: dict[str, Any]) -> str:
    """What our own conditions say, for what the spec is now."""
    if manifest["metadata"].get("deletionTimestamp"):
        return "leaving"
    if manifest["status"]["observedGeneration"] != manifest["metadata"]["generation"]:
        return "moving"
    if condition(manifest, "Ready") == "True":
        return "right"
    return "stuck" if condition(manifest, "Stalled") == "True" else "moving"


def kstatus(manifests: Sequence[dict[str, Any]]) -> list[str]:
    lines = "".join(json.dumps(each) + "\n" for each in manifests)
    done = subprocess.run([asset("kstatus-0.37.2")], input=lines, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line)["status"] for line in done.stdout.splitlines()]


def lua_table(runtime: Any, value: Any) -> Any:
    if isinstance(value, dict):
        return runtime.table_from({key: lua_table(runtime, each) for key, each in value.items()})
    if isinstance(value, list):
        return runtime.table_from([lua_table(runtime, each) for each in value])
    return value


def argocd(manifest: dict[str, Any]) -> tuple[str, str]:
    """Run the shipped script of that kind as Argo CD does: `obj` is the object, the answer a table."""
    runtime = lua51.LuaRuntime(unpack_returned_tuples=True)
    runtime.globals().obj = lua_table(runtime, manifest)
    answer = runtime.execute(SCRIPTS[f"resource.customizations.health.kok.dev_{manifest['kind']}"])
    return answer["status"], answer["message"]


def test_should_have_states_of_every_kind_that_has_conditions() -> None:
    kinds = [each for each in vars(operators.api).values() if isinstance(each, type) and issubclass(each, Resource)]
    shown = {
        each.__name__
        for each in kinds
        if "conditions" in json.dumps(each.model_json_schema().get("$defs", {}).get(f"{each.__name__}Status", {}))
    }
    assert shown == {manifest["kind"] for _, manifest in STATES}
    found = Counter((manifest["kind"], verdict(manifest)) for _, manifest in STATES)
    assert all(found[kind, each] for kind in shown for each in ("right", "moving", "stuck", "leaving")), found


def test_should_be_judged_by_kstatus_as_ready_says() -> None:
    words = {"right": "Current", "moving": "InProgress", "stuck": "Failed", "leaving": "Terminating"}
    answers = kstatus([manifest for _, manifest in STATES])
    assert len(answers) == len(STATES)
    assert [(name, said) for (name, each), said in zip(STATES, answers, strict=True) if said != words[verdict(each)]] == []


def test_should_be_judged_by_argocd_as_ready_says() -> None:
    words = {"right": {"Healthy"}, "moving": {"Progressing", "Suspended"}, "stuck": {"Degraded"}, "leaving": {"Progressing"}}
    answers = [(name, each, argocd(each)) for name, each in STATES]
    assert [(name, said) for name, each, (said, _) in answers if said not in words[verdict(each)]] == []
    assert all(message for _, _, (_, message) in answers)
    suspended = [each for _, each, (said, _) in answers if said == "Suspended"]
    assert {each["kind"] for each in suspended} >= {"Cluster"}
    assert all(condition(each, "Reconciling") == "False" for each in suspended)


@pytest.mark.parametrize("kind", ["Ready", "Stalled"])
def test_should_notice_a_condition_that_says_the_contrary(kind: str) -> None:
    """The control: with one condition turned round, somebody's verdict is another one."""
    right = next(each for _, each in STATES if verdict(each) == "right")
    turned = copy.deepcopy(right)
    for each in turned["status"]["conditions"]:
        if each["type"] == kind:
            each["status"] = "False" if each["status"] == "True" else "True"
    assert kstatus([right]) != kstatus([turned])
    assert argocd(right)[0] != argocd(turned)[0]
