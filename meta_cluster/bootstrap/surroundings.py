"""What a meta cluster needs inside before kok can be installed: a pod network and a default StorageClass; and waiting for its nodes.

The pod network is the one of business clusters, rendered from the plane's templates. Called by `kok meta init`; repeats itself harmlessly.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from meta_cluster.assets import versions as v
from meta_cluster.bootstrap.apply import Mode, Verb, apply_object
from meta_cluster.bootstrap.inventory import Inventory
from meta_cluster.lab.machine_images import lab_file
from operators.adapters.catalogue_files import FileCatalogue
from operators.api import Cluster, ClusterPackageVersion
from operators.domain.plane.desired import inside
from operators.domain.plane.inputs import PlaneEndpoint, PlaneInputs
from operators.errors import ErrorCode, KokError
from operators.ports.kube import Kind, KubePort, Manifest
from operators.yaml_text import read_all

NETWORK_COMPONENT = "flannel"
NODE = Kind("v1", "Node")


def pod_network(inventory: Inventory) -> list[Manifest]:
    """flannel for this meta cluster, as `packages/plane` has it."""
    catalogue = FileCatalogue()
    packages = [ClusterPackageVersion.parse(manifest) for manifest in catalogue.manifests("packages/cluster")]
    package = next(each for each in packages if each.spec.kubernetes_version == v.DEFAULT_KUBERNETES)
    api, network = inventory.api, inventory.network
    spec = {
        "packageVersion": package.metadata.name,
        "endpoint": {"type": "NodePort", "host": api.host, "port": 31443},
        "network": {"podCIDR": str(network.pod_cidr), "serviceCIDR": str(network.service_cidr)},
    }
    cluster = Cluster.parse(
        {"apiVersion": "kok.dev/v1alpha1", "kind": "Cluster", "metadata": {"name": "meta", "namespace": "meta"}, "spec": spec}
    )
    inputs = PlaneInputs(cluster, package, PlaneEndpoint(api.host, api.port, tuple(host.address for host in inventory.hosts)))
    found = inside(inputs, catalogue.plane_templates(package.spec.plane_revision))
    return [m for m in found if m["metadata"].get("labels", {}).get("app.kubernetes.io/component") == NETWORK_COMPONENT]


def storage() -> list[Manifest]:
    """local-path as the default StorageClass: volumes are folders of the node that a pod runs on."""
    text = lab_file("default-storage.yaml", LOCAL_PATH=v.IMAGE_LOCAL_PATH, HELPER=v.IMAGE_BUSYBOX)
    return read_all(text)


@dataclass(slots=True)
class Surroundings:
    """One run against the new API server. Times are seconds."""

    kube: KubePort
    inventory: Inventory
    tell: Callable[[str], None]
    patience: float = 300.0
    poll: float = 1.0

    async def bring(self) -> int:
        """Apply what differs, wait for every node; how many objects were written. Raises KokError Timeout with what a node says."""
        await self._wait(self._unreachable, "the API server answers")
        manifests = [*pod_network(self.inventory), *storage()]
        changes = [await apply_object(self.kube, manifest, Mode.Do) for manifest in manifests]
        written = sum(change.verb is not Verb.Unchanged for change in changes)
        self.tell(f"pod network and storage: {written} objects written, {len(changes) - written} as they were")
        await self._wait(self._not_ready, "all nodes are Ready")
        self.tell(f"{len(self.inventory.hosts)} nodes are Ready")
        return written

    async def _unreachable(self) -> str:
        try:
            await self.kube.list(NODE)
        except KokError as error:
            return error.message
        return ""

    async def _not_ready(self) -> str:
        nodes = {node["metadata"]["name"]: node for node in (await self.kube.list(NODE)).items}
        for host in self.inventory.hosts:
            if host.name not in nodes:
                return f"{host.name} has not registered"
            conditions = nodes[host.name]["status"].get("conditions") or ()
            ready = next((each for each in conditions if each["type"] == "Ready"), {"status": "Unknown", "message": "nothing is known"})
            if ready["status"] != "True":
                return f"{host.name}: {ready.get('message', '')}"
        return ""

    async def _wait(self, complaint: Callable[[], Awaitable[str]], what: str) -> None:
        deadline = time.monotonic() + self.patience
        words = ""
        while True:
            try:
                words = await complaint()
            except KokError as error:
                words = error.message
            if not words:
                return
            if time.monotonic() > deadline:
                raise KokError(
                    ErrorCode.Timeout, f"waited {self.patience:.0f}s until {what}: {words}", "run it again: it goes on where it stopped"
                )
            await asyncio.sleep(self.poll)
