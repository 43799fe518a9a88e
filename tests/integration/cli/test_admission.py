"""What one object cannot know of itself is refused by a real API server, with the way out; what lies beside it is taken."""

from __future__ import annotations

import asyncio
import copy
from pathlib import Path
from uuid import uuid4

import pytest
import yaml

from meta_cluster.bootstrap.manifests import Installation, install_manifests
from operators.adapters.kube import KubeClient
from operators.adapters.kube_credentials import kubeconfig_credentials
from operators.ports.kube import Forbidden, Invalid, KubePort, Manifest, Ref
from tests.integration.api_server import ApiServer

ROOT = Path(__file__).parents[3]
SAMPLE: Manifest = yaml.safe_load((ROOT / "manifests" / "samples" / "cluster-clusterip.yaml").read_text())


@pytest.fixture(scope="module")
def guarded(meta_server: ApiServer) -> ApiServer:
    """The server with the CRDs and every policy."""
    meta_server.install_kinds()
    base = install_manifests(Installation(), {}, packages=()).base
    meta_server.kubectl("apply", "--server-side", "-f", "-", stdin=yaml.safe_dump_all(base))
    return meta_server


@pytest.fixture
async def place(meta: KubePort, guarded: ApiServer) -> str:
    """A namespace of the test's own, once the policies that look at Clusters are awake."""
    name = f"guarded-{uuid4().hex[:8]}"
    await meta.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    return name


def cluster(place: str, name: str = "one", *, protected: bool = True) -> Manifest:
    manifest = copy.deepcopy(SAMPLE)
    manifest["metadata"] |= {"name": name, "namespace": place}
    manifest["spec"]["deletionProtection"] = protected
    return manifest


async def create(kube: KubePort, manifest: Manifest) -> None:
    """Create it as soon as the policies are configured."""
    for _ in range(300):
        try:
            await kube.create(manifest)
            return
        except Invalid:
            await asyncio.sleep(0.1)
    await kube.create(manifest)


async def refused(dry: KubePort, ref: Ref) -> str:
    """The words with which a deletion is refused. Policies, and what they know of Clusters, become effective a moment after they are stored."""
    words = "nothing"
    for _ in range(300):
        try:
            await dry.delete(ref)
        except Forbidden as refusal:
            return refusal.message
        except Invalid as not_yet:  # "failed to configure policy"
            words = not_yet.message
        await asyncio.sleep(0.1)
    raise AssertionError(f"{ref} was not protected: {words}")


async def test_should_not_delete_a_protected_cluster(meta: KubePort, dry_meta: KubePort, place: str) -> None:
    await create(meta, cluster(place))
    ref = Ref.of(cluster(place))
    words = await refused(dry_meta, ref)
    with pytest.raises(Forbidden):
        await meta.delete(ref)
    assert f"Cluster {place}/one has spec.deletionProtection: true" in words
    assert '{"spec":{"deletionProtection":false}}' in words
    await meta.patch_json(ref, {"spec": {"deletionProtection": False}})
    assert await meta.delete(ref)
    assert await meta.get(ref) is None


async def test_should_not_delete_the_namespace_of_a_protected_cluster(meta: KubePort, dry_meta: KubePort, place: str) -> None:
    await create(meta, cluster(place))
    namespace = Ref("v1", "Namespace", "", place)
    assert "the namespace holds Cluster one" in await refused(dry_meta, namespace)
    with pytest.raises(Forbidden):
        await meta.delete(namespace)


async def test_should_delete_a_namespace_without_a_protected_cluster(meta: KubePort, place: str) -> None:
    await create(meta, cluster(place, protected=False))
    await asyncio.sleep(0.5)
    assert await meta.delete(Ref("v1", "Namespace", "", place))


async def test_should_take_one_cluster_per_namespace(meta: KubePort, dry_meta: KubePort, place: str) -> None:
    await create(meta, cluster(place, protected=False))
    words = ""
    for _ in range(300):
        try:
            await dry_meta.create(cluster(place, "two", protected=False))
        except Forbidden as refusal:
            words = refusal.message
            break
        await asyncio.sleep(0.1)
    assert f"namespace {place} already holds Cluster one" in words
    await meta.apply({**cluster(place, protected=False), "metadata": {"name": "one", "namespace": place, "labels": {"env": "test"}}})


async def test_should_not_delete_kok_system_by_hand(dry_meta: KubePort, place: str) -> None:
    assert "sealed copies of the root keys" in await refused(dry_meta, Ref("v1", "Namespace", "", "kok-system"))


def a_rollout(name: str, **spec: object) -> Manifest:
    fields = {
        "change": {"clusterPackageVersion": "x"},
        "selector": {"matchLabels": {"env": "none"}},
        "stages": [{"name": "rest", "rest": True}],
    }
    return {"apiVersion": "kok.dev/v1alpha1", "kind": "FleetRollout", "metadata": {"name": name}, "spec": fields | spec}


async def test_should_let_nobody_order_in_anothers_name(guarded: ApiServer, meta: KubePort) -> None:
    """The policy becomes effective a moment after it is stored; from then on it holds for making, ordering and leaving a signature behind."""
    words = ""
    for number in range(300):
        try:
            await meta.create(a_rollout(f"forged-{number}", said={"by": "joe"}))
        except Forbidden as error:
            words = error.message
            break
        await asyncio.sleep(0.1)
    assert "jane may not order in the name of joe" in words
    await meta.create(a_rollout("signed", said={"by": "jane", "reason": "CVE"}))
    ref = Ref("kok.dev/v1alpha1", "FleetRollout", "", "signed")
    joe = KubeClient(kubeconfig_credentials(guarded.kubeconfig("joe", groups=["system:masters"])), field_manager="test")
    flux = KubeClient(
        kubeconfig_credentials(guarded.kubeconfig("system:serviceaccount:flux-system:flux", groups=["system:masters"])),
        field_manager="flux",
    )
    try:
        with pytest.raises(Forbidden, match="joe may not order in the name of jane"):
            await joe.patch_json(ref, {"spec": {"order": "Abort"}})
        await joe.patch_json(ref, {"spec": {"windows": [{"cron": "0 22 * * *", "durationSeconds": 3600}]}})
        await joe.patch_json(ref, {"spec": {"order": "Pause", "said": {"by": "joe"}}})
        await joe.patch_json(ref, {"spec": {"order": "Go", "said": {"by": "", "reason": ""}}})
        await flux.patch_json(ref, {"spec": {"order": "Pause", "said": {"by": "jane"}}})
    finally:
        await joe.close()
        await flux.close()


async def test_should_let_nobody_but_the_operator_write_or_remove_records(
    guarded: ApiServer, meta: KubePort, glass_broken: KubePort
) -> None:
    labels = {"kok.dev/journal": "history", "kok.dev/record-of": "rollout"}
    metadata = {"name": "record.x", "namespace": "kok-system", "labels": labels}
    record = {"apiVersion": "apps/v1", "kind": "ControllerRevision", "metadata": metadata, "revision": 1, "data": {"at": "now"}}
    for _ in range(300):
        try:
            await meta.create({**record, "metadata": {**metadata, "name": f"record.{uuid4().hex[:8]}"}})
        except Forbidden:
            break
        await asyncio.sleep(0.1)
    await glass_broken.create(record)
    ref = Ref("apps/v1", "ControllerRevision", "kok-system", "record.x")
    with pytest.raises(Forbidden, match="only the Cluster-Operator does"):
        await meta.delete(ref)
    with pytest.raises(Invalid, match="immutable"):
        await glass_broken.patch_json(ref, {"data": {"at": "later"}})
