"""Records of changes on a real API server: each written once, also by a process that was down, with who wished it; a second pass writes nothing."""

from __future__ import annotations

from typing import Any

import pytest

from operators.adapters.kube import KubeClient
from operators.cluster_operator.cluster import kinds as cluster_kinds
from operators.cluster_operator.rollout import records
from operators.cluster_operator.rollout.journal import REVISION
from operators.cluster_operator.rollout.records import LABEL_SUBJECT
from operators.domain.plane.release import KEPT
from operators.domain.rollout import record as words
from operators.ports.kube import Key, Unreachable
from tests.integration.cluster_operator.world_of_planes import cluster_manifest
from tests.integration.rollout.driving import Recorder
from tests.integration.rollout.fleet import NEW, OLD, Fleet, RolloutOperator

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("crds")]
AT = "2026-03-01T12:{:02}:00Z"


async def changed(fleet: Fleet, count: int, *, remembered: int = 20) -> None:
    """The release after so many direct changes, the last one reached; it remembers so many before the current one."""
    line = [{"packageVersion": OLD, "by": "Spec", "at": AT.format(0)}]
    for number in range(1, count + 1):
        before, after = (OLD, NEW) if number % 2 else (NEW, OLD)
        line.append({"packageVersion": after, "from": before, "by": "Spec", "at": AT.format(number), "reason": "the spec asks for it"})
    *history, current = line
    namespace, name = fleet.clusters[0].split("/")
    spec = {"current": current, "history": history[::-1][:remembered], "reached": current["packageVersion"]}
    await fleet.kube.patch_json(cluster_kinds.RELEASE.ref(name, namespace), {"spec": spec})


async def written(fleet: Fleet) -> list[dict[str, Any]]:
    selector = f"{LABEL_SUBJECT}={words.subject_mark('Cluster', fleet.clusters[0])}"
    items = (await fleet.kube.list(REVISION, namespace=fleet.system, selector=selector)).items
    return sorted((item["data"] for item in items), key=lambda each: each["at"])


async def one_pass(fleet: Fleet) -> None:
    """A process that knows nothing makes one round."""
    operator = RolloutOperator(fleet)
    await operator.one_round("nobody")
    await Recorder(operator).one_round()


async def test_should_catch_up_with_everything_once_and_say_who_wished_it(kube: KubeClient) -> None:
    fleet = await Fleet.of(kube, 1)
    namespace, name = fleet.clusters[0].split("/")
    manifest = cluster_manifest(namespace, name, packageVersion=NEW)
    manifest["metadata"]["labels"] = {"fleet": fleet.name}
    await kube.apply(manifest)
    await changed(fleet, 3)
    await one_pass(fleet)
    told = await written(fleet)
    assert [(each.get("from", ""), each["to"], each["outcome"]) for each in told] == [
        ("", OLD, "Created"),
        (OLD, NEW, "Superseded"),
        (NEW, OLD, "Superseded"),
        (OLD, NEW, "Reached"),
    ]
    assert {each["who"] for each in told} == {"test"}, "the field manager that applies the wish"
    before = (await kube.list(REVISION, namespace=fleet.system)).resource_version
    names = {
        item["metadata"]["name"]: item["metadata"]["resourceVersion"] for item in (await kube.list(REVISION, namespace=fleet.system)).items
    }
    await one_pass(fleet)
    again = {
        item["metadata"]["name"]: item["metadata"]["resourceVersion"] for item in (await kube.list(REVISION, namespace=fleet.system)).items
    }
    assert (again, bool(before)) == (names, True), "a pass that finds everything written writes nothing"


