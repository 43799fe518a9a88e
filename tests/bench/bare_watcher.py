"""What it costs an API server to be watched at all: every kind that the Cluster-Operator follows, and its sweeps, and nothing else.

Run by `tests.bench.scale`: `python -m tests.bench.bare_watcher KUBECONFIG SWEEP_SECONDS`.
"""

from __future__ import annotations

import asyncio
import sys

from operators.adapters.kopf_watch import KopfWatch
from operators.adapters.kube import KubeClient
from operators.adapters.kube_credentials import kubeconfig_file_credentials
from operators.cluster_operator.cluster import kinds
from operators.cluster_operator.risk.centre import RiskCentre
from operators.cluster_operator.rollout import kinds as rollout_kinds

SETTLE = 30.0
"""As the operator's process: a second sweep soon after the first."""


async def watch(kubeconfig: str, sweep_seconds: float) -> None:
    """For ever."""
    credentials = kubeconfig_file_credentials(kubeconfig)
    followed = (*kinds.watched_kinds(lambda name: ()), *RiskCentre.WATCHED, *rollout_kinds.watched_kinds())
    layer = KopfWatch(credentials, followed)
    layer.start(lambda watched, event: None, lambda error: None)
    kube, pause = KubeClient(credentials, field_manager="bench-watcher"), SETTLE
    while True:
        for each in followed:
            await kube.list(each.kind, namespace=each.namespace, selector=each.selector, deadline=60.0)
        await asyncio.sleep(pause)
        pause = sweep_seconds


if __name__ == "__main__":
    asyncio.run(watch(sys.argv[1], float(sys.argv[2])))
