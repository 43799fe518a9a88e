"""Entry point of the Cluster-Operator: chooses the adapters, builds the process, runs it. Decides nothing.

In a pod: `kok-cluster-operator`. On a laptop, against any meta cluster with the CRDs installed:
`python -m operators.cluster_operator.main --kubeconfig FILE --reach external`.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable
from dataclasses import replace
from functools import partial

from pydantic_settings import CliApp

from operators.adapters.catalogue_files import FileCatalogue, code_digest
from operators.adapters.etcd import EtcdClusters
from operators.adapters.grants_kube import KubeGrants
from operators.adapters.kopf_watch import KopfWatch
from operators.adapters.kube import KubeClient
from operators.adapters.kube_connector import BusinessClusters
from operators.adapters.kube_credentials import Credentials, in_cluster_credentials, kubeconfig_file_credentials
from operators.adapters.lease_kube import KubeLease
from operators.adapters.prometheus import Prometheus
from operators.cluster_operator.cluster import kinds
from operators.cluster_operator.cluster.controller import ClusterController
from operators.cluster_operator.cluster.world import Reach, World
from operators.cluster_operator.metrics import expose
from operators.cluster_operator.risk.centre import RiskCentre, followed
from operators.cluster_operator.rollout import kinds as rollout_kinds
from operators.cluster_operator.rollout.controller import rollout_controllers
from operators.cluster_operator.rollout.probing import ProbeCounts, probed
from operators.cluster_operator.rollout.records import RecordsController, recorded
from operators.cluster_operator.settings import Settings
from operators.engine.checkpoint import Checkpoint, Place
from operators.engine.elector import ElectorConfig
from operators.engine.fenced import FencedConnector, FencedKube
from operators.engine.logs import set_up_logging
from operators.engine.metrics import Metrics
from operators.engine.process import Process, ProcessConfig, Servers
from operators.engine.reconcile import LoopTools
from operators.engine.recorder import EventRecorder
from operators.errors import KokError
from operators.ports.kube import Key

FIELD_MANAGER = "kok-cluster-operator"
LEASE = "kok-cluster-operator"
CHECKPOINT = "kok-cluster-operator-at-rest"


def build(settings: Settings, credentials: Credentials) -> Process:
    """The whole process, not started."""
    metrics = Metrics()
    meta = KubeClient(credentials, field_manager=FIELD_MANAGER, on_call=partial(metrics.api_call, "meta"))
    business = BusinessClusters(field_manager=FIELD_MANAGER, on_call=partial(metrics.api_call, "business"))
    process: Process

    def clusters_of_package(name: str) -> Iterable[Key]:
        """Few packages change, so looking through all Clusters is cheap."""
        for cluster in process.cache.list(kinds.CLUSTER):
            if (cluster.get("spec") or {}).get("packageVersion") == name:
                yield kinds.key_of(cluster["metadata"]["namespace"], cluster["metadata"]["name"])

    watched = followed(recorded((*kinds.watched_kinds(clusters_of_package), *RiskCentre.WATCHED, *rollout_kinds.watched_kinds())))
    watched = probed(watched) if settings.idle_probe_seconds else watched
    apart = KubeClient(credentials, field_manager=FIELD_MANAGER, on_call=partial(metrics.api_call, "lease"))  # never behind other calls
    lease = KubeLease(apart, namespace=settings.own_namespace, name=LEASE)
    elector = ElectorConfig.of(settings.identity, settings.lease_seconds)
    config = ProcessConfig(elector=elector, host=settings.host, port=settings.port, sweep_every=settings.sweep_seconds)
    process = Process(config, Servers({"meta": meta}, (KopfWatch(credentials, watched),), lease), metrics=metrics)
    process.watch(*watched)
    expose(metrics.registry, process.cache)
    led, connector = FencedKube(meta, process.leadership), FencedConnector(business, process.leadership)
    place = Place(led, kinds.CONFIG_MAP.ref(CHECKPOINT, settings.own_namespace))
    process.checkpoint = Checkpoint(place, code_digest(), process.cache.state_of, least=settings.resume_from)
    recorder = EventRecorder(led, FIELD_MANAGER, settings.instance)
    tools = LoopTools(led, recorder, metrics, keep=process.cache.put, checkpoint=process.checkpoint)
    grants = KubeGrants(led, now=meta.now)
    world = World(led, process.cache, connector, FileCatalogue(), own_namespace=settings.own_namespace, reach=settings.reach, grants=grants)
    world = replace(world, etcd=EtcdClusters(grants))
    process.add(ClusterController(world), tools, workers=settings.workers)
    way_in = "operator-kubeconfig" if settings.reach is Reach.internal else "kubeconfig"
    for controller in RiskCentre(tools, connector, process.leadership, now=meta.now, secret=way_in).controllers:
        process.add(controller, tools, workers=8)
    asked = Prometheus(settings.prometheus_url) if settings.prometheus_url else None
    counts = ProbeCounts(metrics.registry)
    rollouts, prober = rollout_controllers(
        world, lambda key: probing.add(key), metrics=asked, idle=settings.idle_probe_seconds, counts=counts
    )
    process.add(rollouts, tools, workers=4)
    probing = process.add(prober, tools, workers=16)
    process.add(RecordsController(world), tools, workers=4)
    return process


def credentials_of(settings: Settings) -> Credentials:
    """Those of the kubeconfig if one is given, else of the pod. Raises KokError Usage."""
    if settings.kubeconfig:
        return kubeconfig_file_credentials(settings.kubeconfig, context=settings.context)
    return in_cluster_credentials()


def main() -> None:
    """Run until told to stop; the exit code is 0 then, 1 if a part failed, 70 if the lease was lost."""
    settings = CliApp.run(Settings, cli_args=sys.argv[1:])
    set_up_logging(level=settings.log_level, component="cluster-operator")
    try:
        credentials = credentials_of(settings)
    except KokError as error:
        sys.exit(f"error: {error.message}\n  do    {error.hint}\n  code  {error.code}")
    sys.exit(asyncio.run(build(settings, credentials).run()))


if __name__ == "__main__":
    main()
