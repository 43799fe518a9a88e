"""`make demo` with warm assets, from no lab at all to the last thing healed. Real: all of it. What was there of the lab is taken down first."""

from __future__ import annotations

import subprocess
import time

from tests.bench.report import Row, say
from tests.e2e.ground import ROOT

WARM_SECONDS = 180.0
"""The bar, of one business cluster with two nodes, and everything that the demo breaks and times."""


def measure(runs: int) -> list[Row]:
    """The last run leaves its fleet up."""
    taken = tuple(_once(run) for run in range(runs))
    return [
        Row("make demo, warm", "s", taken, max_value=WARM_SECONDS, setting="lab made anew each time, one plane, two nodes, four breakages")
    ]


def _once(run: int) -> float:
    subprocess.run(["make", "demo-down"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    began = time.monotonic()
    subprocess.run(["make", "demo"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    seconds = time.monotonic() - began
    say(f"demo: run {run + 1} took {seconds:.0f} s")
    return seconds
