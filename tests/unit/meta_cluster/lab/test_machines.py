"""How machines are run, with and without privileged containers: whole option sets, as Docker and kind get them."""

from __future__ import annotations

from ipaddress import IPv4Address
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from meta_cluster.lab.docker_wrapper import rewritten
from meta_cluster.lab.ground import Ground, power_options
from meta_cluster.lab.hosts import free_address, run_words
from meta_cluster.lab.machine_images import host_files, node_settings
from meta_cluster.lab.meta import check_mounts, kind_config
from operators.errors import ErrorCode, KokError

FULL, BARE = Ground(privileged=True, cgroup=2), Ground(privileged=False, cgroup=1)


def test_should_use_privileged_where_it_works() -> None:
    assert power_options(FULL) == ["--privileged"]


def test_should_ask_for_single_capabilities_where_it_does_not() -> None:
    assert power_options(BARE) == [
        "--cap-add=ALL",
        "--cap-drop=SYS_RESOURCE",
        "--security-opt=seccomp=unconfined",
        "--security-opt=apparmor=unconfined",
        "--security-opt=systempaths=unconfined",
        "--device-cgroup-rule=a *:* rwm",
    ]


def test_should_say_which_ground_it_found() -> None:
    assert FULL.sentence == "docker: cgroup v2; hosts run as privileged containers"
    assert BARE.sentence.startswith("docker: cgroup v1; ")
    assert "no CAP_SYS_RESOURCE" in BARE.sentence
    assert "nothing to worry about" in BARE.sentence


def test_should_run_a_host_with_its_name_address_labels_and_no_pull() -> None:
    words = run_words("demo-1", address=IPv4Address("10.89.0.11"), image="kok-lab/host:1", ground=BARE, key="ssh-ed25519 AAAA")
    assert words[:4] == ["run", "--pull", "never", "--detach"]
    assert words[-1] == "kok-lab/host:1"
    pairs = set(pairwise(words))
    assert {
        ("--name", "demo-1"),
        ("--ip", "10.89.0.11"),
        ("--network", "kok-lab"),
        ("--dns", "10.89.0.1"),
        ("--restart", "always"),
    } <= pairs
    assert {("--label", "kok.dev/lab=kok"), ("--label", "kok.dev/lab-role=host"), ("--env", "KOK_AUTHORIZED_KEY=ssh-ed25519 AAAA")} <= pairs
    assert "--privileged" not in words
    assert set(power_options(BARE)) <= set(words)


def test_should_give_the_first_address_that_is_free() -> None:
    assert free_address([]) == IPv4Address("10.89.0.11")
    assert free_address(["10.89.0.11", "10.89.0.13"]) == IPv4Address("10.89.0.12")


def test_should_say_when_no_address_is_left() -> None:
    with pytest.raises(KokError, match="no address is free"):
        free_address(f"10.89.0.{number}" for number in range(11, 255))


RUN = ["run", "--name", "kok-control-plane", "--privileged", "--volume", "/var", "image", "--privileged"]


def test_should_add_the_address_and_keep_privileged_for_kind() -> None:
    done = rewritten(RUN, run_options=["--ip", "10.89.0.2"], power_options=["--privileged"])
    assert done == ["run", "--ip", "10.89.0.2", *RUN[1:]]


def test_should_replace_privileged_for_kind_where_it_cannot_be() -> None:
    done = rewritten(RUN[:-1], run_options=[], power_options=["--cap-add=ALL"])
    assert done == ["run", "--name", "kok-control-plane", "--cap-add=ALL", "--volume", "/var", "image"]


def test_should_drop_privileged_from_exec_where_it_cannot_be() -> None:
    words = ["exec", "--privileged", "-i", "kok-control-plane", "kubeadm", "init"]
    assert rewritten(words, run_options=[], power_options=["--cap-add=ALL"]) == ["exec", *words[2:]]
    assert rewritten(words, run_options=[], power_options=["--privileged"]) == words


def test_should_leave_other_docker_commands_alone() -> None:
    assert rewritten(["ps", "-a"], run_options=["--ip", "x"], power_options=["--cap-add=ALL"]) == ["ps", "-a"]


def config(ground: Ground) -> dict[str, object]:
    return dict(kind_config(ground, image="kok-lab/node-1.35.4:1", mounts={"/kok-assets": Path("/assets"), "/kok-src": Path("/src")}))


