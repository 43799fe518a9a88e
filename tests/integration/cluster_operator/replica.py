"""A Cluster-Operator as a process of its own, wired by its real entry point; every business kubeconfig leads to one real API server.

As a process: `python replica.py CONFIG`, a JSON file. Every accepted write of the meta cluster is written down.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

from operators.adapters.kube import KubeClient
from operators.adapters.kube_credentials import kubeconfig_file_credentials
from operators.cluster_operator import main as entry
from operators.cluster_operator.settings import Settings
from operators.engine.clock import boot_seconds
from operators.engine.logs import set_up_logging
from tests.integration.cluster_operator.world_of_planes import OneBusinessServer
from tests.integration.kube_proxies import RecordingKube, Write


class TellingKube(RecordingKube):
    """Writes down who wrote what and when."""

    def __init__(self, kube: KubeClient, log: Path, name: str) -> None:
        super().__init__(kube)
        self._client, self._log, self._name = kube, log, name

    def now(self) -> datetime:
        return self._client.now()

    def _accepted(self, write: Write) -> None:
        if write.ref.kind in ("Lease", "Event"):
            return
        line = {"at": boot_seconds(), "pid": os.getpid(), "replica": self._name, "write": f"{write.verb} {write.ref.kind} {write.ref.name}"}
        with self._log.open("a") as log:
            log.write(json.dumps(line) + "\n")


def main(config: dict[str, Any]) -> int:
    log = Path(config["log"])
    business = KubeClient(kubeconfig_file_credentials(config["business"]), field_manager=entry.FIELD_MANAGER)
    entry.EtcdClusters = lambda grants: None  # type: ignore[assignment,misc]  # nobody runs the pods of these planes
    entry.BusinessClusters = lambda **_: OneBusinessServer(business)  # type: ignore[assignment,misc]
    entry.KubeClient = lambda *given, **named: TellingKube(KubeClient(*given, **named), log, config["name"])  # type: ignore[assignment,misc]
    settings = Settings(
        kubeconfig=config["meta"],
        lease_seconds=config["lease_seconds"],
        host="127.0.0.1",
        port=0,
        sweep_seconds=10,
        pod_name=config["name"],
    )
    return asyncio.run(entry.build(settings, kubeconfig_file_credentials(config["meta"])).run())


if __name__ == "__main__":
    set_up_logging()
    sys.exit(main(json.loads(Path(sys.argv[1]).read_text())))
