"""-o: every verb takes exactly what its help lists."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import click
import pytest
import typer.main
import yaml

from meta_cluster.cli.main import VERBS, app_for, run
from meta_cluster.cli.output import EVERY, Output, output_named, structured
from operators.errors import ErrorCode, KokError


def commands() -> Iterator[tuple[str, click.Command]]:
    """Every command of kok with the words that call it."""

    def below(words: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
        if isinstance(command, click.Group):
            for name, child in command.commands.items():
                yield from below(f"{words} {name}".strip(), child)
        else:
            yield words, command

    for verb in VERBS:
        root = typer.main.get_command(app_for([verb]))
        assert isinstance(root, click.Group)
        yield from below(verb, root.commands[verb])


def output_options() -> dict[str, tuple[int, set[str]]]:
    """Words of each command with -o -> how many arguments it needs, and the formats that its help lists."""
    found = {}
    for words, command in commands():
        arguments = sum(parameter.param_type_name == "argument" and parameter.required for parameter in command.params)
        for parameter in command.params:
            if "-o" in parameter.opts:
                found[words] = (arguments, set(re.findall(r"wide|json|yaml|name", getattr(parameter, "help", "") or "")))
    return found


OPTIONS = output_options()


def test_should_look_at_every_verb() -> None:
    assert {"get", "describe", "why", "lab status", "lab host list", "lab host kill", "assets list"} <= set(OPTIONS)


@pytest.mark.parametrize("words", OPTIONS)
def test_should_refuse_what_help_does_not_list(words: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", "/no/such/file")
    arguments, listed = OPTIONS[words]
    for refused in {*map(str, EVERY), "bogus"} - listed:
        assert run([*words.split(), *["demo"] * arguments, "-o", refused]) == (2 if words == "diff" else 1), "diff: as kubectl's"
        assert f"-o {refused}: unknown output format" in capsys.readouterr().err


@pytest.mark.parametrize("output", EVERY)
def test_should_take_what_is_listed(output: Output) -> None:
    assert output_named(output.value) is output
    assert output_named("") is Output.Table


def test_should_name_value_and_choices() -> None:
    with pytest.raises(KokError) as caught:
        output_named("wide", Output.Json, Output.Yaml)
    assert (caught.value.code, caught.value.hint) == (ErrorCode.Usage, "one of json, yaml")
    assert "-o wide" in caught.value.message


def test_should_write_the_same_data_in_both_forms() -> None:
    data = {"hostKeys": ["a"], "port": 22}
    assert json.loads(structured(data, Output.Json)) == yaml.safe_load(structured(data, Output.Yaml)) == data
