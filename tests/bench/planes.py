"""Planes beyond the smallest, on the lab: one with three members of etcd and two API servers, twenty at once, and an API server's image rolled.

Real, all of it. What is bare is named with each; for twenty at once there is no baseline of ours: the published figures of k0smotron
(its own machine, not this one) stand in the setting.
"""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from statistics import quantiles
from typing import Any

from meta_cluster.demo.kubectl import wait_until
from meta_cluster.lab.docker import docker
from tests.bench import plane, volumes
from tests.bench.first_write import Client, until_first_write
from tests.bench.plane import Ground, Manifest, Shape
from tests.bench.report import Row, say

AVAILABLE = Shape(members=3, replicas=2)
MANY = 20
META_NODES = 3
FIRST_PORT = 31501
SETTLE_SECONDS = 60.0
ROLLED = "-bench-roll"


def available(ground: Ground, runs: int) -> Row:
    """HA: until every member and every API server is ready and a write was accepted; bare is the same rendered manifests by one apply."""
    _prepare(ground)
    ours, bare = [], []
    for run in range(runs):
        bare.append(plane.by_hand(ground, f"bench-ha-bare-{run}", AVAILABLE))
        ours.append(plane.by_kok(ground, f"bench-ha-kok-{run}", AVAILABLE))
        _prepare(ground)
        say(f"ha {run + 1}/{runs}: kok {ours[-1]:.1f} s, bare {bare[-1]:.1f} s")
    setting = "real; 3 etcd on prepared local volumes, 2 API servers; all ready and a write accepted"
    return Row("HA plane ready", "s", tuple(ours), tuple(bare), max_ratio=2, setting=setting)


def many(ground: Ground) -> list[Row]:
    """Twenty single planes applied at once; then what they take at rest."""
    _prepare(ground)
    names = [f"bench-many-{number}" for number in range(MANY)]
    shapes = [Shape(port=FIRST_PORT + number) for number in range(MANY)]
    ground.meta.apply(*(plane.namespace_of(name) for name in names))
    wishes = [plane.wish(ground, name, shape) for name, shape in zip(names, shapes, strict=True)]
    began = time.monotonic()
    ground.meta.apply(*wishes)
    try:
        with ThreadPoolExecutor(MANY) as pool:
            took = sorted(pool.map(lambda name: _first_write(ground, name, began), names))
        say(f"many: {MANY} planes in {took[0]:.1f} to {took[-1]:.1f} s")
        time.sleep(SETTLE_SECONDS)
        cores, mib = _used(ground, names)
    finally:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda name: plane.remove(ground, name), names))
        _prepare(ground)
    cuts = quantiles(took, n=100, method="inclusive")
    setting = f"{MANY} single planes applied at once, {META_NODES} meta nodes on one machine; k0smotron published 22.5 s (p50) and 80.2 s (p99) at 100 on its own"
    return [
        Row(f"{MANY} planes at once, p50", "s", (cuts[49],), setting=setting),
        Row(f"{MANY} planes at once, p99", "s", (cuts[98],), setting=setting),
        Row("memory of a plane at rest", "MiB", mib, setting=f"working set of its pods, {MANY} planes; k0smotron published 210 MiB at 100"),
        Row("CPU of a plane at rest", "mcores", cores, setting=f"its pods, {SETTLE_SECONDS:.0f} s after the last was ready"),
    ]


def _first_write(ground: Ground, name: str, began: float) -> float:
    return until_first_write(Client.of(plane.kubeconfig_of(ground.meta, name, timeout=600)), began=began, timeout=600)


