"""A Machine-Operator as a process of its own, wired by its real entry point; only hosts are simulated, and every accepted write is written down.

As a process: `python replica.py CONFIG`, a JSON file. `control` takes the fences out, for positive controls.
"""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

from operators.adapters.kube import KubeClient
from operators.engine.elector import Elector
from operators.engine.fenced import FencedKube
from operators.engine.logs import set_up_logging
from operators.machine_operator import main as entry
from operators.machine_operator.settings import Settings
from tests.integration.kube_proxies import RecordingKube, Write
from tests.integration.machine_operator.shared_hosts import SharedAnsible, SharedFleet, SharedSsh


class TellingKube(RecordingKube):
    """Writes down who wrote what and when."""

    def __init__(self, kube: KubeClient, fleet: SharedFleet, name: str) -> None:
        super().__init__(kube)
        self._client, self._fleet, self._name = kube, fleet, name

    def now(self) -> datetime:
        return self._client.now()

    def _accepted(self, write: Write) -> None:
        if write.ref.kind not in ("Lease", "Event"):
            self._fleet.note("writes.log", replica=self._name, write=f"{write.verb} {write.ref.kind} {write.ref.name}")


def main(config: dict[str, Any]) -> int:
    fleet = SharedFleet(Path(config["folder"]))
    entry.SshProbe = lambda playbooks: SharedSsh(fleet)  # type: ignore[assignment,misc]
    entry.AnsibleRunner = lambda artifacts, playbooks, *, grants: SharedAnsible(fleet, grants)  # type: ignore[assignment,misc]
    entry.KubeClient = lambda *given, **named: TellingKube(KubeClient(*given, **named), fleet, config["name"])  # type: ignore[assignment,misc]
    if config.get("control"):
        Elector.is_over = lambda self: False  # type: ignore[method-assign]
        FencedKube._leading = lambda self: self._kube  # type: ignore[method-assign]
        Elector._look_again = lambda self: asyncio.sleep(0, "")  # type: ignore[method-assign]
    settings = Settings(
        namespace=config["namespace"],
        cluster="demo",
        kubeconfig=config["meta"],
        business_kubeconfig=config["business"],
        endpoint=config["endpoint"],
        lease_seconds=config["lease_seconds"],
        probe_seconds=1,
        sweep_seconds=10,
        host="127.0.0.1",
        health_port=0,
        pod_name=config["name"],
    )
    return asyncio.run(entry.run(settings, entry.logins_of(settings)))


if __name__ == "__main__":
    set_up_logging()
    sys.exit(main(json.loads(Path(sys.argv[1]).read_text())))
