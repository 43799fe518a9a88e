"""A release of kok's own files: laid out, served on loopback, pinned, had by another machine that builds nothing."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from meta_cluster.assets.builder import Builder
from meta_cluster.assets.download import published_pins
from meta_cluster.assets.folder import AssetsFolder
from meta_cluster.assets.official import Release, Way, add_pins, own_file, releases_named
from meta_cluster.assets.publish import publish
from meta_cluster.assets.recipe import Asset
from operators.errors import ErrorCode, KokError
from tests.integration.assets.test_download import Recipe, Server, server

__all__ = ["server"]


class Machine:
    """An assets folder with recipes that count."""

    def __init__(self, root: Path) -> None:
        self.folder = AssetsFolder(root)
        self.parts, self.image, self.tree = Recipe(), Recipe(), Recipe()
        self.table = {
            "parts": Asset("parts", "1", "bin/parts", self.parts),
            "image": Asset("image", "1", "images/image.tar", self.image, depends=("parts",)),
            "own": Asset("own", "tree", "images/own.tar", self.tree, depends=("image",)),
        }

    def builder(self, way: Way = Way.Auto) -> Builder:
        made = Builder(self.folder, self.table, way=way)
        made.downloads.pause = lambda _: None
        return made

    @property
    def made(self) -> tuple[int, int, int]:
        return self.parts.made, self.image.made, self.tree.made


@pytest.fixture
def released(tmp_path: Path, server: Server) -> Machine:
    """A machine that builds, whose assets are served as a release and pinned for another one, which is returned."""
    builds = Machine(tmp_path / "builds")
    builds.builder().ensure(["own"])
    assert builds.made == (1, 1, 1)
    sums = publish(builds.folder, builds.table, ["parts", "image"], tmp_path / "www")
    server.files |= {str(each.relative_to(tmp_path / "www")): each.read_bytes() for each in sums.parent.iterdir()}
    other = Machine(tmp_path / "other")
    pins = published_pins([*(file for asset in builds.table.values() for file in asset.releases), own_file("not-published")])
    assert set(pins) == {own_file("parts").path, own_file("image").path}, "what is of the tree is never of a release"
    add_pins(other.folder.root / "pins.json", pins)
    return other


def test_should_have_everything_but_what_is_of_the_tree_from_a_release(released: Machine, server: Server) -> None:
    released.builder().ensure(["own"])
    assert released.made == (0, 0, 1)
    assert [path for path, _ in server.asked if "SHA256SUMS" not in path] == [f"/{own_file('image').path}"], (
        "parts of a whole are not asked for"
    )
    released.builder().ensure(["own"])
    released.builder(Way.Build).ensure(["own"])
    assert released.made == (0, 0, 1)


def test_should_build_from_its_parts_what_the_release_does_not_have(released: Machine, server: Server) -> None:
    del server.files[own_file("image").path]
    released.builder().ensure(["own"])
    assert released.made == (0, 1, 1)
    assert released.folder.index()["parts"].how == "downloaded"
    assert sum(path.endswith(own_file("image").path) for path, _ in server.asked) == 1, "it is asked for once"


def test_should_build_where_nobody_serves(released: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(Release.Kok.value)
    released.builder().ensure(["own"])
    assert released.made == (1, 1, 1)


def test_should_repair_a_download_by_building_where_that_is_asked(released: Machine) -> None:
    path = released.builder().ensure(["image"])["image"]
    path.write_bytes(b"damaged")
    assert released.builder(Way.Build).ensure(["image"])["image"].read_bytes() == b"built"
    assert released.made == (1, 1, 0)


def test_should_keep_what_was_built_before_it_was_pinned(released: Machine, server: Server) -> None:
    pins = (released.folder.root / "pins.json").read_text()
    (released.folder.root / "pins.json").write_text("{}")
    released.builder().ensure(["image"])
    (released.folder.root / "pins.json").write_text(pins)
    server.asked.clear()
    released.builder().ensure(["image"])
    assert (released.made, server.asked) == ((1, 1, 0), [])


def test_should_prefer_upstream_and_fall_back_on_the_release(tmp_path: Path, server: Server) -> None:
    from tests.integration.assets.test_download import BODY, KUBELET

    own = own_file("kubelet")
    server.files[own.path] = b"as kok built it"
    pins = {KUBELET.path: hashlib.sha256(BODY).hexdigest(), own.path: hashlib.sha256(b"as kok built it").hexdigest()}
    add_pins(tmp_path / "pins.json", pins)
    recipe = Recipe()
    table = {"kubelet": Asset("kubelet", "1", "bin/kubelet", recipe, official=KUBELET)}
    assert Builder(AssetsFolder(tmp_path), table, way=Way.Download).ensure(["kubelet"])["kubelet"].read_bytes() == BODY
    del server.files[KUBELET.path]
    (tmp_path / "bin" / "kubelet").write_bytes(b"damaged")
    assert Builder(AssetsFolder(tmp_path), table, way=Way.Download).ensure(["kubelet"])["kubelet"].read_bytes() == b"as kok built it"
    assert recipe.made == 0


@pytest.mark.parametrize(
    ("name", "code"), [("nobody", ErrorCode.NotFound), ("own", ErrorCode.Usage), ("parts", ErrorCode.AssetUnavailable)]
)
def test_should_publish_nothing_when_one_asset_cannot_be(tmp_path: Path, name: str, code: ErrorCode) -> None:
    machine = Machine(tmp_path / "empty")
    with pytest.raises(KokError) as raised:
        publish(machine.folder, machine.table, [name], tmp_path / "www")
    assert (raised.value.code, (tmp_path / "www").exists()) == (code, False)


def test_should_keep_the_sums_of_what_was_published_before(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "builds")
    machine.builder().ensure(["image"])
    for name in ("parts", "image", "parts"):
        sums = publish(machine.folder, machine.table, [name], tmp_path / "www")
    found = {line.split()[1]: line.split()[0] for line in sums.read_text().splitlines()}
    assert found == {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sums.parent.iterdir() if path != sums}
    assert len(found) == 2


def test_should_name_who_publishes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(Release.Kok.value, raising=False)
    assert releases_named(()) == (Release.Kubernetes, Release.Etcd, Release.Kind)
    with pytest.raises(KokError, match="KOK_RELEASES is not set"):
        releases_named(["kok"])
    with pytest.raises(KokError, match="'flannel' publishes nothing"):
        releases_named(["flannel"])
    monkeypatch.setenv(Release.Kok.value, "http://127.0.0.1:1")
    assert releases_named(["kok"]) == (Release.Kok,)
    add_pins(tmp_path / "pins.json", {"a": "1"})
    add_pins(tmp_path / "pins.json", {"b": "2"})
    assert json.loads((tmp_path / "pins.json").read_text()) == {"a": "1", "b": "2"}
