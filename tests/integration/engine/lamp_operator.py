"""A whole operator for a toy kind, to test the engine with: a Lamp's status says whether it is lit. Run as a process or inside a test.

As a process: `python lamp_operator.py KUBECONFIG NAMESPACE IDENTITY`.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from pathlib import Path

from operators.adapters.kopf_watch import KopfWatch
from operators.adapters.kube import KubeClient
from operators.adapters.kube_credentials import Credentials, kubeconfig_file_credentials
from operators.adapters.lease_kube import KubeLease
from operators.engine.elector import ElectorConfig
from operators.engine.logs import set_up_logging
from operators.engine.process import Process, ProcessConfig, Servers
from operators.engine.reconcile import LoopTools, StatusWrite
from operators.engine.recorder import EventRecorder
from operators.errors import KokError
from operators.ports.kube import Key, Kind, KubePort, Manifest, Ref, Watched

LAMP = Kind("lamps.test.kok.dev/v1", "Lamp")
CRD = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "lamps.lamps.test.kok.dev"},
    "spec": {
        "group": "lamps.test.kok.dev",
        "scope": "Namespaced",
        "names": {"kind": "Lamp", "plural": "lamps"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
            }
        ],
    },
}


def lamp(namespace: str, name: str, *, on: bool) -> Manifest:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": LAMP.api_version, "kind": LAMP.kind, "metadata": metadata, "spec": {"on": on}}


@dataclass(frozen=True, slots=True)
class Done:
    reason: str
    after: float | None = None


class LampController:
    """Reads from the cache, writes the status."""

    name = "lamps"

    def __init__(self, process: Process) -> None:
        self._process = process
        self.passes: list[str] = []

    async def observe(self, key: Key) -> Manifest | None:
        self.passes.append(key.name)
        return self._process.cache.get(LAMP.ref(key.name, key.namespace))

    def next_step(self, view: Manifest) -> Done:
        return Done("the lamp is lit" if view["spec"].get("on") else "the lamp is dark")

    async def act(self, view: Manifest, step: Done) -> None:
        return None

    def status_of(self, view: Manifest, step: Done, outcome: KokError | None) -> StatusWrite:
        return StatusWrite(Ref.of(view), view.get("status") or {}, {"words": step.reason, "epoch": self._process.leadership.epoch})


SHORT = (3, 2.0)
"""Lease and deadline to renew it, in seconds, where its loss is what is tested."""
LONG = (600, 400.0)
"""Inside a test: whoever loses the lease exits hard, and a machine that is slow for two seconds must not end pytest."""


def lamp_process(
    kube: KubePort, credentials: Credentials, *, namespace: str, identity: str, lease: tuple[int, float] = SHORT
) -> tuple[Process, LampController]:
    """Everything an entry point does, with short times."""
    watched = Watched(LAMP, lambda manifest: [Key("lamps", manifest["metadata"]["namespace"], manifest["metadata"]["name"])], namespace)
    elector = ElectorConfig(identity, lease_seconds=lease[0], renew_deadline=lease[1], retry=0.4)
    config = ProcessConfig(elector, host="127.0.0.1", port=0, sweep_every=3600.0, settle=3600.0)
    watch = KopfWatch(credentials, [watched], namespaces=[namespace])
    process = Process(config, Servers({"meta": kube}, [watch], KubeLease(kube, namespace=namespace, name="lamps")))
    process.watch(watched)
    controller = LampController(process)
    recorder = EventRecorder(kube, "lamp-operator", identity)
    process.add(controller, LoopTools(kube, recorder, process.metrics, keep=process.cache.put))
    return process, controller


async def main(kubeconfig: Path, namespace: str, identity: str) -> int:
    credentials = kubeconfig_file_credentials(kubeconfig)
    kube = KubeClient(credentials, field_manager="lamp-operator")
    process, _ = lamp_process(kube, credentials, namespace=namespace, identity=identity)
    code = await process.run()
    await kube.close()
    return code


if __name__ == "__main__":
    set_up_logging()
    sys.exit(asyncio.run(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3])))
