"""Entry point of the Machine-Operator: chooses the adapters, builds the process, runs it. Decides nothing.

In a pod: `kok-machine-operator`. On a laptop:
`python -m operators.machine_operator.main --kubeconfig F --namespace N --cluster C --business-kubeconfig G`.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from pydantic import ValidationError
from pydantic_settings import CliApp

from operators.adapters.ansible import AnsibleRunner
from operators.adapters.ansible_processes import end_descendants
from operators.adapters.artifacts_http import HttpArtifacts
from operators.adapters.catalogue_files import FileCatalogue
from operators.adapters.grants_kube import KubeGrants
from operators.adapters.kopf_watch import KopfWatch
from operators.adapters.kube import KubeClient
from operators.adapters.kube_credentials import Credentials, in_cluster_credentials, kubeconfig_file_credentials
from operators.adapters.kube_danger import KubeDanger
from operators.adapters.lease_kube import KubeLease
from operators.adapters.ssh import SshProbe
from operators.engine.elector import ElectorConfig
from operators.engine.fenced import FencedKube
from operators.engine.logs import set_up_logging
from operators.engine.metrics import Metrics
from operators.engine.process import Process, ProcessConfig
from operators.engine.process import Servers as ProcessServers
from operators.errors import ErrorCode, KokError
from operators.machine_operator import kinds
from operators.machine_operator.assembly import Assembly, Outside, assemble
from operators.machine_operator.settings import Settings
from operators.machine_operator.world import FIELD_MANAGER, Identity, Servers
from operators.ports.ansible import AnsiblePort
from operators.ports.kube import Watched


@dataclass(frozen=True, slots=True)
class Logins:
    """Who we are to both API servers."""

    meta: Credentials
    business: Credentials


def build(settings: Settings, logins: Logins) -> tuple[Assembly, AnsiblePort]:
    """The whole process, not started, and what has to be closed at its end."""
    metrics = Metrics()
    meta = KubeClient(logins.meta, field_manager=FIELD_MANAGER, on_call=partial(metrics.api_call, "meta"))
    business = KubeClient(logins.business, field_manager=FIELD_MANAGER, on_call=partial(metrics.api_call, kinds.BUSINESS))
    identity = Identity(settings.namespace, settings.cluster, logins.business.ca_pem, settings.endpoint)
    elector = ElectorConfig.of(settings.identity, settings.lease_seconds)
    config = ProcessConfig(elector=elector, host=settings.host, port=settings.health_port, sweep_every=settings.sweep_seconds)
    process: Process
    meta_kinds = kinds.meta_kinds(lambda: process.cache, settings.namespace, identity.requester)
    business_kinds = kinds.business_kinds(settings.namespace)
    watches = watches_of(settings, logins, (meta_kinds, business_kinds))
    apart = KubeClient(logins.meta, field_manager=FIELD_MANAGER, on_call=partial(metrics.api_call, "lease"))  # never behind other calls
    lease = KubeLease(apart, namespace=settings.namespace, name=f"{settings.cluster}-machine-operator")
    servers = ProcessServers({"meta": meta, kinds.BUSINESS: business}, watches, lease)
    process = Process(config, servers, metrics=metrics, kill=partial(end_descendants, os.getpid()))
    fenced = Servers(FencedKube(meta, process.leadership), FencedKube(business, process.leadership))
    process.watch(*meta_kinds, *business_kinds)
    catalogue, grants = FileCatalogue(), KubeGrants(fenced.meta, now=meta.now)
    ansible = AnsibleRunner(HttpArtifacts(settings.artifacts_url, settings.cache), catalogue.playbooks(), grants=grants)
    outside = Outside(SshProbe(catalogue.playbooks()), ansible, grants, KubeDanger(fenced.business, grants), catalogue)
    return assemble(process, identity, fenced, outside=outside, settings=settings), ansible


def watches_of(settings: Settings, logins: Logins, watched: tuple[Sequence[Watched], Sequence[Watched]]) -> tuple[KopfWatch, ...]:
    """One layer per server and reach: our rights in the business cluster on what lies in namespaces are those of one namespace."""
    meta, business = watched
    inside = [each for each in business if each.namespace]
    return (
        KopfWatch(logins.meta, meta, namespaces=(settings.namespace,)),
        KopfWatch(logins.business, [each for each in business if not each.namespace]),
        KopfWatch(logins.business, inside, namespaces=sorted({each.namespace for each in inside})),
    )


def logins_of(settings: Settings) -> Logins:
    """From kubeconfigs, or from the pod for the meta cluster. Raises KokError Usage."""
    business = kubeconfig_file_credentials(settings.business_kubeconfig)
    if not business.ca_pem:
        message = f"{settings.business_kubeconfig} has no certificate-authority-data: hosts would not know whom to trust"
        raise KokError(ErrorCode.Usage, message, "use the kubeconfig that the Cluster-Operator wrote")
    if settings.kubeconfig:
        return Logins(kubeconfig_file_credentials(settings.kubeconfig, context=settings.context), business)
    return Logins(in_cluster_credentials(), business)


async def run(settings: Settings, logins: Logins) -> int:
    """Until told to stop, or until a part ends by itself; jobs in hand are ended with the process."""
    assembly, ansible = build(settings, logins)
    serving = asyncio.create_task(assembly.serve(), name="jobs")
    running = asyncio.create_task(assembly.process.run(), name="process")
    await asyncio.wait({serving, running}, return_when=asyncio.FIRST_COMPLETED)
    broken = serving.done()
    assembly.process.stop()
    code = await running
    serving.cancel()
    await asyncio.wait({serving})
    await ansible.close()
    return code or int(broken)


def main() -> None:
    """Run until told to stop; the exit code is 0 then, 1 if a part failed, 2 if it was called wrongly, 70 if the lease was lost."""
    try:
        settings = CliApp.run(Settings, cli_args=sys.argv[1:])
    except ValidationError as error:
        missing = ", ".join(".".join(str(part) for part in each["loc"]) for each in error.errors())
        sys.stderr.write(f"error: {missing}: {error.errors()[0]['msg']}\n  do    give --namespace, --cluster and --business-kubeconfig\n")
        sys.exit(2)
    set_up_logging(level=settings.log_level, component="machine-operator")
    try:
        logins = logins_of(settings)
    except KokError as error:
        sys.exit(f"error: {error.message}\n  do    {error.hint}\n  code  {error.code}")
    sys.exit(asyncio.run(run(settings, logins)))


if __name__ == "__main__":
    main()
