"""The asset table against the committed modules: every line can be made, every name is upstream's."""

from __future__ import annotations

import re

import pytest

from meta_cluster.assets import versions
from meta_cluster.assets.gobuild import FromGo, GoBinary, key_of, link_flags
from meta_cluster.assets.table import table
from meta_cluster.lab.machine_images import lab_assets
from operators.adapters.catalogue_files import FileCatalogue

TABLE = table() | lab_assets()
FROM_GO = [(name, asset.recipe.binary) for name, asset in TABLE.items() if isinstance(asset.recipe, FromGo)]


def test_should_know_every_dependency() -> None:
    assert {need for asset in TABLE.values() for need in asset.depends} <= set(TABLE)


def test_should_put_no_two_assets_in_one_place() -> None:
    paths = [asset.path for asset in TABLE.values()]
    assert len(paths) == len(set(paths))


@pytest.mark.parametrize(("name", "binary"), FROM_GO)
def test_should_have_a_pinned_module_with_the_command_as_its_tool(name: str, binary: GoBinary) -> None:
    module = (binary.folder / "go.mod").read_text()
    if binary.package != ".":  # a small program of our own around the library
        assert re.search(rf"^(tool )?\s*{re.escape(binary.package)}$", module, re.MULTILINE)
    assert f"v{name.rsplit('-', 1)[1]}" in module
    assert (binary.folder / "go.sum").stat().st_size > 1000


@pytest.mark.parametrize("version", versions.KUBE_BINARIES)
def test_should_stamp_kubernetes_binaries_with_their_version(version: str) -> None:
    flags = link_flags(dict(FROM_GO)[f"kubelet-{version}"])
    assert f"-X k8s.io/component-base/version.gitVersion=v{version}" in flags
    assert f"-X k8s.io/client-go/pkg/version.gitMinor={version.split('.')[1]}" in flags


def test_should_build_anew_for_another_go_or_other_flags() -> None:
    binary = dict(FROM_GO)[f"etcd-{versions.ETCD}"]
    keys = {
        key_of(binary, "go1.26.8"),
        key_of(binary, "go1.26.9"),
        key_of(GoBinary(binary.module, binary.package, ("-X a=b",)), "go1.26.8"),
        key_of(GoBinary(binary.module, binary.package, static_c=True), "go1.26.8"),
    }
    assert len(keys) == 4
    assert key_of(binary, "go1.26.8") == key_of(binary, "go1.26.8")


def test_should_make_what_is_rare_only_on_demand() -> None:
    rare = tuple(versions.KUBERNETES_ON_DEMAND)
    found = [name for name, asset in TABLE.items() if asset.on_demand and not name.endswith(rare)]
    assert found == [f"kwok-{versions.KWOK}", f"kstatus-{versions.KSTATUS}", "prometheus", "promtool"]
    assert not any(TABLE[need].on_demand for asset in TABLE.values() if not asset.on_demand for need in asset.depends)


def test_should_offer_hosts_what_their_packages_name() -> None:
    released = FileCatalogue().manifests("packages/machine")
    named = {artifact["asset"] for m in released for artifact in m["spec"].get("artifacts") or () if artifact.get("asset")}
    assert named
    assert all(TABLE[name].for_hosts for name in named)


def test_should_make_what_tests_wait_for_first() -> None:
    assert list(TABLE)[:5] == ["etcd-3.6.8", "etcdctl-3.6.8", "etcdutl-3.6.8", "kube-apiserver-1.35.4", "kubectl-1.35.4"]
