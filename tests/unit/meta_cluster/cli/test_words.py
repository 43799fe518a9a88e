"""Every word that a phase or a condition may show can be explained: the code of the operators is searched for them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from meta_cluster.cli.errors_reference import PAGE, page
from meta_cluster.cli.explain import explanations
from meta_cluster.cli.main import run
from meta_cluster.cli.words_reference import WORDS
from operators.domain.machine.gates import GateReason
from operators.domain.machine.steps import Rung
from operators.errors import ErrorCode

DOMAIN = Path(__file__).parents[4] / "operators" / "domain"
STATES = {"TRUE", "FALSE", "UNKNOWN"}


def texts_of(node: ast.expr) -> Iterator[str]:
    """The constants that an expression may be."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    if isinstance(node, ast.IfExp):
        yield from texts_of(node.body)
        yield from texts_of(node.orelse)


def is_state(node: ast.expr) -> bool:
    return (isinstance(node, ast.Name) and node.id in STATES) or (isinstance(node, ast.Attribute) and node.attr in STATES)


def reasons_in(tree: ast.AST) -> Iterator[str]:
    """Reasons of verdicts (`FALSE, "NotUp", words`), of `Observed(type, status, reason)` and `Wait(word=reason)`, and what functions named *_phase return."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Tuple) and len(node.elts) == 3 and is_state(node.elts[0]):
            yield from texts_of(node.elts[1])
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Observed" and len(node.args) > 2:
            yield from texts_of(node.args[2])
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Wait":
            yield from (text for each in node.keywords if each.arg == "word" for text in texts_of(each.value))
        if isinstance(node, ast.FunctionDef) and node.name.endswith("_phase"):
            for inner in ast.walk(node):
                if isinstance(inner, ast.Return) and inner.value is not None:
                    yield from texts_of(inner.value)


def shown_words() -> set[str]:
    found = {
        word for part in ("plane", "machine") for file in (DOMAIN / part).glob("*.py") for word in reasons_in(ast.parse(file.read_text()))
    }
    return {word for word in found if word} | set(Rung) | set(GateReason)


def test_should_find_words_in_the_code() -> None:
    assert {"Creating", "Repairing", "NotUp", "Differ", "Answered", "Updating", "Stale", "PoolsRemain"} <= shown_words()


def test_should_explain_every_phase_and_reason() -> None:
    missing = sorted(shown_words() - set(explanations()))
    assert missing == [], "add them to meta_cluster/cli/words_reference.py"


def test_should_explain_no_word_twice_in_the_same_words() -> None:
    assert all(word.meaning and word.remedy and word.where for word in WORDS.values())
    assert len({word.meaning for word in WORDS.values()}) == len(WORDS)


@pytest.mark.parametrize(
    ("word", "says"), [("gates", "closed to new pods until every readiness gate holds"), ("Updating", "differs from its packages")]
)
def test_should_print_a_phase(word: str, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["explain", word]) == 0
    told = capsys.readouterr().out
    assert says in told
    assert "shown  as phase of a Machine" in told


def test_should_print_both_where_a_word_is_a_code_and_a_phase(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["explain", "Unreachable"]) == 0
    told = capsys.readouterr().out
    assert told.count("  means  ") == 2


def test_should_list_codes_and_phases(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["explain"]) == 0
    listed = {line.split()[0] for line in capsys.readouterr().out.splitlines()}
    assert listed == {*WORDS, *map(str, ErrorCode)}


def test_should_have_them_on_the_page() -> None:
    assert all(f"| `{word}` |" in page() for word in WORDS)
    assert PAGE.read_text() == page(), "run `python -m meta_cluster.cli.errors_reference`"
