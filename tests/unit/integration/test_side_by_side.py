"""Which suite runs after which, and when `make test` is green."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests import side_by_side
from tests.side_by_side import LOOPBACK, NONE_COLLECTED, ON_HOSTS, STORIES, Run, Suite, slow_streams

ASKED = list[tuple[str, bool]]
"""Names of suites in the order in which they were run, and whether only what had failed."""


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> tuple[dict[str, list[int]], ASKED]:
    """Exit codes that each suite will end with, one after the other, 0 from then on; and what was run."""
    codes: dict[str, list[int]] = {}
    asked: ASKED = []

    def pytest_(self: Run, suite: Suite, *more: str) -> int:
        asked.append((suite.name, "--last-failed" in more))
        left = codes.get(suite.name, [])
        return left.pop(0) if left else 0

    monkeypatch.setattr(Run, "pytest", pytest_)
    monkeypatch.setattr(side_by_side, "_available_mib", lambda: 0)
    return codes, asked


def test_should_run_every_suite_once_when_all_is_well(answers: tuple[dict[str, list[int]], ASKED]) -> None:
    _, asked = answers
    assert side_by_side.main() == 0
    assert asked == [(LOOPBACK.name, False), (ON_HOSTS.name, False), (STORIES.name, False)]


def test_should_run_only_what_is_named_and_say_what_there_is(
    answers: tuple[dict[str, list[int]], ASKED], capsys: pytest.CaptureFixture[str]
) -> None:
    _, asked = answers
    assert side_by_side.main([STORIES.name]) == 0
    assert asked == [(STORIES.name, False)]
    assert side_by_side.main(["storys"]) != 0
    assert "unknown suite storys; there are integration, hosts, stories" in capsys.readouterr().out
    assert len(asked) == 1, "nothing was run"


def test_should_be_green_when_what_failed_passes_alone_after_all_others(answers: tuple[dict[str, list[int]], ASKED]) -> None:
    codes, asked = answers
    codes[LOOPBACK.name] = [1]
    assert side_by_side.main() == 0
    assert asked[-2:] == [(STORIES.name, False), (LOOPBACK.name, True)]


def test_should_be_red_when_it_fails_again(answers: tuple[dict[str, list[int]], ASKED]) -> None:
    codes, _ = answers
    codes[STORIES.name] = [1, 1]
    assert side_by_side.main() == 1


def test_should_not_go_on_on_a_lab_whose_suite_could_not_be_run(answers: tuple[dict[str, list[int]], ASKED]) -> None:
    codes, asked = answers
    codes[ON_HOSTS.name] = [2]
    assert side_by_side.main() == 2
    assert asked == [(LOOPBACK.name, False), (ON_HOSTS.name, False)], "nothing follows it, and it is not run again"


def test_should_run_the_share_of_slow_tests_stories_too(answers: tuple[dict[str, list[int]], ASKED]) -> None:
    codes, asked = answers
    codes[ON_HOSTS.name] = [NONE_COLLECTED]
    assert side_by_side.main(["--share", "3/12"]) == 0
    assert asked == [(LOOPBACK.name, False), (ON_HOSTS.name, False), (STORIES.name, False)], (
        "a share with no test on hosts is none the worse"
    )


def test_should_be_red_when_a_slow_story_fails_twice(answers: tuple[dict[str, list[int]], ASKED]) -> None:
    codes, _ = answers
    codes[STORIES.name] = [1, 1]
    assert side_by_side.main(["--share", "3/12"]) == 1


def test_should_deal_every_slow_test_to_one_share() -> None:
    """What pytest collects in all shares together is what it collects without shares, once each."""
    everything = _collected("-m", "slow and not older")
    shares = [_collected(*slow_streams(f"{number}/3", 60.0)[1][1].collects[1:]) for number in range(3)]
    assert everything
    assert sorted(name for share in shares for name in share) == sorted(everything)


def _collected(*options: str) -> list[str]:
    command = [sys.executable, "-m", "pytest", "-q", "--collect-only", "tests/e2e", *options]
    done = subprocess.run(command, cwd=side_by_side.ROOT, capture_output=True, text=True, timeout=120, check=True)
    return [line for line in done.stdout.splitlines() if "::" in line]


def test_should_print_each_line_with_its_suite_and_keep_the_exit_code(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Suite, "command", lambda suite, *more: ["sh", "-c", "echo one; echo two >&2; exit 3"])
    assert Run().pytest(STORIES) == 3
    out = capfd.readouterr().out.splitlines()
    assert [line.split(" | ")[1] for line in out[:2]] == ["one", "two"]
    assert all(line.startswith("    stories | ") for line in out)


def test_should_end_what_prints_nothing_any_more(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(side_by_side, "SILENT_SECONDS", 0.5)
    monkeypatch.setattr(side_by_side, "DEAF_SECONDS", 0.1)
    monkeypatch.setattr(Suite, "command", lambda suite, *more: ["sh", "-c", "trap '' INT; echo one; exec sleep 60"])
    assert Run().pytest(STORIES) != 0
    assert "nothing was heard of it" in capfd.readouterr().out


def test_should_let_go_on_what_prints_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(side_by_side, "SILENT_SECONDS", 0.5)
    monkeypatch.setattr(Suite, "command", lambda suite, *more: ["sh", "-c", "for i in 1 2 3 4 5; do sleep 0.2; echo $i; done"])
    assert Run().pytest(STORIES) == 0
