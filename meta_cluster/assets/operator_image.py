"""kok's own image: a small Debian with Python and an SSH client, the locked dependencies, and the wheel of this work tree on top.

Named by content, so an unchanged tree is never built or imported again. All packages are fetched on this machine; in the image runs nothing
but byte-compilation. Called by the builder; `image_name` is what manifests are given.
"""

from __future__ import annotations

import configparser
import hashlib
import os
import shutil
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

from meta_cluster.assets.folder import AssetsFolder
from meta_cluster.assets.oci import File, Image, image_names, tree, write_archive, write_layer
from meta_cluster.assets.processes import run
from meta_cluster.assets.python_packages import uv
from meta_cluster.assets.recipe import Inputs, Lane, key_from
from meta_cluster.assets.unpacked import unpack_rootfs
from meta_cluster.assets.versions import OPERATOR_REPOSITORY
from operators.errors import ErrorCode, KokError

ROOTFS = "rootfs-operator-bookworm"
DEPENDENCIES = "operator-dependencies"
BASE = "image-kok-base"
IMAGE = "image-kok"
SITE = "/usr/local/lib/python3.11/dist-packages"
SOURCES = ("operators", "meta_cluster", "packages", "playbooks", "manifests")
FILES = ("pyproject.toml", "requirements.lock", "README.md", "LICENSE")
USER = 65532


def checkout() -> Path:
    """The work tree that this code runs from. Raises KokError when it runs from an installed wheel instead."""
    root = Path(__file__).resolve().parents[2]
    if not (root / "pyproject.toml").is_file():
        raise KokError(
            ErrorCode.AssetUnavailable, "kok's image is built from a checkout, and this is an installed package", "run kok from a clone"
        )
    return root


def source_files(root: Path) -> list[Path]:
    """Every file that reaches the image, sorted; compiled Python and editors' leftovers do not."""
    found = [root / name for name in FILES if (root / name).is_file()]
    for name in SOURCES:
        found += [p for p in (root / name).rglob("*") if p.is_file() and "__pycache__" not in p.parts and not p.name.startswith(".")]
    return sorted(found)


def content_hash(root: Path) -> str:
    """The hash of names and contents of all source files."""
    digest = hashlib.sha256()
    for path in source_files(root):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{path.relative_to(root)} {content}\n".encode())
    return digest.hexdigest()


def image_name(root: Path | None = None) -> str:
    """`registry.kok.dev/kok:<version>-<content hash>` of a work tree."""
    root = root or checkout()
    version = tomllib.loads((root / "pyproject.toml").read_text())["project"]["version"]
    return f"{OPERATOR_REPOSITORY}:{version}-{content_hash(root)[:12]}"


def built_name(folder: AssetsFolder) -> str:
    """The name of the image that is in the folder now. Raises KokError AssetUnavailable if there is none."""
    return image_names(folder.get(IMAGE))[0]


@dataclass(frozen=True, slots=True)
class OperatorDependencies:
    """The layer of locked dependencies: rebuilt when pyproject's dependencies, the lock or the base change."""

    lane: Lane = field(default=Lane.PACK, init=False)

    def key(self, inputs: Inputs) -> str:
        """The declared dependencies and the lock."""
        root = checkout()
        declared = tomllib.loads((root / "pyproject.toml").read_text())["project"]["dependencies"]
        return key_from(inputs, "dependencies-1", declared, (root / "requirements.lock").read_text())

    def make(self, inputs: Inputs, work: Path) -> Path:
        """Install what the operators need of the lock (not the developers' tools), hashes checked, byte-compiled by the image's Python."""
        lock = work / "runtime.lock"
        project = checkout()
        resolve: list[str | Path] = [
            *uv(),
            "pip",
            "compile",
            "-q",
            "--generate-hashes",
            "--no-annotate",
            "--python-version",
            "3.11",
            "-c",
            project / "requirements.lock",
        ]
        run([*resolve, project / "pyproject.toml", "-o", lock])
        root = unpack_rootfs(inputs.path(ROOTFS), work / "root")
        _install(root, "--require-hashes", "-r", str(lock))
        files = tree(root / SITE.lstrip("/"), below=SITE) | _scripts(root) | _accounts(root)
        return write_layer(work / "layer.tar", files)