async def test_should_lose_nothing_when_it_dies_between_two_records(kube: KubeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    fleet = await Fleet.of(kube, 1)
    await changed(fleet, 3)
    write, left = records.RecordsController._create, [2]

    async def dies(self: records.RecordsController, *given: Any) -> None:
        if not left[0]:
            raise Unreachable("killed")
        left[0] -= 1
        await write(self, *given)

    monkeypatch.setattr(records.RecordsController, "_create", dies)
    with pytest.raises(Unreachable):
        await one_pass(fleet)
    assert len(await written(fleet)) == 2
    left[0] = 100
    await one_pass(fleet)
    assert [each["outcome"] for each in await written(fleet)] == ["Created", "Superseded", "Superseded", "Reached"]
    assert left[0] == 98, "the two that were there are not written again"


def test_should_keep_more_than_a_release_remembers() -> None:
    assert words.KEPT_PER_CLUSTER > KEPT + 1, "else what was forgotten would be written again"


async def test_should_keep_only_the_newest(kube: KubeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(words, "KEPT_PER_CLUSTER", 3)
    fleet = await Fleet.of(kube, 1)
    for count in range(1, 6):
        await changed(fleet, count, remembered=1)
        await one_pass(fleet)
    await one_pass(fleet)
    kept = await written(fleet)
    assert [each["at"] for each in kept] == [AT.format(number) for number in (3, 4, 5)]


async def test_should_write_down_what_came_over_a_pools_hosts(kube: KubeClient) -> None:
    fleet = await Fleet.of(kube, 1)
    namespace, _ = fleet.clusters[0].split("/")
    host = {"name": "a", "packages": ["kubelet-new"], "before": ["kubelet-old"], "at": AT.format(1), "reason": "first batch"}
    metadata = {"name": "w", "namespace": namespace}
    release = {"apiVersion": "kok.dev/v1alpha1", "kind": "MachinePoolRelease", "metadata": metadata, "spec": {"hosts": [host]}}
    await kube.create(release)
    await pool_pass(fleet, namespace)
    assert await of_pool(fleet, namespace) == [], "it is not in service yet"
    await kube.patch_json(cluster_kinds.POOL_RELEASE.ref("w", namespace), {"spec": {"hosts": [{**host, "openedAt": AT.format(2)}]}})
    await pool_pass(fleet, namespace)
    await pool_pass(fleet, namespace)
    (entry,) = await of_pool(fleet, namespace)
    assert (entry["from"], entry["to"], entry["outcome"]) == ("kubelet-old", "kubelet-new", "Reached")
    assert entry["verdicts"] == [words.NO_ROLLOUT]


async def test_should_name_the_rollout_that_changed_the_cluster_which_a_pool_follows(kube: KubeClient) -> None:
    fleet = await Fleet.of(kube, 1)
    namespace, cluster = fleet.clusters[0].split("/")
    current = {"packageVersion": NEW, "from": OLD, "by": "Rollout", "name": "train", "at": AT.format(0), "reason": "stage canary"}
    await kube.patch_json(cluster_kinds.RELEASE.ref(cluster, namespace), {"spec": {"current": current}})
    head = {"apiVersion": "kok.dev/v1alpha1", "metadata": {"name": "w", "namespace": namespace}}
    await kube.create({**head, "kind": "MachinePool", "spec": {"clusterName": cluster, "hosts": [], "packages": {"follow": "Cluster"}}})
    host = {"name": "a", "packages": ["k-2"], "before": ["k-1"], "at": AT.format(1), "reason": "first batch", "openedAt": AT.format(2)}
    await kube.create({**head, "kind": "MachinePoolRelease", "spec": {"hosts": [host]}})
    await pool_pass(fleet, namespace)
    (entry,) = await of_pool(fleet, namespace)
    assert (entry["by"], entry["rollout"]) == ("Rollout", "train")
    assert entry["verdicts"] == ["no verdict is known: the journal of rollout train is gone"]


async def pool_pass(fleet: Fleet, namespace: str) -> None:
    operator = RolloutOperator(fleet)
    await operator.one_round("nobody")
    await Recorder(operator).loop.reconcile(Key(records.CONTROLLER, namespace, f"{records.POOL}w"))


async def of_pool(fleet: Fleet, namespace: str) -> list[dict[str, Any]]:
    selector = f"{LABEL_SUBJECT}={words.subject_mark('Pool', f'{namespace}/w')}"
    return [item["data"] for item in (await fleet.kube.list(REVISION, namespace=fleet.system, selector=selector)).items]