def _used(ground: Ground, names: list[str]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Thousandths of a core and MiB of each plane's pods, as the kubelets say."""
    used = {name: [0.0, 0.0] for name in names}
    for node in ground.meta.items("nodes"):
        for pod in _summary(ground, node["metadata"]["name"])["pods"]:
            if pod["podRef"]["namespace"] in used:
                total = used[pod["podRef"]["namespace"]]
                total[0] += (pod.get("cpu") or {}).get("usageNanoCores", 0) / 1e6
                total[1] += (pod.get("memory") or {}).get("workingSetBytes", 0) / 2**20
    return tuple(each[0] for each in used.values()), tuple(each[1] for each in used.values())


def _summary(ground: Ground, node: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(ground.meta.run("get", "--raw", f"/api/v1/nodes/{node}/proxy/stats/summary"))
    return found


def roll(ground: Ground, runs: int) -> Row:
    """Another image for one API server, until the new one alone serves. kok: another package version is wished; bare: the Deployment is edited."""
    _prepare(ground)
    old, new = ground.package.spec.components.apiserver.image, f"{ground.package.spec.components.apiserver.image}{ROLLED}"
    for node in ground.meta.items("nodes"):
        docker("exec", node["metadata"]["name"], "ctr", "-n", "k8s.io", "images", "tag", "--force", old, new)
    package = ground.package.manifest()
    package["metadata"] = {"name": f"{ground.package.metadata.name}{ROLLED}"}
    package["spec"]["components"]["apiserver"]["image"] = new
    ground.meta.apply(package)
    ours, bare = [], []
    try:
        for run in range(runs):
            bare.append(_rolled_by_hand(ground, f"bench-roll-bare-{run}", new))
            ours.append(_rolled_by_kok(ground, f"bench-roll-kok-{run}", new, package))
            _prepare(ground)
            say(f"roll {run + 1}/{runs}: kok {ours[-1]:.1f} s, bare {bare[-1]:.1f} s")
    finally:
        ground.meta.run("delete", "clusterpackageversions.kok.dev", package["metadata"]["name"])
    setting = "real; 1 API server, image at hand; from the edit to the new one alone ready"
    return Row("API server's image rolled", "s", tuple(ours), tuple(bare), max_ratio=1.5, setting=setting)


def _rolled_by_hand(ground: Ground, name: str, image: str) -> float:
    manifests, kubeconfig = plane.ready_made(ground, name)
    ground.meta.apply(plane.namespace_of(name))
    ground.meta.apply(*manifests)
    try:
        until_first_write(Client.of(kubeconfig), began=time.monotonic())
        wait_until("the plane", lambda: plane.masters_ready(ground.meta, name, plane.SINGLE), timeout=120, every=0.2)
        (deployment,) = [each for each in manifests if (each["kind"], each["metadata"]["name"]) == ("Deployment", f"{name}-apiserver")]
        began = time.monotonic()
        ground.meta.apply(_with_image(deployment, ground.package.spec.components.apiserver.image, image))
        return _until_rolled(ground, name, image, began)
    finally:
        ground.meta.run("delete", "namespace", name, timeout=120)


def _with_image(deployment: Manifest, old: str, new: str) -> Manifest:
    containers = deployment["spec"]["template"]["spec"]["containers"]
    changed = [each | {"image": new} if each["image"] == old else each for each in containers]
    assert changed != containers, f"no container of {deployment['metadata']['name']} has the image {old}"
    pod = deployment["spec"]["template"]["spec"] | {"containers": changed}
    return deployment | {"spec": deployment["spec"] | {"template": deployment["spec"]["template"] | {"spec": pod}}}


def _rolled_by_kok(ground: Ground, name: str, image: str, package: Manifest) -> float:
    ground.meta.apply(plane.namespace_of(name))
    ground.meta.apply(plane.wish(ground, name))
    try:
        until_first_write(Client.of(plane.kubeconfig_of(ground.meta, name)), began=time.monotonic())
        ground.meta.run("wait", "clusters.kok.dev", name, "-n", name, "--for=condition=Ready", "--timeout=120s", timeout=130)
        wanted = plane.wish(ground, name)
        wanted["spec"]["packageVersion"] = package["metadata"]["name"]
        began = time.monotonic()
        ground.meta.apply(wanted)
        return _until_rolled(ground, name, image, began)
    finally:
        plane.remove(ground, name)


def _until_rolled(ground: Ground, name: str, image: str, began: float) -> float:
    def rolled() -> bool:
        found = ground.meta.get("deployment", f"{name}-apiserver", "-n", name) or {"metadata": {}, "spec": {}}
        status = found.get("status") or {}
        images = [each["image"] for each in found["spec"].get("template", {}).get("spec", {}).get("containers", ())]
        seen = int(status.get("observedGeneration") or 0) >= int(found["metadata"].get("generation") or 1)
        return seen and image in images and all(status.get(each) == 1 for each in ("replicas", "updatedReplicas", "availableReplicas"))

    wait_until("the new API server", rolled, timeout=300, every=0.05)
    return time.monotonic() - began


def _prepare(ground: Ground) -> None:
    """Volumes for whoever comes next."""
    volumes.ensure_volumes([node["metadata"]["name"] for node in ground.meta.items("nodes")])
