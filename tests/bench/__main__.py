"""`make bench`: every figure beside its bare baseline of the same run, medians of five. Exit code 1 when a bar is missed.

`python -m tests.bench rollouts sweep` runs some of them; `--runs N` changes the number of samples.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable

from meta_cluster.assets.folder import AssetsFolder
from meta_cluster.demo import stories
from operators.api import ClusterPackageVersion
from tests.bench import demo, grants, host, machines, plane, planes, pools, rollouts, scale, sweep, volumes
from tests.bench.plane import Ground
from tests.bench.report import Row, plot, table

ON_THE_LAB = ("plane", "host", "ha", "roll", "many")
"""`many` is the last: it adds meta nodes, which stay. `demo` comes before them: it makes the lab anew."""
BENCHES = ("demo", *ON_THE_LAB, "machines", "pools", "grants", "rollouts", "sweep", "scale")


def main() -> int:
    """Measure, print, judge."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("benches", nargs="*", metavar="BENCH", help=f"of {', '.join(BENCHES)}; all by default")
    parser.add_argument("--runs", type=int, default=5, help="samples of each side")
    options = parser.parse_args()
    wanted = options.benches or list(BENCHES)
    if unknown := [one for one in wanted if one not in BENCHES]:
        parser.error(f"unknown bench {unknown[0]}; there are {', '.join(BENCHES)}")
    if set(wanted) & set(ON_THE_LAB):
        subprocess.run([str(stories.KOK), "lab", "up"], check=True, stdout=subprocess.DEVNULL)
    rows = [row for bench in BENCHES if bench in wanted for row in measured(bench, options.runs)]
    print(f"\n{table(rows)}\n\n{plot(rows)}")
    return 0 if all(row.holds for row in rows) else 1


def measured(bench: str, runs: int) -> list[Row]:
    """The rows of one bench."""
    benches: dict[str, Callable[[], list[Row]]] = {
        "demo": lambda: demo.measure(runs),
        "plane": lambda: [_plane(runs)],
        "host": lambda: [host.measure(runs)],
        "ha": lambda: [planes.available(ground(), runs)],
        "many": _many,
        "roll": lambda: [planes.roll(ground(), runs)],
        "machines": lambda: machines.measure(runs),
        "pools": pools.measure,
        "grants": grants.measure,
        "rollouts": rollouts.measure,
        "sweep": sweep.measure,
        "scale": scale.measure,
    }
    return benches[bench]()


def _many() -> list[Row]:
    """What twenty planes request does not fit a node of two cores; the kubelet of each meta node counts the machine's own anew."""
    subprocess.run([str(stories.KOK), "lab", "up", "--meta-nodes", str(planes.META_NODES)], check=True, stdout=subprocess.DEVNULL)
    return planes.many(ground())


def ground() -> Ground:
    """The lab's meta cluster and the package version it has installed."""
    lab = json.loads(stories.kok("lab", "status", "-o", "json"))
    meta = stories.Demo(kubectl_binary=AssetsFolder().get(stories.KUBECTL), lab=lab).meta
    package = meta.get("clusterpackageversions.kok.dev", lab["packageVersion"])
    assert package, f"the lab has no {lab['packageVersion']}"
    return Ground(meta, lab["node"], ClusterPackageVersion.parse(package))


def _plane(runs: int) -> Row:
    where = ground()
    volumes.ensure_volumes([node["metadata"]["name"] for node in where.meta.items("nodes")])
    ours, bare = [], []
    for run in range(runs):
        bare.append(plane.by_hand(where, f"bench-bare-{run}"))
        ours.append(plane.by_kok(where, f"bench-kok-{run}"))
        print(f"plane {run + 1}/{runs}: kok {ours[-1]:.1f} s, bare {bare[-1]:.1f} s", file=sys.stderr, flush=True)
    setting = "real; 1 etcd of its own on a prepared local volume, 1 apiserver; first authorised write"
    return Row("plane ready", "s", tuple(ours), tuple(bare), max_ratio=1.5, max_value=10, setting=setting)


if __name__ == "__main__":
    sys.exit(main())
