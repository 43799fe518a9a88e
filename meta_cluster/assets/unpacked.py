"""Files taken out of root file systems and Debian packages, as layer entries: programs come with all libraries they load. Read only."""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterable
from pathlib import Path

from meta_cluster.assets.oci import File
from meta_cluster.assets.processes import run


def unpack_rootfs(archive: Path, target: Path) -> Path:
    """Unpack a root file system tar as root, with owners and modes."""
    target.mkdir()
    run(["tar", "-xf", archive, "-C", target, "--numeric-owner"])
    return target


def unpack_deb(deb: Path, target: Path) -> Path:
    """Unpack the data of a Debian package; no script of it runs."""
    target.mkdir(parents=True, exist_ok=True)
    run(["dpkg-deb", "-x", deb, target])
    return target


def libraries_in(listing: str) -> set[str]:
    """The library paths in what `ldd` prints, the loader included."""
    return set(re.findall(r"(/\S+) \(0x", listing))


def programs_with_libraries(root: Path, paths: Iterable[str]) -> dict[str, File]:
    """The programs (or plugins) at `paths` of a root file system and every library they need, under the names they are loaded by."""
    entries: dict[str, File] = {}
    wanted = list(paths)
    for path in wanted:
        entries[path] = File(source=resolve(root, path), mode=0o755)
    listing = run(["chroot", root, "ldd", *wanted])
    for library in sorted(libraries_in(listing)):
        entries[library] = File(source=resolve(root, library), mode=0o755)
    return entries


def resolve(root: Path, path: str) -> Path:
    """The real file behind `path` inside `root`; absolute links are followed within it."""
    current = root / path.lstrip("/")
    for _ in range(20):
        parent = current.parent
        if parent.is_symlink() and str(parent.readlink()).startswith("/"):
            current = root / str(parent.readlink()).lstrip("/") / current.name
        elif current.is_symlink():
            target = current.readlink()
            current = root / str(target).lstrip("/") if target.is_absolute() else current.parent / target
        else:
            break
    return current


def deterministic_tar(tar: tarfile.TarFile, name: str, source: Path) -> None:
    """Add one executable with zero time and root as owner."""
    entry = tarfile.TarInfo(name)
    entry.mode, entry.size = 0o755, source.stat().st_size
    with source.open("rb") as content:
        tar.addfile(entry, content)
