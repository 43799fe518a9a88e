"""Whole planes as files: a change of a template, or of the code that fills it, shows as a difference here.

KOK_REGENERATE=1 pytest tests/unit/operators/domain/plane  writes them, the checksums of the revision and what is generated in it.
A revision that has been released (git tag plane-<revision>) never changes: make the next one.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import yaml

from operators.api import Machine
from operators.api.schema import crd_of
from operators.domain.plane.desired import desired_plane, inside
from operators.domain.plane.inputs import Manifest, PlaneEndpoint
from tests.unit.operators.domain.plane.rendered import REVISION, ROOT, a_cluster, some_inputs, templates

GOLDEN = Path(__file__).parent / "golden"
REGENERATE = os.environ.get("KOK_REGENERATE") == "1"
LARGE: dict[str, Any] = {"size": "large", "masters": {"replicas": 3}, "etcd": {"members": 3, "storageGiB": 50}}
EVENTS: dict[str, Any] = {"etcd": {"members": 1, "separateEvents": True}, "endpoint": {"type": "LoadBalancer"}}
INTERNAL: dict[str, Any] = {"endpoint": {"type": "ClusterIP", "port": 443}, "machineAccess": None}
CRD = REVISION / "inside-machine-crd.yaml.j2"
SUMS = REVISION / "SHA256SUMS"


def written(manifests: Sequence[Manifest]) -> str:
    return yaml.safe_dump_all(manifests, sort_keys=False, width=180, allow_unicode=True)


def machine_crd() -> str:
    crd = crd_of(Machine)
    head = f"""{{# Made from operators/api/machines.py: KOK_REGENERATE=1 pytest tests/unit/operators/domain/plane #}}
apiVersion: {crd["apiVersion"]}
kind: {crd["kind"]}
metadata: {{{{ inside_metadata("{crd["metadata"]["name"]}", "machine-operator") }}}}
"""
    body = yaml.safe_dump({"spec": crd["spec"]}, sort_keys=False, width=160, allow_unicode=True)
    return f"{head}{{% raw %}}\n{body}{{% endraw %}}\n"


def checksums() -> str:
    files = sorted(REVISION.glob("*.j2"))
    return "".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files)


def compare(path: Path, content: str) -> None:
    if REGENERATE:
        path.write_text(content)
    assert path.read_text() == content, f"{path.name} differs; if that is meant: KOK_REGENERATE=1 pytest {Path(__file__).parent}"


def git(repository: Path, *words: str) -> list[str]:
    return subprocess.run(["git", "-C", repository, *words], capture_output=True, text=True, check=True).stdout.split()


def is_released(repository: Path, revision: str) -> bool:
    return bool(git(repository, "tag", "--list", f"plane-{revision}"))


def changed_since_release(repository: Path, revision: str) -> list[str]:
    """Files of a released revision that are not as they were released; nothing while it has not been."""
    if not is_released(repository, revision):
        return []
    folder = f"packages/plane/{revision}"
    untracked = git(repository, "ls-files", "--others", "--exclude-standard", "--", folder)
    return sorted({*git(repository, "diff", "--name-only", f"plane-{revision}", "--", folder), *untracked})


@pytest.mark.parametrize(("name", "spec"), [("small", {}), ("large", LARGE), ("events", EVENTS), ("internal", INTERNAL)])
def test_should_render_the_plane_of_the_golden_file(name: str, spec: dict[str, Any]) -> None:
    plane = desired_plane(some_inputs(a_cluster(**spec)), templates())

    compare(GOLDEN / f"{name}.yaml", written(list(chain.from_iterable(plane.components.values()))))


def test_should_render_the_inside_of_the_golden_file() -> None:
    endpoint = PlaneEndpoint("api.example.org", 443, ("192.0.2.1",))

    compare(
        GOLDEN / "inside.yaml", written([m for m in inside(some_inputs(endpoint=endpoint), templates()) if "Definition" not in m["kind"]])
    )


def test_should_carry_the_machine_definition_of_the_models() -> None:
    if not is_released(ROOT, "r1"):  # afterwards the models may go on, in the next revision
        compare(CRD, machine_crd())
    assert [m["metadata"]["name"] for m in inside(some_inputs(), templates()) if m["kind"] == "CustomResourceDefinition"] == [
        "machines.kok.dev"
    ]


def test_should_have_the_checksums_of_its_templates() -> None:
    compare(SUMS, checksums())


def test_should_never_change_a_released_revision() -> None:
    assert changed_since_release(ROOT, "r1") == [], "a released revision of the plane is frozen: copy it to the next one and change that"


@pytest.mark.parametrize("change", ["edit", "add"])
def test_should_notice_a_change_of_a_released_revision(tmp_path: Path, change: str) -> None:
    folder = tmp_path / "packages/plane/r9"
    folder.mkdir(parents=True)
    (folder / "etcd.yaml.j2").write_text("a: 1\n")
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    for words in (["init", "-q"], ["add", "."], [*identity, "commit", "-q", "-m", "first"], ["tag", "plane-r9"]):
        subprocess.run(["git", "-C", tmp_path, *words], check=True)
    assert changed_since_release(tmp_path, "r9") == []

    (folder / ("etcd.yaml.j2" if change == "edit" else "more.yaml.j2")).write_text("a: 2\n")

    assert len(changed_since_release(tmp_path, "r9")) == 1


@pytest.mark.parametrize("path", sorted(REVISION.glob("*.j2")), ids=lambda path: path.name)
def test_should_use_every_expression_as_a_whole_value(path: Path) -> None:
    text = re.sub(r"\{#.*?#\}|\{% raw %\}.*?\{% endraw %\}|\{%.*?%\}", "", path.read_text(), flags=re.DOTALL)
    for line in text.splitlines():
        for found in re.finditer(r"\{\{.*?\}\}(?!\()", line):
            before, after = line[: found.start()], line[found.end() :]
            assert re.search(r"(: |- |\[|, )$", before), f"{path.name}: {line.strip()}"
            assert re.match(r"\s*([,}\]]|$)", after), f"{path.name}: {line.strip()}"
