"""The pages of commands and of metrics say what the code says, and nothing of the machine that wrote them."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from meta_cluster.cli import cli_reference, metrics_reference
from meta_cluster.cli.main import VERBS, app_for

PAGES = (cli_reference, metrics_reference)


@pytest.mark.parametrize("module", PAGES)
def test_should_be_the_page_of_the_repository(module: ModuleType) -> None:
    assert module.PAGE.read_text() == module.page(), "run `make crds`"
    assert module.page() == module.page()
    assert str(Path.home()) not in module.page()


@pytest.mark.parametrize("module", PAGES)
def test_should_find_a_stale_page(module: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAGE", tmp_path / "page.md")
    assert module.main(["--check"]) == 1
    assert module.main([]) == 0
    assert module.main(["--check"]) == 0
    (tmp_path / "page.md").write_text("edited")
    assert module.main(["--check"]) == 1


def test_should_tell_of_every_command_and_of_its_own() -> None:
    page = cli_reference.page()
    for verb in VERBS:
        assert f"\n## kok {verb}\n" in page
        commands = next((each.typer_instance for each in app_for([verb]).registered_groups), None)
        for command in commands.registered_commands if commands else ():
            assert f"### kok {verb} {command.name or command.callback.__name__.replace('_', '-')}\n" in page  # type: ignore[union-attr]


def test_should_have_the_labels_of_families_without_samples() -> None:
    rows = {line.split("`")[1]: line for line in metrics_reference.page().splitlines() if line.startswith("| `")}
    assert "| counter | `budget`, `phase`, `cause` | Cluster-Operator |" in rows["kok_breaker_transitions_total"]
    assert "| Machine-Operator |" in rows["kok_machines"]
    assert "| both |" in rows["kok_api_calls_total"]
