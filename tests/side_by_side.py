"""What `make test` runs after the unit tests: tests that need the lab, and beside them tests that need only loopback. By name, some of it.

Each of the two waits much of the time for somebody else, so together they take little longer than the longer one. What needs the lab goes
first where both want the CPU. Some tests are about time: what failed beside others has to pass alone afterwards, and is told of either
way. On a machine without the memory for both they go one after the other. Run by the Makefile; decides nothing about what a test is.

`--share 3/12 --begin-within 1800` does the same with a share of the slow tests (tests/share.py).
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

PYTEST = (sys.executable, "-m", "pytest", "-q")
ROOT = Path(__file__).parents[1]
BOTH_NEED_MIB = 12 * 1024
FAILED = 1
"""pytest's exit code when tests failed; any other is a reason to stop."""
NONE_COLLECTED = 5
"""pytest's exit code when a share has no test of a suite."""
WARM_MINUTES = 15
SILENT_SECONDS = 25 * 60.0
"""A suite that prints nothing for so long hangs: the bound of a test of a default run is 20 minutes at most (tests/conftest.py)."""
DEAF_SECONDS = 60.0


@dataclass(frozen=True)
class Suite:
    """One run of pytest: what it is called in the output, what it collects, and how."""

    name: str
    collects: tuple[str, ...]
    beside: tuple[str, ...] = ()
    """Only when it runs beside others: on several workers, or a line for each test."""
    niceness: int = 0

    def command(self, *more: str) -> list[str]:
        """A cache of its own each: it is where the names of failed tests are kept."""
        cache = f"cache_dir={ROOT / '.pytest_cache' / self.name.replace(' ', '-')}"
        return ["nice", "-n", str(self.niceness), *PYTEST, "-o", cache, *self.collects, *more]


LINES = ("-vv",)
"""With -q: a line for each test, since dots are seen only when a line of them is full."""
LOOPBACK = Suite(
    "integration", ("tests/integration", "-m", "not slow and not lab"), beside=("-n", "3", "--dist", "loadgroup"), niceness=10
)  # fmt: skip
ON_HOSTS = Suite("hosts", ("tests/integration/adapters_host", "-m", "not slow"), beside=LINES)
STORIES = Suite("stories", ("tests/e2e", "-m", "not slow"), beside=LINES)
Streams = tuple[tuple[Suite, ...], ...]
STREAMS: Streams = ((LOOPBACK,), (ON_HOSTS, STORIES))


def slow_streams(share: str, begin_within: float) -> Streams:
    """A share ("3/12") of what `make test` leaves out. No test begins later than `begin_within` seconds after its suite began."""
    of_share = ("-p", "tests.share", "--share", share, "--share-seconds", f"{begin_within:g}")
    loopback = Suite(
        "integration", ("tests/integration", "-m", "slow and not lab and not older", *of_share), beside=("-n", "2", "--dist", "loadgroup"), niceness=10
    )  # fmt: skip
    hosts = Suite("hosts", ("tests/integration/adapters_host", "-m", "slow", *of_share), beside=LINES)
    return ((loopback,), (hosts, Suite("stories", ("tests/e2e", "-m", "slow and not older", *of_share), beside=LINES)))


class Silence:
    """Calls once when nothing was heard for so many seconds."""

    def __init__(self, seconds: float, call: Callable[[], None]) -> None:
        self._seconds, self._call = seconds, call
        self._timer = threading.Timer(seconds, call)

    def __enter__(self) -> Silence:
        self._timer.start()
        return self

    def ended(self) -> None:
        """Something was heard: count anew."""
        self._timer.cancel()
        self._timer = threading.Timer(self._seconds, self._call)
        self._timer.start()

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()


@dataclass
class Run:
    """What came of the suites so far."""

    codes: dict[Suite, int] = field(default_factory=dict)
    printing: threading.Lock = field(default_factory=threading.Lock)

    def stream(self, suites: Sequence[Suite]) -> None:
        """One after the other. Nothing follows what could not be run."""
        for suite in suites:
            code = self.pytest(suite, *suite.beside)
            self.codes[suite] = 0 if code == NONE_COLLECTED else code
            if self.codes[suite] not in (0, FAILED):
                return

    def pytest(self, suite: Suite, *more: str) -> int:
        """Run it, each line of it with the suite's name in front."""
        began = time.monotonic()
        with subprocess.Popen(
            suite.command(*more), cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        ) as running:  # fmt: skip
            assert running.stdout
            with Silence(SILENT_SECONDS, partial(self._end, suite, running)) as silence:
                for line in running.stdout:
                    silence.ended()
                    self.say(suite, line.rstrip("\n"))
        minutes, seconds = divmod(int(time.monotonic() - began), 60)
        self.say(suite, f"exit code {running.returncode} after {minutes}:{seconds:02d}")
        return running.returncode

    def _end(self, suite: Suite, running: subprocess.Popen[str]) -> None:
        """As Ctrl-C would; a pytest that is deaf to it is killed, and its servers with it."""
        self.say(suite, f"nothing was heard of it for {SILENT_SECONDS / 60:.0f} minutes: it is ended")
        running.send_signal(signal.SIGINT)
        try:
            running.wait(DEAF_SECONDS)
        except subprocess.TimeoutExpired:
            running.kill()

    def say(self, suite: Suite, line: str) -> None:
        with self.printing:
            print(f"{suite.name:>11} | {line}", flush=True)


def main(arguments: Sequence[str] = ()) -> int:
    """0 when everything passed, at the latest alone; else what the first suite that did not said."""
    began = time.monotonic()
    asked = _parser().parse_args(arguments)
    all_streams = slow_streams(asked.share, asked.begin_within) if asked.share else STREAMS
    names = [each.name for stream in all_streams for each in stream]
    if unknown := set(asked.suites) - set(names):
        print(f"unknown suite {', '.join(sorted(unknown))}; there are {', '.join(names)}")
        return os.EX_USAGE
    streams = [chosen for stream in all_streams if (chosen := tuple(each for each in stream if each.name in (asked.suites or names)))]
    run = _run(streams)
    minutes, seconds = divmod(int(time.monotonic() - began), 60)
    bar = "" if asked.share else f"; the bar is {WARM_MINUTES} minutes with warm assets, on 2 cores"
    print(f"all of it took {minutes}:{seconds:02d}{bar}", flush=True)
    return next((code for code in run.codes.values() if code), 0)


def _run(streams: Sequence[Sequence[Suite]]) -> Run:
    """Beside each other where there is the memory; what failed once more, alone."""
    together = _available_mib() >= BOTH_NEED_MIB
    shown = "; ".join(" then ".join(each.name for each in stream) for stream in streams)
    print(f"{'beside each other' if together else 'one after the other'}: {shown}", flush=True)
    run = Run()
    with ThreadPoolExecutor(len(streams) if together else 1) as pool:
        list(pool.map(run.stream, streams))
    for suite in [each for each, code in run.codes.items() if code == FAILED]:
        print(f"{suite.name}: what failed is run again, alone", flush=True)
        run.codes[suite] = run.pytest(suite, "--last-failed", "--last-failed-no-failures", "none")
    return run


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.side_by_side")
    parser.add_argument("suites", nargs="*", help="only these: integration, hosts, stories")
    parser.add_argument("--share", help="GROUP/GROUPS of the slow tests, in place of what make test runs")
    parser.add_argument("--begin-within", type=float, default=float("inf"), metavar="SECONDS", help="with --share: begin no test later")
    return parser


def _available_mib() -> int:
    lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    return int(lines["MemAvailable"].split()[0]) // 1024


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
