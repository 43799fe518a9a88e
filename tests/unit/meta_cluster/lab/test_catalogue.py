"""The lab's variants of package versions: what changes, what stays, and that a name always means one content."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import yaml

from meta_cluster.lab.catalogue import AssetFacts, lab_packages, of_versions
from operators.adapters.catalogue_files import FileCatalogue
from operators.api import ClusterPackageVersion, MachinePackageVersion
from operators.errors import ErrorCode, KokError

EVERYTHING = [m for folder in ("packages/machine", "packages/cluster") for m in FileCatalogue().manifests(folder)]
RELEASED = of_versions(EVERYTHING, ("1.35.4",))
WANTED = {artifact["asset"] for m in RELEASED for artifact in m["spec"].get("artifacts") or () if artifact.get("asset")}
ASSETS = {name: AssetFacts("a" * 64, "1.6.20~ds1-1" if name.startswith(("containerd", "runc")) else "") for name in WANTED}
IMAGE = "registry.kok.dev/kok:0.1.0-abc"


def variants(assets: dict[str, AssetFacts] = ASSETS, image: str = IMAGE) -> list[dict[str, Any]]:
    return lab_packages(RELEASED, assets=assets, operator_image=image)


def component(packages: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(m for m in packages if m["spec"].get("component") == name)


def content(package: dict[str, Any], path: str) -> str:
    return str(next(file["content"] for file in package["spec"]["files"] if file["path"] == path))


def test_should_give_every_variant_a_valid_manifest() -> None:
    for manifest in variants():
        kind = MachinePackageVersion if manifest["kind"] == "MachinePackageVersion" else ClusterPackageVersion
        kind.parse(manifest)


def test_should_fit_the_kubelet_to_a_machine_in_a_container() -> None:
    package = component(variants(), "kubelet")
    settings = yaml.safe_load(content(package, "/etc/kubernetes/kubelet.yaml"))
    assert settings["cgroupDriver"] == "cgroupfs"
    assert settings["failCgroupV1"] is False
    assert settings["failSwapOn"] is False
    assert settings["featureGates"]["KubeletInUserNamespace"] is True
    assert settings["evictionHard"] == {"nodefs.available": "0%", "nodefs.inodesFree": "0%", "imagefs.available": "0%"}
    assert settings["imageGCHighThresholdPercent"] == 100
    assert content(package, settings["resolvConf"]) == "nameserver 10.89.0.1\n"


def test_should_keep_what_is_filled_in_on_the_host() -> None:
    settings = yaml.safe_load(content(component(variants(), "kubelet"), "/etc/kubernetes/kubelet.yaml"))
    assert settings["clusterDNS"] == ["{{ cluster.dns }}"]
    assert settings["registerWithTaints"] == [{"key": "kok.dev/not-ready", "effect": "NoSchedule"}]


def test_should_fit_containerd_to_a_machine_in_a_container() -> None:
    text = content(component(variants(), "containerd"), "/etc/containerd/config.toml")
    assert "restrict_oom_score_adj = true" in text
    assert "SystemdCgroup = false" in text


def test_should_change_no_released_package() -> None:
    before = copy.deepcopy(RELEASED)
    variants()
    assert before == RELEASED
    assert not any("KubeletInUserNamespace" in str(m) for m in RELEASED)


def test_should_keep_the_name_of_a_package_that_is_taken_as_it_is() -> None:
    assert component(variants(), "sysctl-base")["metadata"]["name"] == "sysctl-base-1-r1"


def test_should_fill_in_digests_and_what_dpkg_calls_the_version() -> None:
    artifacts = component(variants(), "containerd")["spec"]["artifacts"]
    assert {artifact["sha256"] for artifact in artifacts} == {"a" * 64}
    assert {artifact["packageVersion"] for artifact in artifacts if artifact["as"] == "Deb"} == {"1.6.20~ds1-1"}


def test_should_name_variants_by_content() -> None:
    names = [m["metadata"]["name"] for m in variants()]
    assert names == [m["metadata"]["name"] for m in variants()]
    changed = ASSETS | {"kubelet-1.35.4": AssetFacts("b" * 64)}
    others = [m["metadata"]["name"] for m in variants(changed)]
    differing = {name.split("-lab-")[0] for name, other in zip(names, others, strict=True) if name != other}
    assert differing == {"kubelet-1.35.4-r1", "kubernetes-1.35.4-r1"}


def test_should_let_the_cluster_package_name_the_variants_and_our_image() -> None:
    packages = variants()
    cluster = next(m for m in packages if m["kind"] == "ClusterPackageVersion")
    assert set(cluster["spec"]["machinePackages"]) <= {m["metadata"]["name"] for m in packages}
    assert cluster["spec"]["components"]["machineOperator"]["image"] == IMAGE
    assert cluster["spec"]["components"]["machineOperator"]["flags"]["probe-seconds"] == "10"
    assert cluster["metadata"]["name"].startswith("kubernetes-1.35.4-r1-lab-")


def test_should_offer_only_the_versions_that_were_asked_for_the_default_last() -> None:
    kept = of_versions(EVERYTHING, ("1.34.4", "1.35.4"))
    assert [m["spec"]["kubernetesVersion"] for m in kept if m["kind"] == "ClusterPackageVersion"] == ["1.34.4", "1.35.4"]
    assert {m["spec"]["version"] for m in kept if m["spec"].get("component") == "kubelet"} == {"1.34.4", "1.35.4"}
    assert any(m["spec"].get("component") == "containerd" for m in kept)


@pytest.mark.parametrize(
    ("name", "path", "text"),
    [("containerd", "/etc/containerd/config.toml", "version = 2"), ("kubelet", "/etc/kubernetes/kubelet.yaml", "kind: Other")],
)
def test_should_refuse_a_package_without_the_setting_it_must_change(name: str, path: str, text: str) -> None:
    released = copy.deepcopy(RELEASED)
    next(file for file in component(released, name)["spec"]["files"] if file["path"] == path)["content"] = text
    with pytest.raises(KokError) as error:
        lab_packages(released, assets=ASSETS, operator_image=IMAGE)
    assert error.value.code == ErrorCode.CatalogueInvalid
    assert path in error.value.message