def patches(ground: Ground) -> dict[str, dict[str, object]]:
    nodes = config(ground)["nodes"]
    assert isinstance(nodes, list)
    loaded = [yaml.safe_load(patch) for patch in nodes[0]["kubeadmConfigPatches"]]
    return {str(patch["kind"]): patch for patch in loaded}


def test_should_configure_kind_with_our_network_image_and_mounts() -> None:
    wanted = config(FULL)
    assert wanted["networking"] == {
        "disableDefaultCNI": True,
        "apiServerAddress": "127.0.0.1",
        "podSubnet": "10.244.0.0/16",
        "serviceSubnet": "10.96.0.0/16",
        "kubeProxyMode": "iptables",
    }
    nodes = wanted["nodes"]
    assert isinstance(nodes, list)
    assert [mount["containerPath"] for mount in nodes[0]["extraMounts"]] == ["/kok-assets", "/kok-src"]
    assert all(mount["readOnly"] for mount in nodes[0]["extraMounts"])
    assert nodes[0]["image"] == "kok-lab/node-1.35.4:1"


def test_should_give_the_meta_node_room_for_many_planes_and_our_image_tags() -> None:
    found = patches(FULL)
    assert found["KubeletConfiguration"]["maxPods"] == 250
    assert found["KubeletConfiguration"]["failCgroupV1"] is False
    assert found["ClusterConfiguration"]["dns"] == {"imageTag": "v1.12.4"}
    assert "3.6.8-0" in str(found["ClusterConfiguration"]["etcd"])


def test_should_tell_the_kubelet_of_missing_rights_only_where_they_are_missing() -> None:
    assert "featureGates" not in patches(FULL)["KubeletConfiguration"]
    assert patches(BARE)["KubeletConfiguration"]["featureGates"] == {"KubeletInUserNamespace": True}


def test_should_leave_an_image_that_is_not_ours_its_own_settings() -> None:
    wanted = kind_config(FULL, image="kindest/node:v1.35.4", mounts={}, own_image=False)
    assert wanted["networking"]["disableDefaultCNI"] is False
    loaded = [yaml.safe_load(patch) for patch in wanted["nodes"][0]["kubeadmConfigPatches"]]
    assert [patch["kind"] for patch in loaded] == ["KubeletConfiguration", "ClusterConfiguration"]
    assert loaded[0] == {"kind": "KubeletConfiguration", "maxPods": 250, "serializeImagePulls": False, "failCgroupV1": False}
    bare = kind_config(BARE, image="kindest/node:v1.35.4", mounts={}, own_image=False)["nodes"][0]["kubeadmConfigPatches"][0]
    assert "KubeletInUserNamespace" in bare, "what the machine lacks it lacks for any image"


def test_should_refuse_a_meta_cluster_with_other_folders_mounted() -> None:
    known = {"Mounts": [{"Destination": "/kok-assets", "Source": "/elsewhere"}]}
    with pytest.raises(KokError) as error:
        check_mounts(known, {"/kok-assets": Path("/assets")})
    assert error.value.code == ErrorCode.LabFailed
    assert "/elsewhere mounted at /kok-assets, not /assets" in error.value.message
    check_mounts(known, {"/kok-assets": Path("/elsewhere")})


def test_should_leave_no_mark_unreplaced_in_the_files_of_machines() -> None:
    for path, file in (host_files() | node_settings("1.35.4")).items():
        assert b"@" not in (file.content or b"").replace(b'"$@"', b""), path


def test_should_put_nothing_of_kok_packages_on_hosts() -> None:
    words = " ".join(host_files())
    assert not any(name in words for name in ("containerd", "kubelet", "cni", "runc"))


def test_should_make_local_path_volumes_the_default_under_var() -> None:
    content = node_settings("1.35.4")["/kind/manifests/default-storage.yaml"].content
    assert content is not None
    objects = {one["kind"]: one for one in yaml.safe_load_all(content)}
    assert objects["StorageClass"]["metadata"]["annotations"] == {"storageclass.kubernetes.io/is-default-class": "true"}
    assert '"/var/local-path-provisioner"' in objects["ConfigMap"]["data"]["config.json"]
    environment = {one["name"] for one in objects["Deployment"]["spec"]["template"]["spec"]["containers"][0]["env"]}
    assert "SERVICE_ACCOUNT_NAME" in environment
