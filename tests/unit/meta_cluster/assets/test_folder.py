"""The assets folder: what it finds, what it refuses, what an interruption leaves."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from meta_cluster.assets.folder import AssetsFolder, sha256_of
from operators.errors import ErrorCode, KokError

ENTRY = {"how": "built", "version": "1", "key": "k1"}


def publish(folder: AssetsFolder, name: str, content: bytes, key: str = "k1") -> Path:
    with folder.making(name) as work:
        made = work / "made"
        made.write_bytes(content)
        folder.publish(name, made, relative=f"bin/{name}", entry=ENTRY | {"key": key})
    return folder.root / "bin" / name


def test_should_find_what_was_published(tmp_path: Path) -> None:
    folder = AssetsFolder(tmp_path)
    path = publish(folder, "etcd-1", b"etcd")
    assert folder.find("etcd-1") == path
    assert folder.find("etcd-1", key="k1") == path
    index = json.loads((tmp_path / "index.json").read_text())
    assert index["etcd-1"]["sha256"] == sha256_of(path)
    assert index["etcd-1"]["how"] == "built"


def test_should_link_what_hosts_fetch_by_digest(tmp_path: Path) -> None:
    folder = AssetsFolder(tmp_path)
    path = publish(folder, "kubelet-1", b"kubelet")
    folder.offer_to_hosts("kubelet-1")
    folder.offer_to_hosts("kubelet-1")
    assert (tmp_path / "artifacts" / sha256_of(path)).samefile(path)


def test_should_not_find_another_key(tmp_path: Path) -> None:
    folder = AssetsFolder(tmp_path)
    publish(folder, "etcd-1", b"etcd")
    assert folder.find("etcd-1", key="k2") is None


@pytest.mark.parametrize("damage", [b"evil", b"etcd and more", b""])
def test_should_not_find_a_file_whose_content_changed(tmp_path: Path, damage: bytes) -> None:
    folder = AssetsFolder(tmp_path)
    publish(folder, "etcd-1", b"etcd").write_bytes(damage)
    assert folder.find("etcd-1") is None
    with pytest.raises(KokError) as error:
        folder.get("etcd-1")
    assert error.value.code == ErrorCode.AssetUnavailable
    assert error.value.hint == "kok assets ensure etcd-1"


def test_should_find_a_file_that_was_only_touched(tmp_path: Path) -> None:
    folder = AssetsFolder(tmp_path)
    path = publish(folder, "etcd-1", b"etcd")
    path.touch()
    assert folder.find("etcd-1") == path


def test_should_take_a_broken_index_for_an_empty_one(tmp_path: Path) -> None:
    folder = AssetsFolder(tmp_path)
    publish(folder, "etcd-1", b"etcd")
    folder.index_path.write_text('{"etcd-1": {"path": ')
    assert folder.find("etcd-1") is None
    publish(folder, "etcd-1", b"etcd")
    assert folder.find("etcd-1") is not None


def test_should_remove_what_a_killed_run_left_of_the_same_asset(tmp_path: Path) -> None:
    folder = AssetsFolder(tmp_path)
    left, others = tmp_path / "work" / "etcd-1-@dead", tmp_path / "work" / "etcd-10-@alive"
    left.mkdir(parents=True)
    others.mkdir()
    with folder.making("etcd-1") as work:
        assert work.is_dir()
    assert not left.exists()
    assert others.exists()


def test_should_leave_no_entry_when_making_fails(tmp_path: Path) -> None:
    folder = AssetsFolder(tmp_path)

    def make_half() -> None:
        with folder.making("etcd-1") as work:
            (work / "half").write_bytes(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        make_half()
    assert folder.index() == {}
    assert list((tmp_path / "work").iterdir()) == []


def test_should_keep_every_entry_when_many_publish_at_once(tmp_path: Path) -> None:
    names = [f"asset-{number}" for number in range(12)]
    threads = [threading.Thread(target=publish, args=(AssetsFolder(tmp_path), name, name.encode())) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(AssetsFolder(tmp_path).index()) == sorted(names)
