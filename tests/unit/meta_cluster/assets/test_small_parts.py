"""Small pure parts: versions of Go, what ldd prints, links inside a root file system, the operator image's name."""

from __future__ import annotations

from pathlib import Path

import pytest

from meta_cluster.assets import python_packages
from meta_cluster.assets.operator_image import content_hash, image_name
from meta_cluster.assets.toolchain import parse_version
from meta_cluster.assets.unpacked import libraries_in, resolve
from operators.errors import KokError


@pytest.mark.parametrize(("text", "version"), [("go1.26.8", (1, 26)), ("go1.9", (1, 9)), ("devel", None), ("", None)])
def test_should_read_go_versions(text: str, version: tuple[int, int] | None) -> None:
    assert parse_version(text) == version


def test_should_read_libraries_and_the_loader_from_ldd() -> None:
    listing = """/usr/sbin/nft:
	linux-vdso.so.1 (0x00007ffc)
	libnftables.so.1 => /lib/x86_64-linux-gnu/libnftables.so.1 (0x00007f1)
	/lib64/ld-linux-x86-64.so.2 (0x00007f2)
	statically linked"""
    assert libraries_in(listing) == {"/lib/x86_64-linux-gnu/libnftables.so.1", "/lib64/ld-linux-x86-64.so.2"}


def test_should_follow_links_inside_the_root_and_never_out_of_it(tmp_path: Path) -> None:
    (tmp_path / "usr" / "bin").mkdir(parents=True)
    (tmp_path / "usr" / "bin" / "real").write_text("inside")
    (tmp_path / "bin").symlink_to("/usr/bin")
    (tmp_path / "usr" / "bin" / "name").symlink_to("/usr/bin/real")
    assert resolve(tmp_path, "/bin/name").read_text() == "inside"


def checkout_with(root: Path, text: str) -> Path:
    (root / "operators" / "__pycache__").mkdir(parents=True, exist_ok=True)
    (root / "pyproject.toml").write_text('[project]\nversion = "1.2.3"\n')
    (root / "operators" / "a.py").write_text(text)
    (root / "operators" / "__pycache__" / "a.pyc").write_text(text)
    return root


def test_should_name_the_operator_image_by_version_and_content(tmp_path: Path) -> None:
    one = image_name(checkout_with(tmp_path / "one", "x = 1"))
    assert one.startswith("registry.kok.dev/kok:1.2.3-")
    assert one == image_name(checkout_with(tmp_path / "same", "x = 1"))
    assert one != image_name(checkout_with(tmp_path / "other", "x = 2"))


def test_should_not_count_compiled_files_as_content(tmp_path: Path) -> None:
    root = checkout_with(tmp_path, "x = 1")
    before = content_hash(root)
    (root / "operators" / "__pycache__" / "a.pyc").write_text("other")
    assert content_hash(root) == before


@pytest.fixture
def no_uv_but_of_setup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with nothing of uv: an empty PATH, a Python without it."""
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    monkeypatch.setenv("KOK_ASSETS", str(tmp_path))
    monkeypatch.setattr(python_packages.sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr(python_packages.importlib.util, "find_spec", lambda name: None)
    return tmp_path / "tools" / "bin" / "uv"


def test_should_use_the_uv_that_setup_installed(no_uv_but_of_setup: Path) -> None:
    no_uv_but_of_setup.parent.mkdir(parents=True)
    no_uv_but_of_setup.touch()
    assert python_packages.uv() == [str(no_uv_but_of_setup)]


def test_should_say_what_to_install_where_no_uv_is(no_uv_but_of_setup: Path) -> None:
    with pytest.raises(KokError, match="uv is not installed"):
        python_packages.uv()
