"""What goes into a new meta cluster: whole manifests, upstream's image names, the inventory's addresses."""

from __future__ import annotations

import json
from pathlib import Path

from meta_cluster.assets import versions as v
from meta_cluster.bootstrap.inventory import read_inventory
from meta_cluster.bootstrap.meta_packages import OperatorImages, done_mark, shared_packages, wanted_packages
from meta_cluster.bootstrap.surroundings import pod_network, storage
from operators.adapters.catalogue_files import FileCatalogue
from tests.unit.meta_cluster.bootstrap.test_inventory import ONE, read

DIGESTS = {a["asset"]: "a" * 64 for m in shared_packages(FileCatalogue()) for a in m["spec"].get("artifacts", ())}
DEBS = {f"containerd-{v.CONTAINERD}": "1.6.20~ds1-1", f"runc-{v.RUNC}": "1.1.5+ds1-1"}


def test_should_route_pods_over_the_inventorys_endpoint(tmp_path: Path) -> None:
    manifests = {m["kind"]: m for m in pod_network(read(tmp_path, ONE | {"network": {"podCIDR": "10.50.0.0/16"}}))}
    assert set(manifests) == {"Namespace", "ServiceAccount", "ClusterRole", "ClusterRoleBinding", "ConfigMap", "DaemonSet"}
    assert json.loads(manifests["ConfigMap"]["data"]["net-conf.json"])["Network"] == "10.50.0.0/16"
    (flannel, _) = manifests["DaemonSet"]["spec"]["template"]["spec"]["containers"]
    assert {"name": "KUBERNETES_SERVICE_HOST", "value": "192.0.2.11"} in flannel["env"]
    assert {"name": "KUBERNETES_SERVICE_PORT", "value": "6443"} in flannel["env"]


def test_should_bring_one_default_storage_class_with_whole_image_names() -> None:
    manifests = storage()
    (default,) = [m for m in manifests if m["kind"] == "StorageClass"]
    assert default["metadata"]["annotations"]["storageclass.kubernetes.io/is-default-class"] == "true"
    assert "@" not in json.dumps(manifests)
    assert v.IMAGE_LOCAL_PATH in json.dumps(manifests)


def test_should_install_the_machines_containerd_and_only_for_containers_another_one(tmp_path: Path) -> None:
    plain = {p.component: p for p in wanted_packages(read(tmp_path, ONE), DIGESTS, DEBS, None)}
    assert list(plain) == ["containerd", "cni-plugins", "meta-node"]
    assert "SystemdCgroup = true" in plain["containerd"].files[0].content
    inside = {p.component: p for p in wanted_packages(read(tmp_path, ONE | {"insideContainers": True}), DIGESTS, DEBS, None)}
    assert "SystemdCgroup = false" in inside["containerd"].files[0].content
    named = {p.component: p for p in wanted_packages(read(tmp_path, ONE | {"nameservers": ["192.0.2.53"]}), DIGESTS, DEBS, None)}
    assert [(f.path, f.content) for f in named["meta-node"].files] == [("/etc/kok/resolv.conf", "nameserver 192.0.2.53\n")]


def test_should_carry_the_operators_images_under_a_name_of_their_content(tmp_path: Path) -> None:
    images = OperatorImages("registry.kok.dev/kok:1", "registry.kok.dev/kok-base:1", "b" * 64, "c" * 64)
    *_, first = wanted_packages(read(tmp_path, ONE), DIGESTS, DEBS, images)
    *_, other = wanted_packages(read(tmp_path, ONE), DIGESTS, DEBS, OperatorImages(images.name, images.base_name, "b" * 64, "d" * 64))
    assert [artifact.image for artifact in first.artifacts] == ["registry.kok.dev/kok-base:1", "registry.kok.dev/kok:1"]
    assert first.name != other.name
    assert done_mark().files[0].path == "/etc/kok/meta-init.done"
    assert read_inventory(tmp_path / "hosts.yaml").claim == "meta-cluster-meta"
