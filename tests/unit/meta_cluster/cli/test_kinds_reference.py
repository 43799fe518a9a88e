"""docs/reference/kinds.md tells every field, bound and rule of the CRDs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from meta_cluster.cli import kinds_reference
from meta_cluster.cli.crds import crd_files
from operators.api import KINDS
from operators.api.schema import crd_of

PAGE = kinds_reference.page()


def rules_in(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        yield from (rule["message"] for rule in node.get("x-kubernetes-validations", ()))
    for inner in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from rules_in(inner)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_should_tell_every_rule_and_top_field_of_a_kind(kind: Any) -> None:
    section = PAGE.split(f"\n## {kind.__name__}\n")[1].split("\n## ")[0]
    schema = crd_of(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    assert [message for message in rules_in(schema) if message.replace("|", "\\|") not in section] == []
    assert [field for field in schema["properties"]["spec"]["properties"] if f"| `{field}` |" not in section] == []


@pytest.mark.parametrize(
    "row",
    [
        "| `etcd.members` | integer | `1` | at least 1; at most 5; an even number",
        "| `packageVersion` | string | *required* |",
        "| `hosts[].port` | integer | `22` | at least 1; at most 65535 |",
        '| `size` | `small` or `medium` or `large` | `"small"` |',
    ],
)
def test_should_tell_type_default_and_bounds(row: str) -> None:
    assert row in PAGE


def test_should_have_rows_of_five_cells() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| `")]
    assert {len(row.replace("\\|", "").split(" | ")) for row in rows} <= {5}
    assert len(rows) > 200
    assert len(crd_files()) == len(KINDS)


def test_should_find_a_stale_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kinds_reference, "PAGE", tmp_path / "kinds.md")
    assert kinds_reference.main(["--check"]) == 1
    assert kinds_reference.main([]) == 0
    assert kinds_reference.main(["--check"]) == 0
    (tmp_path / "kinds.md").write_text("edited")
    assert kinds_reference.main(["--check"]) == 1
