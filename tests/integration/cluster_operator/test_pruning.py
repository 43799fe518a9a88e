"""What one package version has inside the business cluster and another has not: it goes with the change, and nothing that others made does."""

from __future__ import annotations

import pytest

from operators.cluster_operator.cluster import business as business_look
from operators.cluster_operator.cluster import kinds
from operators.domain.plane.steps import PruneInside
from operators.ports.kube import AlreadyExists, Kind, KubePort, Manifest, Ref
from tests.integration.cluster_operator.test_upgrades import PATCH, VERSIONS, settled, wish
from tests.integration.cluster_operator.world_of_planes import Stage, package_manifest

pytestmark = pytest.mark.integration

WITH_AGENTS = "kubernetes-1.35.4-agents"
DAEMON_SET, BINDING = Kind("apps/v1", "DaemonSet"), Kind("rbac.authorization.k8s.io/v1", "ClusterRoleBinding")
ONLY_UPPER = (
    DAEMON_SET.ref("konnectivity-agent", "kube-system"),
    Kind("v1", "ServiceAccount").ref("konnectivity-agent", "kube-system"),
    BINDING.ref("kok:konnectivity-server"),
)


@pytest.fixture
async def two_packages(stage: Stage, meta: KubePort) -> Stage:
    """A catalogue in which only the upper package has agents inside."""
    upper = package_manifest(WITH_AGENTS)
    images = {
        "serverImage": "registry.k8s.io/kas-network-proxy/proxy-server:v0.33.0",
        "agentImage": "registry.k8s.io/kas-network-proxy/proxy-agent:v0.33.0",
    }
    upper["spec"]["components"]["konnectivity"] = images
    for manifest in (package_manifest(PATCH, VERSIONS[PATCH]), upper):
        try:
            await meta.create(manifest)
        except AlreadyExists:
            continue
    return stage


def look_alike(stage: Stage, name: str) -> Manifest:
    """What a person made after our own manifests: the same labels and the same digest."""
    labels = {"app.kubernetes.io/managed-by": "kok", "kok.dev/cluster": stage.name}
    metadata = {"name": name, "labels": labels, "annotations": {"kok.dev/applied-hash": "0123456789abcdef"}}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"}
    return {"apiVersion": BINDING.api_version, "kind": BINDING.kind, "metadata": metadata, "roleRef": role}


async def there(business: KubePort, *refs: Ref) -> list[str]:
    return [str(ref) for ref in refs if await business.get(ref)]


async def test_should_take_away_what_only_the_upper_package_has_and_nothing_of_others(two_packages: Stage, business: KubePort) -> None:
    stage = two_packages
    foreign = await business.create(look_alike(stage, f"mine-{stage.namespace}"))
    await stage.create(packageVersion=WITH_AGENTS)
    await settled(stage, stage.operator(), WITH_AGENTS)
    assert len(await there(business, *ONLY_UPPER)) == 3

    await wish(stage, PATCH)
    await settled(stage, stage.operator(), PATCH)
    assert await there(business, *ONLY_UPPER) == []
    found = await business.get(Ref.of(foreign))
    assert found, "who has our labels is not therefore ours"
    assert await stage.admin.get(kinds.DEPLOYMENT.ref("demo-konnectivity", stage.namespace)) is None
    await business.delete(Ref.of(foreign))


@pytest.mark.slow
async def test_should_find_an_operator_that_looks_for_nothing(
    two_packages: Stage, business: KubePort, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The positive control."""
    stage = two_packages
    await stage.create(packageVersion=WITH_AGENTS)
    await settled(stage, stage.operator(), WITH_AGENTS)
    monkeypatch.setattr(business_look, "candidates", lambda *_: ())
    await wish(stage, PATCH)
    await settled(stage, stage.operator(), PATCH)
    assert len(await there(business, *ONLY_UPPER)) == 3


async def test_should_give_up_what_a_person_has_changed_since(two_packages: Stage, business: KubePort) -> None:
    """A look that is a moment old is no leave to delete what is there now."""
    stage = two_packages
    await stage.create(packageVersion=WITH_AGENTS)
    operator = stage.operator()
    await settled(stage, operator, WITH_AGENTS)
    view = await operator.controller.observe(stage.key)
    assert view
    ref = ONLY_UPPER[2]
    seen = await business.get(ref)
    assert seen
    await business.patch_json(ref, {"metadata": {"labels": {"touched": "yes"}}})
    with pytest.raises(Exception, match="precondition"):
        await operator.controller.act(view, PruneInside((seen,), "a stale look"))
    assert await there(business, ref)