@dataclass(frozen=True, slots=True)
class OperatorBase:
    """The two lower layers as an image of their own: imported once, so that a change of the project moves a few hundred kilobytes."""

    lane: Lane = field(default=Lane.PACK, init=False)

    def key(self, inputs: Inputs) -> str:
        """The layers."""
        return key_from(inputs, "operator-base-1")

    def make(self, inputs: Inputs, work: Path) -> Path:
        """Pack them."""
        name = f"{OPERATOR_REPOSITORY}-base:{self.key(inputs)[:12]}"
        return write_archive(work / "image.tar", [Image(name, (inputs.path(ROOTFS), inputs.path(DEPENDENCIES)))])


@dataclass(frozen=True, slots=True)
class OperatorImage:
    """The image: base, dependencies, this project. Its archive carries the uppermost layer only; `OperatorBase` goes before it."""

    lane: Lane = field(default=Lane.PACK, init=False)

    def key(self, inputs: Inputs) -> str:
        """The work tree's content and the layers below."""
        return key_from(inputs, "operator-2", content_hash(checkout()))

    def make(self, inputs: Inputs, work: Path) -> Path:
        """Build the wheel and put it on top."""
        project = checkout()
        name = image_name(project)
        run([*uv(), "build", "-q", "--wheel", "--out-dir", work / "wheel", project])
        wheel = next((work / "wheel").glob("*.whl"))
        root = unpack_rootfs(inputs.path(ROOTFS), work / "root")
        _install(root, "--no-index", "--no-deps", str(wheel))
        layer = write_layer(work / "layer.tar", tree(root / SITE.lstrip("/"), below=SITE) | _scripts(root))
        config = {
            "Cmd": ["kok", "--help"],
            "Env": ["PATH=/usr/local/bin:/usr/bin:/bin", "PYTHONUNBUFFERED=1", "PYTHONDONTWRITEBYTECODE=1", "LANG=C.UTF-8", "HOME=/tmp"],
            "User": f"{USER}:{USER}",
        }
        layers = (inputs.path(ROOTFS), inputs.path(DEPENDENCIES), layer)
        return write_archive(work / "image.tar", [Image(name, layers, config, elsewhere=2)])


def _install(root: Path, *arguments: str) -> None:
    """Install into the image's site folder from outside; then let the image's own Python compile, so that nothing depends on file times."""
    target = root / SITE.lstrip("/")
    options: list[str | Path] = ["--target", target, "--python-version", "3.11", "--link-mode", "copy", "--only-binary", ":all:"]
    run([*uv(), "pip", "install", "-q", *options, *arguments])
    shutil.rmtree(target / "bin", ignore_errors=True)
    for leftover in (".lock", "__pycache__"):
        path = target / leftover
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
    for record in target.glob("*.dist-info/direct_url.json"):
        record.unlink()
    jobs = str(os.cpu_count() or 1)
    run(["chroot", root, "/usr/bin/python3", "-m", "compileall", "-q", "-j", jobs, "--invalidation-mode", "unchecked-hash", SITE])


def _scripts(root: Path) -> dict[str, File]:
    """The console commands of everything installed, as scripts of the image's own Python."""
    scripts: dict[str, File] = {}
    for declared in sorted((root / SITE.lstrip("/")).glob("*.dist-info/entry_points.txt")):
        parser = configparser.ConfigParser(delimiters=("=",))
        parser.optionxform = str  # type: ignore[assignment,method-assign]
        parser.read(declared)
        for name, target in parser.items("console_scripts") if parser.has_section("console_scripts") else []:
            module, function = target.split("[")[0].strip().split(":")
            text = f"#!/usr/bin/python3\nimport sys\n\nfrom {module} import {function.split('.')[0]}\n\nsys.exit({function}())\n"
            scripts[f"/usr/local/bin/{name}"] = File(content=text.encode(), mode=0o755)
    return scripts


def _accounts(root: Path) -> dict[str, File]:
    """The user that the operators run as: ssh refuses to work for a user without a name."""
    passwd = (root / "etc/passwd").read_bytes() + f"kok:x:{USER}:{USER}:kok:/tmp:/usr/sbin/nologin\n".encode()
    group = (root / "etc/group").read_bytes() + f"kok:x:{USER}:\n".encode()
    return {"/etc/passwd": File(content=passwd), "/etc/group": File(content=group)}
