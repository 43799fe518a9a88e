"""CI's share of the slow tests: every test is in one group, and what failed of a group is found again when it is run alone."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GROUPS = 3
TESTS = """
import pytest
@pytest.mark.parametrize("number", range(9))
def test_some(number): assert number > 4
"""


def failed(folder: Path, group: int, *more: str) -> set[str]:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "tests.share",
        "--share",
        f"{group}/{GROUPS}",
        "-o",
        f"cache_dir=cache-{group}",
        *more,
    ]
    done = subprocess.run(
        [*command, "-c", "/dev/null", "--rootdir", ".", "."],
        cwd=folder, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return {line.split()[1] for line in done.stdout.splitlines() if line.startswith("FAILED")}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "test_some.py").write_text(TESTS)
    return tmp_path


def test_should_have_every_test_in_one_group_and_find_what_failed_again(folder: Path) -> None:
    first = [failed(folder, group) for group in range(GROUPS)]
    assert sum(map(len, first)) == len(set.union(*first)) == 5
    assert [failed(folder, group, "--last-failed", "--last-failed-no-failures", "none") for group in range(GROUPS)] == first
