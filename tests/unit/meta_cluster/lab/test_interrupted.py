"""The meta cluster is made, kept, started or made anew, whatever was left by the run before: with a docker and a kind that remember what they were told."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from meta_cluster.lab import layout
from meta_cluster.lab.ground import Ground, find_ground
from meta_cluster.lab.meta import ensure_meta, kind_config
from operators.errors import ErrorCode, KokError

MOUNTS = {layout.NODE_ASSETS: Path("/assets"), layout.NODE_SOURCE: Path("/clone")}
DOCKER = """#!{python}
import json, os, sys
place, words = {state!r}, sys.argv[1:]
state = json.load(open(place))
state["calls"].append(words)
code, node = 0, state["node"]
if words[:2] == ["container", "inspect"]:
    code = 0 if node else 1
    print(json.dumps([node]) if node else "")
elif words[0] == "start":
    node["State"]["Running"] = True
elif words[0] == "rm":
    state["node"] = None
elif words[0] == "run":
    code = 0 if state["privileged"] else 126
elif words[0] == "info":
    print(state["cgroup"])
json.dump(state, open(place, "w"))
sys.exit(code)
"""
KIND = """#!{python}
import json, os, signal, sys
place = {state!r}
state = json.load(open(place))
state["calls"].append(["kind"])
state["made"] += 1
labels = {{{label!r}: {value!r}}}
state["node"] = {{"Id": "id-%d" % state["made"], "Config": {{"Labels": labels}}, "State": {{"Running": True}}, "Mounts": []}}
json.dump(state, open(place, "w"))
if state["dies"]:
    os.kill(os.getpid(), signal.SIGKILL)
open(sys.argv[sys.argv.index("--kubeconfig") + 1], "w").write("a kubeconfig")
"""


class Machine:
    """What docker and kind have done."""

    def __init__(self, folder: Path) -> None:
        self._place = folder / "state.json"
        self.kind = folder / "kind"
        fill = {"python": sys.executable, "state": str(self._place), "label": layout.LABEL, "value": layout.LABEL_VALUE}
        for path, text in ((folder / "docker", DOCKER), (self.kind, KIND)):
            path.write_text(text.format(**fill))
            path.chmod(0o755)
        self.be(node=None, calls=[], made=0, dies=False, privileged=True, cgroup="2")

    def be(self, **changes: Any) -> None:
        before = json.loads(self._place.read_text()) if self._place.exists() else {}
        self._place.write_text(json.dumps(before | changes))

    @property
    def state(self) -> dict[str, Any]:
        return dict(json.loads(self._place.read_text()))

    def ensure(self, *, fixed: dict[str, Path] | None = None) -> bool:
        ground = Ground(privileged=True, cgroup=2)
        return ensure_meta(ground, kind_config(ground, image="node", mounts=MOUNTS), kind=self.kind, fixed=fixed or {})


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("KOK_LAB_STATE", str(tmp_path / "state"))
    assert layout.state_folder().is_relative_to(tmp_path)
    return made


def test_should_make_it_once(machine: Machine) -> None:
    assert [machine.ensure(), machine.ensure(), machine.ensure()] == [True, False, False]
    assert machine.state["made"] == 1


def test_should_keep_one_that_another_checkout_made_unless_operators_shall_run_from_this_one(machine: Machine) -> None:
    machine.ensure()
    mounts = [{"Destination": layout.NODE_ASSETS, "Source": "/assets"}, {"Destination": layout.NODE_SOURCE, "Source": "/another-clone"}]
    machine.be(node=machine.state["node"] | {"Mounts": mounts})
    assert not machine.ensure(fixed={layout.NODE_ASSETS: Path("/assets")})
    with pytest.raises(KokError, match="has /another-clone mounted at /kok-src, not /clone"):
        machine.ensure(fixed=MOUNTS)


@pytest.mark.parametrize("deaths", [1, 3])
def test_should_make_it_anew_after_a_creation_that_was_killed(machine: Machine, deaths: int) -> None:
    machine.be(dies=True)
    for _ in range(deaths):
        with pytest.raises(KokError):
            machine.ensure()
    machine.be(dies=False)
    assert machine.ensure()
    assert machine.state["made"] == deaths + 1
    assert machine.state["node"]["Id"] == f"id-{deaths + 1}"
    assert sum(words[0] == "rm" for words in machine.state["calls"]) == deaths, "what a killed creation left is removed"


@pytest.mark.parametrize("lost", ["kubeconfig", "meta-node-id"])
def test_should_not_take_half_of_it_for_the_whole(machine: Machine, lost: str) -> None:
    """Killed after kind's end and before ours; or somebody took away a file."""
    machine.ensure()
    (layout.state_folder() / lost).unlink()
    assert machine.ensure()
    assert machine.state["made"] == 2


def test_should_start_one_that_was_stopped(machine: Machine) -> None:
    machine.ensure()
    node = machine.state["node"]
    node["State"]["Running"] = False
    machine.be(node=node)
    assert not machine.ensure()
    assert (machine.state["node"]["State"]["Running"], machine.state["made"]) == (True, 1)


def test_should_leave_alone_what_is_not_the_labs(machine: Machine) -> None:
    machine.be(node={"Id": "x", "Config": {"Labels": {}}, "State": {"Running": True}, "Mounts": []})
    with pytest.raises(KokError, match="that is not the lab's") as raised:
        machine.ensure()
    assert raised.value.code is ErrorCode.LabFailed
    assert [words[0] for words in machine.state["calls"]] == ["container"], "it was only looked at"


@pytest.mark.parametrize(("privileged", "cgroup"), [(True, 2), (True, 1), (False, 1)])
def test_should_find_the_ground_by_trying(machine: Machine, privileged: bool, cgroup: int) -> None:
    machine.be(privileged=privileged, cgroup=str(cgroup))
    assert find_ground("host") == Ground(privileged, cgroup)
