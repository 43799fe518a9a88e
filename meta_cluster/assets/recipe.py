"""What an asset is: a name, a recipe and what it needs first. Shapes only; `table` declares them, `builder` makes them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from meta_cluster.assets.folder import AssetsFolder, IndexEntry
from meta_cluster.assets.official import OfficialFile, own_file
from meta_cluster.assets.toolchain import Go


class Lane(StrEnum):
    """What a recipe mostly waits for; one recipe per lane runs at a time, so two cores are neither idle nor fought over."""

    COMPILE = "compile"
    PACK = "pack"


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a recipe may read: the folder, the Go toolchain, and the index entries of what it depends on."""

    folder: AssetsFolder
    toolchain: Callable[[], Go]
    entries: Mapping[str, IndexEntry]

    @property
    def go(self) -> Go:
        """The Go toolchain; looked for, or installed, by the first recipe that asks."""
        return self.toolchain()

    def path(self, name: str) -> Path:
        """The file of a dependency, which the builder has verified."""
        return self.folder.root / self.entries[name].path

    def digests(self) -> dict[str, str]:
        """Dependency name -> sha256, for keys."""
        return {name: entry.sha256 for name, entry in sorted(self.entries.items())}


class Recipe(Protocol):
    """How one asset is made."""

    @property
    def lane(self) -> Lane:
        """Which lane it runs in."""

    def key(self, inputs: Inputs) -> str:
        """The hash of everything the result depends on."""

    def make(self, inputs: Inputs, work: Path) -> Path:
        """Make it inside `work` and return the one finished file."""


@dataclass(frozen=True, slots=True)
class Asset:
    """One line of the table. `path` is where it lies in the folder; `cold_seconds` is an estimate for a person who waits.

    What is `for_hosts` is also found by its digest, where the artifact server looks.
    """

    name: str
    version: str
    path: str
    recipe: Recipe
    depends: tuple[str, ...] = ()
    cold_seconds: int = 1
    on_demand: bool = False
    for_hosts: bool = False
    official: OfficialFile | None = None
    """What upstream publishes as the same program, if it does."""
    archive: OfficialFile | None = None
    """An archive of upstream's that holds it among others, if there is one."""

    @property
    def is_of_tree(self) -> bool:
        """Whether it is made from this very checkout, so that what a release published is no substitute."""
        return self.version in ("lock", "tree")

    @property
    def releases(self) -> tuple[OfficialFile, ...]:
        """The release files it may be had as, in the order in which they are asked for: upstream's, then kok's own, then a large archive."""
        own = None if self.is_of_tree else own_file(self.name)
        return tuple(each for each in (self.official, own, self.archive) if each)


def key_from(inputs: Inputs, *parts: object) -> str:
    """A key from plain values and the digests of all dependencies."""
    return hashlib.sha256(json.dumps([parts, inputs.digests()], sort_keys=True, default=str).encode()).hexdigest()
