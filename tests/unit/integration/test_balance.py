"""Which file a worker takes next."""

from __future__ import annotations

import pytest

from tests.integration.balance import folder_of, group_of, next_group, weight_of

A = {"/t/plane/test_long.py": 60.0, "/t/plane/test_short.py": 5.0}
B = {"/t/cli/test_long.py": 30.0, "/t/cli/test_short.py": 10.0}


@pytest.mark.parametrize(
    ("mine", "of_others", "taken"),
    [
        ("", set(), "/t/plane/test_long.py"),
        ("", {"plane"}, "/t/cli/test_long.py"),
        ("cli", set(), "/t/cli/test_long.py"),
        ("api", {"cli"}, "/t/plane/test_long.py"),
        ("api", {"cli", "plane"}, "/t/plane/test_long.py"),
    ],
    ids=["most work first", "not where another is", "stays where it is", "goes where nobody is", "helps where most is left"],
)
def test_should_stay_in_a_folder_and_then_take_what_is_most_work(mine: str, of_others: set[str], taken: str) -> None:
    assert next_group({**A, **B}, mine, of_others) == taken


def test_should_give_out_every_group_once() -> None:
    waiting, given = {**A, **B}, []
    while waiting:
        given.append(next_group(waiting, given[-1].split("/")[2] if given else "", set()))
        del waiting[given[-1]]
    assert given == [*A, *B]


def test_should_keep_the_tests_of_a_file_together_and_those_of_the_labs_host() -> None:
    assert group_of("tests/integration/cli/test_diff.py::test_a[b::c]") == "tests/integration/cli/test_diff.py"
    assert {group_of(f"tests/integration/adapters_host/test_{file}.py::TestA::test_b") for file in ("runs", "install")} == {"lab host"}


def test_should_take_a_shared_thing_for_a_folder_of_its_own() -> None:
    assert folder_of("lab host") == "lab host"
    assert weight_of("lab host", 10) > weight_of("/t/integration/api/test_refusals.py", 100)
