"""`docs/reference/metrics.md` from what the operators expose: `python -m meta_cluster.cli.metrics_reference [--check]`. Run by `make crds` and `make lint`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from prometheus_client import CollectorRegistry

from meta_cluster.cli.generated import write_or_check
from operators.adapters.kube_credentials import Credentials
from operators.cluster_operator.main import build
from operators.cluster_operator.settings import Settings
from operators.engine.metrics import Metrics
from operators.machine_operator import metrics as machine_metrics

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "metrics.md"
HEAD = """# Metrics
Made from the code by `make crds`. Both operators serve them at `:8080/metrics`, with those of the process and of Python that `prometheus_client` brings.
What they are good for, and the shipped alerts and dashboard: [monitoring.md](../howto/monitoring.md).

| metric | type | labels | of | what |
|---|---|---|---|---|
"""
SUFFIXES = {"counter": "_total"}


def page() -> str:
    """The whole page, by name."""
    shared = dict(_found(Metrics().registry))
    cluster = dict(_found(_cluster_operator())) | shared
    machine = dict(_found(_machine_operator())) | shared
    rows = []
    for name in sorted(cluster | machine):
        whose = "both" if name in cluster and name in machine else "Cluster-Operator" if name in cluster else "Machine-Operator"
        kind, labels, words = (cluster | machine)[name]
        rows.append(f"| `{name}` | {kind} | {', '.join(f'`{label}`' for label in labels)} | {whose} | {words} |")
    return HEAD + "\n".join(rows) + "\n"


def _found(registry: CollectorRegistry) -> Iterator[tuple[str, tuple[str, tuple[str, ...], str]]]:
    """kok's own: name, type, labels, what it is. A family without samples has its labels in its collector only."""
    for collector in registry._collector_to_names:
        each: Any = collector
        if (name := getattr(each, "_name", "")).startswith("kok_"):
            yield f"{name}{SUFFIXES.get(each._type, '')}", (each._type, each._labelnames, each._documentation)


def _cluster_operator() -> CollectorRegistry:
    return build(Settings(identity="reference"), Credentials(server="https://127.0.0.1:1")).metrics.registry


def _machine_operator() -> CollectorRegistry:
    metrics = Metrics()
    hands = SimpleNamespace(probes=SimpleNamespace(looks=0), jobs=SimpleNamespace(runs=0))
    world: Any = SimpleNamespace(hands=hands, board=SimpleNamespace(verdicts={}))
    machine_metrics.expose(metrics.registry, world)
    return metrics.registry


def main(arguments: list[str]) -> int:
    """0 if nothing is wrong; with --check 1 if the page is stale."""
    return write_or_check(PAGE, page(), arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
