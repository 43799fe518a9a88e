"""The Cluster-Operator as shipped, but for one thing: every business cluster is answered for by one API server.

Run by `tests.bench.sweep`: `python -m tests.bench.sweep_process BUSINESS_KUBECONFIG --kubeconfig META ...`.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from pydantic_settings import CliApp

from operators.adapters.kube import KubeClient
from operators.adapters.kube_connector import BusinessClusters
from operators.adapters.kube_credentials import kubeconfig_credentials
from operators.cluster_operator import main
from operators.cluster_operator.settings import Settings
from operators.engine.logs import set_up_logging


class OneServer(BusinessClusters):
    """A client per cluster, as in production, all to the same server."""

    server = ""

    def connect(self, name: str, kubeconfig: str) -> KubeClient:
        """Whatever the kubeconfig says."""
        kubeconfig_credentials(kubeconfig)
        client = super().connect(name, self.server)
        assert isinstance(client, KubeClient)
        return client


if __name__ == "__main__":
    OneServer.server = Path(sys.argv[1]).read_text()
    main.BusinessClusters = OneServer  # type: ignore[misc]
    settings = CliApp.run(Settings, cli_args=sys.argv[2:])
    set_up_logging(level="warning", component="cluster-operator")
    sys.exit(asyncio.run(main.build(settings, main.credentials_of(settings)).run()))
