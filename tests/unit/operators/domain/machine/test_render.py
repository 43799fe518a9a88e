from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from operators.api.packages import MachinePackageVersion
from operators.domain.machine.render import ClusterFacts, HostFacts, NodeFacts, desired_package
from operators.domain.machine.resolve import resolve_artifacts
from operators.errors import ErrorCode, KokError

FACTS = HostFacts(
    NodeFacts("node-1", "10.0.0.1"),
    ClusterFacts("demo", "https://10.0.0.9:31443", "-----BEGIN CERTIFICATE-----\nx\n", "10.97.0.10", "cluster.local", "10.245.0.0/16"),
)
RELEASED = sorted((Path(__file__).parents[5] / "packages/machine").glob("*/*.yaml"))


def package(content: str, **spec: object) -> MachinePackageVersion:
    files = [{"path": "/etc/x", "content": content}]
    raw = {"metadata": {"name": "x-1-r1"}, "spec": {"component": "x", "version": "1", "files": files, **spec}}
    return MachinePackageVersion.model_validate({"apiVersion": "kok.dev/v1alpha1", "kind": "MachinePackageVersion", **raw})


def test_should_fill_in_facts_and_keep_the_last_newline() -> None:
    text = "{{ node.name }} {{ node.address }} {{ cluster.endpoint }} {{ cluster.podCIDR }}\n"
    assert desired_package(package(text), FACTS).files[0].content == "node-1 10.0.0.1 https://10.0.0.9:31443 10.245.0.0/16\n"


@pytest.mark.parametrize(
    "text", ["{{ node.labels }}", "{{ cluster.key }}", "{{ nobody }}", "{% if %}", "{{ node.name.__class__.__mro__ }}"]
)
def test_should_refuse_what_is_no_fact_and_name_the_file(text: str) -> None:
    with pytest.raises(KokError) as caught:
        desired_package(package(text), FACTS)
    assert caught.value.code is ErrorCode.TemplateInvalid
    assert "x-1-r1: /etc/x" in caught.value.message


def test_should_print_sysctls_as_the_kernel_does() -> None:
    assert desired_package(package("", sysctls={"a.b": "1   2"}), FACTS).sysctls == {"a.b": "1 2"}


@pytest.mark.parametrize("path", RELEASED, ids=lambda path: path.stem)
def test_should_render_every_released_package_named_after_its_component(path: Path) -> None:
    raw = yaml.safe_load(path.read_text())
    index = {a["asset"]: {"sha256": "0" * 64} for a in raw["spec"].get("artifacts", ())}
    mpv = MachinePackageVersion.model_validate(resolve_artifacts(raw, index))
    desired = desired_package(mpv, FACTS)
    assert desired.name == path.stem
    assert desired.component == path.parent.name
    assert all("{{" not in file.content for file in desired.files)
    assert {file.notify for file in desired.files} - {""} <= {unit.name for unit in desired.units}


def test_should_install_what_others_need_first() -> None:
    orders = {path.parent.name: yaml.safe_load(path.read_text())["spec"]["order"] for path in RELEASED}
    assert orders["api-proxy"] < orders["kubelet"], "it dials the proxy as soon as it starts"
    assert orders["containerd"] < orders["cni-plugins"] < orders["kubelet"]
