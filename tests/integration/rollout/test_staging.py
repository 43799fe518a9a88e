"""Images are pulled to the meta nodes while the windows are closed, and nothing else is touched; what pulls them goes when a window opens."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from operators.adapters.kube import KubeClient
from operators.cluster_operator.cluster import kinds as cluster_kinds
from operators.cluster_operator.rollout import kinds
from operators.ports.kube import Invalid, Manifest
from tests.integration.kube_proxies import RecordingKube
from tests.integration.rollout.fleet import Fleet, RolloutOperator, a_pool_that_follows

pytestmark = pytest.mark.usefixtures("crds")
NEVER_NOW = {"cron": "0 0 29 2 *", "durationSeconds": 60}


async def closed(kube: KubeClient) -> tuple[Fleet, str]:
    fleet, name = await Fleet.of(kube, 2), f"train-{uuid4().hex[:8]}"
    await fleet.planes_follow()
    await kube.create(fleet.manifest(name, windows=[NEVER_NOW]))
    return fleet, name


async def pulling(fleet: Fleet) -> list[Manifest]:
    return list((await fleet.kube.list(cluster_kinds.DAEMON_SET, namespace=fleet.system)).items)


async def says(operator: RolloutOperator, name: str, words: str) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    for _ in range(30):
        await operator.one_round(name)
        shown = (await operator.fleet.kube.get(kinds.ROLLOUT.ref(name)) or {}).get("status") or {}
        if words in shown.get("message", ""):
            return shown
    raise AssertionError(f"{words!r} was never said: {shown} {operator.failed}")


async def test_should_pull_images_before_the_window_opens_and_touch_no_cluster(kube: KubeClient) -> None:
    fleet, name = await closed(kube)
    operator = RolloutOperator(fleet)
    await says(operator, name, "; its images are pulled ahead: not begun")
    (made,) = await pulling(fleet)
    pod = made["spec"]["template"]["spec"]
    images = {each["image"] for each in (*pod["initContainers"], *pod["containers"])}
    assert {f"registry.k8s.io/kube-{part}:v1.35.4" for part in ("apiserver", "controller-manager", "scheduler")} <= images
    assert made["metadata"]["ownerReferences"][0]["name"] == name
    status = {"observedGeneration": 1, "currentNumberScheduled": 2, "numberMisscheduled": 0, "desiredNumberScheduled": 2}
    ref = cluster_kinds.DAEMON_SET.ref(made["metadata"]["name"], fleet.system)
    await kube.patch_status(ref, {**status, "updatedNumberScheduled": 2, "numberReady": 1})
    await says(operator, name, "its images are pulled ahead: 1 of 2 meta nodes have them")
    await kube.patch_status(ref, {**status, "updatedNumberScheduled": 2, "numberReady": 2})
    await says(operator, name, "its images are on the meta nodes")
    assert await fleet.touched() == []
    await kube.patch_json(kinds.ROLLOUT.ref(name), {"spec": {"windows": []}})
    await RolloutOperator(fleet).until(name, "Changing")
    await RolloutOperator(fleet).one_round(name)
    assert await pulling(fleet) == []
    await operator.until(name, "Good")


class NoDaemonSets(RecordingKube):
    """An API server that takes none."""

    async def create(self, manifest: Manifest, *, deadline: float = 10.0) -> Manifest:
        if manifest["kind"] == "DaemonSet":
            raise Invalid("admission says no")
        return await super().create(manifest, deadline=deadline)


async def test_should_go_on_as_ever_where_images_cannot_be_pulled_ahead(kube: KubeClient) -> None:
    fleet, name = await closed(kube)
    operator = RolloutOperator(fleet, NoDaemonSets(kube))
    await says(operator, name, "outside the change windows")
    assert await pulling(fleet) == []
    await kube.patch_json(kinds.ROLLOUT.ref(name), {"spec": {"windows": []}})
    await operator.until(name, "Good")


async def wishes(fleet: Fleet) -> list[dict[str, Any]]:
    found = await fleet.kube.get(cluster_kinds.POOL_RELEASE.ref("workers", fleet.clusters[0].partition("/")[0]))
    return list((found or {})["spec"].get("staging") or [])


async def test_should_want_on_hosts_that_follow_what_the_version_brings_to_them(kube: KubeClient) -> None:
    fleet, tag = await Fleet.of(kube, 1), f"s{uuid4().hex[:6]}"
    await fleet.planes_follow()
    version, name = await a_pool_that_follows(fleet, tag), f"train-{tag}"
    await kube.create(fleet.manifest(name, windows=[NEVER_NOW], change={"clusterPackageVersion": version}))
    operator = RolloutOperator(fleet)
    await says(operator, name, "; its artifacts are staged before the window: 0 of 1 machines have them")
    (wish,) = await wishes(fleet)
    assert (wish["rollout"], wish["packages"]) == (name, [f"tool-2-{tag}"])
    for _ in range(5):
        await operator.one_round(name)
    assert await wishes(fleet) == [wish], "wished once"
    ref = cluster_kinds.POOL.ref("workers", fleet.clusters[0].partition("/")[0])
    await kube.patch_status(ref, {"staging": [{"package": f"tool-2-{tag}", "hosts": 1, "staged": 1, "failed": 0}]})
    await says(RolloutOperator(fleet), name, "; its artifacts are on 1 of 1 machines")
    await kube.patch_json(kinds.ROLLOUT.ref(name), {"spec": {"order": "Abort"}})
    await RolloutOperator(fleet).until(name, "Aborted")
    assert await wishes(fleet) == []
