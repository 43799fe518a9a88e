"""A process that runs tests is killed: its test fails, all others are run, and the run ends."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
FILES = {"first": 4, "second": 4, "third": 1, "fourth": 1, "fifth": 3}
CONFTEST = """
def pytest_xdist_make_scheduler(config, log):
    return {scheduler}(config, log)
"""
FILE = """
import os, pathlib, time
import pytest

@pytest.mark.parametrize("number", range({tests}))
def test_one(number):
    once = pathlib.Path(__file__).with_name("killed")
    if "{name}-%d" % number == "{dies_in}" and not once.exists():
        once.touch()
        os.kill(os.getpid(), 9)
    time.sleep(0.05)
"""


def _run(folder: Path, dies_in: str, scheduler: str, seconds: float) -> str:
    """What pytest's last line says; TimeoutExpired when it does not end."""
    module, _, name = scheduler.rpartition(".")
    (folder / "conftest.py").write_text(f"from {module} import {name}\n" + CONFTEST.format(scheduler=name))
    for file, tests in FILES.items():
        (folder / f"test_{file}.py").write_text(FILE.format(tests=tests, name=file, dies_in=dies_in))
    options = ["-q", "-n", "2", "--dist", "loadgroup", "-p", "no:cacheprovider", "-c", "/dev/null"]
    command = [sys.executable, "-m", "pytest", *options, str(folder)]
    done = subprocess.run(
        command, cwd=folder, env={"PYTHONPATH": str(ROOT)}, timeout=seconds, check=False, text=True, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert done.returncode == 1, done.stdout
    return done.stdout


RARE = [pytest.param(each, marks=pytest.mark.slow) for each in ("first-0", "third-0", "fourth-0", "fifth-1", "fifth-2")]


@pytest.mark.parametrize("dies_in", ["second-3", *RARE])
def test_should_run_all_others_when_a_worker_is_killed(tmp_path: Path, dies_in: str) -> None:
    file, _, number = dies_in.partition("-")
    out = _run(tmp_path, dies_in, "tests.integration.balance.FolderScheduling", 240)
    assert f"1 failed, {sum(FILES.values()) - 1} passed" in out
    assert f"crashed while running 'test_{file}.py::test_one[{number}]'" in out


@pytest.mark.slow
def test_should_not_end_with_the_scheduling_that_ours_is_made_from(tmp_path: Path) -> None:
    """The control: when this ends one day, `FolderScheduling.remove_node` is no longer needed. Where a death is fatal is a matter of who was faster."""
    deaths = [f"{name}-{number}" for name, tests in FILES.items() for number in range(tests)]
    assert any(_hangs(tmp_path, dies_in) for dies_in in reversed(deaths * 2))


def _hangs(folder: Path, dies_in: str) -> bool:
    once = folder / dies_in
    shutil.rmtree(once, ignore_errors=True)
    once.mkdir()
    try:
        _run(once, dies_in, "xdist.scheduler.LoadScopeScheduling", 60)
    except subprocess.TimeoutExpired:
        return True
    return False
