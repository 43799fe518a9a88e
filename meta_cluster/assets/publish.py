"""Lays out a release: the assets as any web server can serve them, and the sha256 of each. The other end of `download`; asks nobody."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from meta_cluster.assets.folder import AssetsFolder
from meta_cluster.assets.official import own_file
from meta_cluster.assets.recipe import Asset
from operators.errors import ErrorCode, KokError


def publish(folder: AssetsFolder, assets: Mapping[str, Asset], wanted: Iterable[str], target: Path) -> Path:
    """Put these assets below `target`, then their sums; returns the file of sums, which is replaced whole and written last.

    Raises KokError NotFound or Usage for a name, AssetUnavailable for an asset that is not in the folder, before anything is written.
    """
    found = {name: folder.get(_checked(name, assets).name) for name in wanted}
    entries, lines = folder.index(), dict[str, str]()
    sums = target / own_file("").sums
    for name, source in found.items():
        file = target / own_file(name).path
        _place(source, file)
        lines[file.name] = entries[name].sha256
    if sums.exists():  # of other assets, published before
        lines = {line.split()[1]: line.split()[0] for line in sums.read_text().splitlines()} | lines
    fresh = sums.with_name(f"{sums.name}.new")
    fresh.write_text("".join(f"{digest}  {name}\n" for name, digest in sorted(lines.items())))
    os.replace(fresh, sums)
    return sums


def _checked(name: str, assets: Mapping[str, Asset]) -> Asset:
    if name not in assets:
        raise KokError(ErrorCode.NotFound, f"no asset is called {name}", "kok assets list")
    if assets[name].is_of_tree:
        raise KokError(ErrorCode.Usage, f"{name} is made from the checkout that uses it, and not published", "leave it out")
    return assets[name]


def _place(source: Path, file: Path) -> None:
    """Under its final name, whole or not at all; the assets folder replaces its own name, never this file's content."""
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.exists() and file.samefile(source):
        return
    fresh = file.with_name(f"{file.name}.new")
    fresh.unlink(missing_ok=True)
    try:
        os.link(source, fresh)
    except OSError:  # another file system
        shutil.copyfile(source, fresh)
    os.replace(fresh, file)
