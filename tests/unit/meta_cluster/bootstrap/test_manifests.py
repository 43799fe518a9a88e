"""What an installation consists of, before any API server is asked."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from meta_cluster.bootstrap.catalogue import installable, resolved
from meta_cluster.bootstrap.manifests import PACKAGE_FOLDERS, Installation, InstallManifests, Overlay, install_manifests
from meta_cluster.bootstrap.overlay import rendered
from meta_cluster.bootstrap.status import rows_of
from meta_cluster.bootstrap.uninstall import removal
from operators.adapters.catalogue_files import FileCatalogue
from operators.errors import ErrorCode, KokError
from tests.sample_manifests import sample_path


def machine_package(**artifact: Any) -> dict[str, Any]:
    artifacts = [{"name": "x", "as": "Deb", "package": "x", **artifact}]
    spec = {"component": "x", "version": "1", "artifacts": artifacts}
    return {"apiVersion": "kok.dev/v1alpha1", "kind": "MachinePackageVersion", "metadata": {"name": "x-1"}, "spec": spec}


@cache
def installed(overlay: Overlay = Overlay.Production) -> InstallManifests:
    """Everything but packages, as the manifests have it; rendered once, and only read."""
    return install_manifests(Installation(overlay), {}, packages=())


def deployments(manifests: InstallManifests) -> dict[str, Any]:
    return {m["metadata"]["name"]: m["spec"]["template"]["spec"] for m in manifests.workloads}


def find(manifests: InstallManifests, kind: str, name: str) -> Any:
    return next((m for m in manifests.base if (m["kind"], m["metadata"]["name"]) == (kind, name)), None)


def test_should_fill_in_digests_and_debian_versions_from_the_assets() -> None:
    package = resolved([machine_package(asset="x-1")], {"x-1": "a" * 64}, {"x-1": "1~ds1-1"})[0]
    artifact = package["spec"]["artifacts"][0]
    assert (artifact["sha256"], artifact["packageVersion"]) == ("a" * 64, "1~ds1-1")


def test_should_keep_what_a_package_says_itself() -> None:
    package = resolved([machine_package(asset="x-1", sha256="b" * 64, packageVersion="2")], {"x-1": "a" * 64}, {"x-1": "1"})[0]
    artifact = package["spec"]["artifacts"][0]
    assert (artifact["sha256"], artifact["packageVersion"]) == ("b" * 64, "2")


def test_should_name_the_asset_that_is_missing() -> None:
    with pytest.raises(KokError) as refusal:
        resolved([machine_package(asset="x-1")], {})
    assert refusal.value.code is ErrorCode.AssetUnavailable
    assert refusal.value.hint == "kok assets ensure x-1"


def test_should_refuse_a_cluster_package_that_names_what_is_not_there() -> None:
    cluster = yaml.safe_load(sample_path("package-cluster.yaml").read_text())
    with pytest.raises(KokError) as refusal:
        resolved([cluster], {})
    assert refusal.value.code is ErrorCode.PackageMissing
    assert "containerd-1.6.20-r1" in refusal.value.message


def test_should_not_change_the_manifests_it_was_given() -> None:
    package = machine_package(asset="x-1")
    resolved([package], {"x-1": "a" * 64})
    assert "sha256" not in package["spec"]["artifacts"][0]


@pytest.mark.parametrize("overlay", Overlay)
def test_should_use_the_image_everywhere(overlay: Overlay) -> None:
    manifests = install_manifests(Installation(overlay, image="mirror.example/kok:9"), {}, packages=())
    images = {container["image"] for pod in deployments(manifests).values() for container in pod["containers"]}
    assert images == {"mirror.example/kok:9"}


@pytest.mark.parametrize("image", ["mirror.example/kok:9", ""])
def test_should_name_the_image_in_the_package_versions_of_the_release(image: str, monkeypatch: pytest.MonkeyPatch) -> None:
    package = yaml.safe_load(sample_path("package-cluster.yaml").read_text())
    package["spec"] |= {"machinePackages": []}
    package["spec"].pop("apiProxyPackage", None)
    monkeypatch.setattr(FileCatalogue, "manifests", lambda _, folder: [package] if folder == "packages/cluster" else [])
    shipped = package["spec"]["components"]["machineOperator"]["image"]
    (found,) = install_manifests(Installation(image=image), {}).catalogue
    assert found["spec"]["components"]["machineOperator"]["image"] == (image or shipped)


def test_should_take_a_claim_of_the_person() -> None:
    manifests = install_manifests(Installation(artifacts="ours"), {}, packages=())
    assert find(manifests, "PersistentVolumeClaim", "kok-artifacts") is None
    assert deployments(manifests)["kok-artifacts"]["volumes"][0]["persistentVolumeClaim"]["claimName"] == "ours"


def test_should_take_a_folder_of_the_nodes() -> None:
    manifests = install_manifests(Installation(Overlay.Lab, artifacts="/srv/files"), {}, packages=())
    assert find(manifests, "PersistentVolume", "kok-artifacts")["spec"]["hostPath"]["path"] == "/srv/files"


@pytest.mark.parametrize("overlay", Overlay)
def test_should_meet_the_restricted_profile_in_every_overlay(overlay: Overlay) -> None:
    manifests = installed(overlay)
    assert find(manifests, "Namespace", "kok-system")["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    for pod in deployments(manifests).values():
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert all("hostPath" not in volume for volume in pod["volumes"])
        for container in pod["containers"]:
            context = container["securityContext"]
            assert not context["allowPrivilegeEscalation"]
            assert context["readOnlyRootFilesystem"]
            assert context["capabilities"] == {"drop": ["ALL"]}


@pytest.mark.parametrize("overlay", Overlay)
def test_should_let_no_plane_push_the_operators_out(overlay: Overlay) -> None:
    """A pod ends others of lower priority when a node is full; masters have this one."""
    pods = deployments(installed(overlay)).values()
    assert {pod.get("priorityClassName") for pod in pods} == {"system-cluster-critical"}


def test_should_grant_no_wildcard_no_escalation_and_no_exec() -> None:
    role = find(installed(), "ClusterRole", "kok-cluster-operator")
    for rule in role["rules"]:
        assert "*" not in (*rule["apiGroups"], *rule["resources"], *rule["verbs"])
        assert not {"escalate", "bind", "impersonate", "deletecollection"} & set(rule["verbs"])
        assert not {"pods/exec", "pods/attach", "serviceaccounts/token"} & set(rule["resources"])
        if "nodes" in rule["resources"]:
            assert set(rule["verbs"]) <= {"get", "list"}, "whether one is gone and which images it has is asked, no more"


def test_should_install_no_kind_of_the_business_cluster() -> None:
    names = [crd["spec"]["names"]["kind"] for crd in installed().crds]
    assert "Machine" not in names
    assert "Cluster" in names


def test_should_remove_the_operators_first_and_the_namespace_last() -> None:
    refs = removal().refs
    assert refs[0].kind == "Deployment"
    assert refs[-1].kind == "Namespace"
    assert len(refs) == len(set(refs))


@pytest.mark.parametrize(
    ("kustomization", "says"),
    [
        ("images: []", "images"),
        ("resources: [none.yaml]", "none.yaml"),
        ("patches: [{target: {kind: A, name: b}, patch: '- {op: add, path: /x, value: 1}'}]", "which is not there"),
        ("patches: [{target: {kind: A}, patch: '{}'}]", "JSON 6902"),
    ],
)
def test_should_refuse_what_it_does_not_render(tmp_path: Path, kustomization: str, says: str) -> None:
    (tmp_path / "kustomization.yaml").write_text(kustomization)
    with pytest.raises(KokError, match=says):
        rendered(tmp_path)


def test_should_refuse_a_patch_that_does_not_apply(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("{kind: A, metadata: {name: b}}")
    (tmp_path / "kustomization.yaml").write_text(
        "resources: [a.yaml]\npatches: [{target: {kind: A, name: b}, patch: '- {op: replace, path: /spec/x, value: 1}'}]"
    )
    with pytest.raises(KokError, match="does not apply"):
        rendered(tmp_path)


EMPTY: dict[str, list[dict[str, Any]]] = {
    kind: []
    for kind in (
        "CustomResourceDefinition",
        "Deployment",
        "ClusterPackageVersion",
        "MachinePackageVersion",
        "OperationBudget",
        "Ledger",
        "OperationBudget",
        "Cluster",
        "MachinePool",
    )
}


def test_should_say_what_is_missing_of_an_installation() -> None:
    states = {row.part: row.state for row in rows_of(EMPTY)}
    assert states == {
        "CRDs": "missing", "catalogue": "missing", "budgets": "missing", "ledger": "missing",
        "kok-cluster-operator": "missing", "kok-artifacts": "missing", "looked after": "ok",
    }  # fmt: skip


def test_should_say_what_an_operator_waits_for() -> None:
    manifests = installed()
    deployment = {**manifests.workloads[0], "status": {"availableReplicas": 1, "updatedReplicas": 2, "replicas": 2}}
    row = next(row for row in rows_of({**EMPTY, "Deployment": [deployment]}) if row.part == "kok-cluster-operator")
    assert (row.state, row.detail) == ("waiting", "1 of 2 pods available, 2 of them new")


def test_should_offer_no_package_version_whose_assets_are_not_there() -> None:
    """Positive control: with nothing there at all everything stays, so that what is missing is said."""
    released = [m for folder in PACKAGE_FOLDERS for m in FileCatalogue().manifests(folder)]
    assets = {artifact["asset"]: "a" * 64 for m in released for artifact in m["spec"].get("artifacts") or ()}
    without = {name: digest for name, digest in assets.items() if name != "kubelet-1.33.13"}
    names = {m["metadata"]["name"] for m in installable(released, without)}
    assert names == {m["metadata"]["name"] for m in released} - {"kubelet-1.33.13-r1", "kubernetes-1.33.13-r1"}
    assert installable(released, {}) == released
