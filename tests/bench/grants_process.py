"""The risk centre as shipped, alone in a process: its controllers, workers, watch, lease and fence as the Cluster-Operator's `main` builds them.

Run by `tests.bench.grants`: `python -m tests.bench.grants_process KUBECONFIG PORT [PROFILE]`; with the last a profile is written at the end.
"""

from __future__ import annotations

import asyncio
import cProfile
import sys
from functools import partial

from operators.adapters.kopf_watch import KopfWatch
from operators.adapters.kube import KubeClient
from operators.adapters.kube_connector import BusinessClusters
from operators.adapters.kube_credentials import kubeconfig_file_credentials
from operators.adapters.lease_kube import KubeLease
from operators.cluster_operator.main import FIELD_MANAGER
from operators.cluster_operator.risk.centre import RiskCentre
from operators.engine.elector import ElectorConfig
from operators.engine.fenced import FencedConnector, FencedKube
from operators.engine.logs import set_up_logging
from operators.engine.metrics import Metrics
from operators.engine.process import Process, ProcessConfig, Servers
from operators.engine.reconcile import LoopTools
from operators.engine.recorder import EventRecorder
from operators.services.ledger import SYSTEM_NAMESPACE

WORKERS = 8
"""As in `main`."""


def build(kubeconfig: str, port: int) -> Process:
    """The process, not started."""
    credentials, metrics = kubeconfig_file_credentials(kubeconfig), Metrics()
    meta = KubeClient(credentials, field_manager=FIELD_MANAGER, on_call=partial(metrics.api_call, "meta"))
    business = BusinessClusters(field_manager=FIELD_MANAGER, on_call=partial(metrics.api_call, "business"))
    lease = KubeLease(KubeClient(credentials, field_manager=FIELD_MANAGER), namespace=SYSTEM_NAMESPACE, name="bench")
    config = ProcessConfig(elector=ElectorConfig.of("bench", 15), host="127.0.0.1", port=port)
    process = Process(config, Servers({"meta": meta}, (KopfWatch(credentials, RiskCentre.WATCHED),), lease), metrics=metrics)
    process.watch(*RiskCentre.WATCHED)
    led, connector = FencedKube(meta, process.leadership), FencedConnector(business, process.leadership)
    tools = LoopTools(led, EventRecorder(led, FIELD_MANAGER, "bench"), metrics, keep=process.cache.put)
    for controller in RiskCentre(tools, connector, process.leadership, now=meta.now).controllers:
        process.add(controller, tools, workers=WORKERS)
    return process


def run(kubeconfig: str, port: int) -> int:
    """Until told to stop."""
    set_up_logging(level="warning", component="bench")
    return asyncio.run(build(kubeconfig, port).run())


if __name__ == "__main__":
    if len(sys.argv) > 3:
        cProfile.run("run(sys.argv[1], int(sys.argv[2]))", sys.argv[3])
    else:
        sys.exit(run(sys.argv[1], int(sys.argv[2])))
