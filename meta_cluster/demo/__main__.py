"""`python -m meta_cluster.demo up|down`, behind `make demo` and `make demo-down`."""

from __future__ import annotations

import sys
import time

from meta_cluster.demo import fleet, stories
from meta_cluster.demo.timeline import breakage_lines, duration, try_next
from operators.errors import KokError


def main() -> int:
    """Exit code 0 when the whole story ran, 1 with a sentence otherwise, 2 for wrong usage."""
    action = sys.argv[1] if len(sys.argv) == 2 else ""
    if action not in ("up", "down"):
        print("usage: python -m meta_cluster.demo up|down", file=sys.stderr)
        return 2
    try:
        if action == "down":
            stories.kok("lab", "down")
            print("kok demo: everything that it made is removed")
        else:
            up()
    except KokError as error:
        print(
            f"error: {error.message}\n  do    {error.hint or 'run make demo again: it goes on where it stopped'}\n  code  {error.code}",
            file=sys.stderr,
        )
        return 1
    return 0


def up() -> None:
    """Bring the fleet up, break it, print the timeline."""
    began = time.monotonic()
    demo = stories.Demo()
    print("kok demo: a fleet on this machine\n", flush=True)
    stories.bring_up(demo)
    stories.break_and_heal(demo)
    print("\n" + "\n".join(breakage_lines(demo.breakages)))
    print(f"\nthe whole demo took {duration(time.monotonic() - began)}; cluster {fleet.CLUSTER} and its machines are left running\n")
    print("\n".join(try_next(".venv/bin/kok lab kubeconfig")))


if __name__ == "__main__":
    sys.exit(main())
