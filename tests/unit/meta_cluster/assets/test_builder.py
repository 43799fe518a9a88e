"""The builder: dependencies first, each asset made once, nothing made twice, a change makes anew what it reaches."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from meta_cluster.assets.builder import Builder, closure
from meta_cluster.assets.folder import AssetsFolder
from meta_cluster.assets.official import OfficialFile, Release
from meta_cluster.assets.recipe import Asset, Inputs, Lane, key_from
from meta_cluster.assets.toolchain import Go
from operators.errors import ErrorCode, KokError


@dataclass
class Recorder:
    """A recipe that writes its text and what it depends on, and counts."""

    text: str
    lane: Lane = Lane.PACK
    made: list[str] = field(default_factory=list)
    fail: bool = False

    def key(self, inputs: Inputs) -> str:
        return key_from(inputs, self.text)

    def make(self, inputs: Inputs, work: Path) -> Path:
        if self.fail:
            raise KokError(ErrorCode.AssetUnavailable, "compiler error")
        self.made.append(self.text)
        output = work / "out"
        output.write_text(self.text + "".join(inputs.path(name).read_text() for name in inputs.entries))
        return output


def asset(name: str, recipe: Recorder, *depends: str) -> Asset:
    return Asset(name, "1", f"bin/{name}", recipe, depends=depends)


def table_of(*assets: Asset) -> dict[str, Asset]:
    return {one.name: one for one in assets}


def builder(root: Path, *assets: Asset) -> Builder:
    made = Builder(AssetsFolder(root), table_of(*assets))
    made.__dict__["go"] = Go(Path("/go"), "go1.26.8")
    return made


def test_should_make_dependencies_first(tmp_path: Path) -> None:
    binary, image = Recorder("binary ", Lane.COMPILE), Recorder("image ")
    paths = builder(tmp_path, asset("image", image, "binary"), asset("binary", binary)).ensure(["image"])
    assert paths["image"].read_text() == "image binary "


def test_should_make_nothing_the_second_time(tmp_path: Path) -> None:
    binary, image = Recorder("binary "), Recorder("image ")
    for _ in range(2):
        builder(tmp_path, asset("binary", binary), asset("image", image, "binary")).ensure(["image"])
    assert binary.made == ["binary "]
    assert image.made == ["image "]


def test_should_make_anew_what_depends_on_a_change(tmp_path: Path) -> None:
    image = Recorder("image ")
    for text in ("one ", "two "):
        path = builder(tmp_path, asset("binary", Recorder(text)), asset("image", image, "binary")).ensure(["image"])["image"]
    assert path.read_text() == "image two "
    assert len(image.made) == 2


def test_should_repair_a_damaged_asset(tmp_path: Path) -> None:
    binary = Recorder("binary ")
    path = builder(tmp_path, asset("binary", binary)).ensure(["binary"])["binary"]
    path.write_text("damaged")
    builder(tmp_path, asset("binary", binary)).ensure(["binary"])
    assert path.read_text() == "binary "


def test_should_keep_what_was_made_before_a_failure(tmp_path: Path) -> None:
    good, bad = Recorder("good "), Recorder("bad ", fail=True)
    with pytest.raises(KokError, match="compiler error"):
        builder(tmp_path, asset("good", good), asset("bad", bad, "good")).ensure(["bad"])
    assert list(AssetsFolder(tmp_path).index()) == ["good"]


def test_should_make_each_asset_once_in_two_runs_at_once(tmp_path: Path) -> None:
    slow = Recorder("slow ")
    runs = [threading.Thread(target=builder(tmp_path, asset("slow", slow)).ensure, args=(["slow"],)) for _ in range(4)]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    assert slow.made == ["slow "]


def test_should_refuse_a_name_that_is_not_in_the_table() -> None:
    with pytest.raises(KokError) as error:
        closure({}, ["kubelt-1.35.4"])
    assert error.value.code == ErrorCode.NotFound
    assert error.value.hint == "kok assets list"


@pytest.mark.parametrize(
    ("pinned", "told"),
    [
        (False, "takes about 5 min, once"),
        (True, "takes about 1 min and the downloads, or 5 min where nothing can be downloaded, once"),
    ],
)
def test_should_say_how_long_it_takes_with_and_without_a_release_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], pinned: bool, told: str
) -> None:
    """Whether a server answers is only known when it is asked: both figures, before anything is begun."""
    monkeypatch.setenv(Release.Kubernetes.value, "http://127.0.0.1:1")
    official = OfficialFile(Release.Kubernetes, "kubelet", "")
    slow = Asset("slow", "1", "bin/slow", Recorder("slow", fail=True), cold_seconds=240, official=official)
    quick = Asset("quick", "1", "bin/quick", Recorder("quick", fail=True), cold_seconds=70)
    made = Builder(AssetsFolder(tmp_path), table_of(quick, slow))
    made.downloads.pins = {"kubelet": "0" * 64} if pinned else {}
    made.downloads.pause = lambda _: None
    with pytest.raises(KokError, match="compiler error"):
        made.ensure(["quick", "slow"])
    assert told in capsys.readouterr().err
