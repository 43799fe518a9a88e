"""The archive writer: the same input gives the same bytes, and the bytes are an OCI archive."""

from __future__ import annotations

import hashlib
import json
import tarfile
from pathlib import Path
from typing import Any

from meta_cluster.assets.images import merged_usr
from meta_cluster.assets.oci import File, Image, image_names, tree, write_archive, write_layer

FILES = {"/usr/bin/tool": File(content=b"#!/bin/sh\n", mode=0o755), "/usr/bin/link": File(link="tool"), "/var/lib/data": File(mode=0o700)}


def read(archive: Path, name: str) -> Any:
    with tarfile.open(archive) as tar:
        member = tar.extractfile(name)
        assert member is not None
        return json.load(member)


def blobs(archive: Path) -> dict[str, bytes]:
    with tarfile.open(archive) as tar:
        found = {member.name.split("/")[-1]: tar.extractfile(member) for member in tar if member.name.startswith("blobs/")}
        return {name: content.read() for name, content in found.items() if content}


def test_should_write_the_same_layer_whenever_and_in_whatever_order(tmp_path: Path) -> None:
    one = write_layer(tmp_path / "one.tar", FILES)
    other = write_layer(tmp_path / "other.tar", dict(reversed(FILES.items())))
    assert one.read_bytes() == other.read_bytes()
    digest = hashlib.sha256(one.read_bytes()).hexdigest()
    assert digest == GOLDEN_LAYER, "the layer format changed: every image gets a new digest; raise the revisions of the recipes"


GOLDEN_LAYER = "b580d2095c6577b0fb300f4197783fc24d8fe3f46a0a0d8f2c937269dbc45108"


def test_should_give_layers_parents_modes_and_root_as_owner(tmp_path: Path) -> None:
    with tarfile.open(write_layer(tmp_path / "layer.tar", FILES)) as tar:
        members = {member.name: member for member in tar}
    assert list(members) == ["usr", "usr/bin", "usr/bin/link", "usr/bin/tool", "var", "var/lib", "var/lib/data"]
    assert members["usr/bin/tool"].mode == 0o755
    assert members["usr/bin/link"].linkname == "tool"
    assert members["var/lib/data"].mode == 0o700
    assert {(m.uid, m.gid, m.mtime) for m in members.values()} == {(0, 0, 0)}


def test_should_write_blobs_under_their_digests_and_share_layers(tmp_path: Path) -> None:
    layer = write_layer(tmp_path / "layer.tar", FILES)
    images = [Image("example.dev/a:1", (layer,), {"Cmd": ["a"]}), Image("example.dev/b:2", (layer,), {"Cmd": ["b"]})]
    archive = write_archive(tmp_path / "images.tar", images)
    stored = blobs(archive)
    assert all(hashlib.sha256(content).hexdigest() == digest for digest, content in stored.items())
    assert len(stored) == 5  # one layer, two configurations, two manifests
    names = [manifest["annotations"]["io.containerd.image.name"] for manifest in read(archive, "index.json")["manifests"]]
    assert names == image_names(archive) == ["example.dev/a:1", "example.dev/b:2"]


def test_should_name_but_not_carry_layers_that_are_elsewhere(tmp_path: Path) -> None:
    base, top = write_layer(tmp_path / "base.tar", FILES), write_layer(tmp_path / "top.tar", {"/x": File(content=b"x")})
    archive = write_archive(tmp_path / "thin.tar", [Image("example.dev/a:1", (base, top), elsewhere=1)])
    stored = blobs(archive)
    digest = read(archive, "index.json")["manifests"][0]["digest"].removeprefix("sha256:")
    layers = [layer["digest"].removeprefix("sha256:") for layer in json.loads(stored[digest])["layers"]]
    assert layers[0] == hashlib.sha256(base.read_bytes()).hexdigest()
    assert layers[0] not in stored
    assert layers[1] in stored


def test_should_keep_links_and_modes_of_a_tree(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "tool").write_bytes(b"x")
    (tmp_path / "bin" / "tool").chmod(0o750)
    (tmp_path / "sbin").symlink_to("bin")
    entries = tree(tmp_path, below="/opt")
    assert entries["/opt/sbin"].link == "bin"
    with tarfile.open(write_layer(tmp_path / "layer.tar", entries)) as tar:
        assert tar.getmember("opt/bin/tool").mode == 0o750


def test_should_move_what_lies_beside_usr_below_it() -> None:
    moved = merged_usr({"/lib64/ld.so": File(content=b""), "/usr/bin/ip": File(content=b""), "/etc/hosts": File(content=b"")})
    assert {"/usr/lib64/ld.so", "/usr/bin/ip", "/etc/hosts"} < set(moved)
    assert moved["/lib64"].link == "usr/lib64"
