"""Makes sure that assets are there: what is in the folder is used, the rest is made, dependencies first. Declares no asset itself.

The order of ways is: already in the folder -> download, where upstream or a release of kok publishes it and its sha256 is pinned -> built.
What comes whole by download does not ask for what it would be made from; if it cannot be had after all, a second look makes that first.
Called by `kok assets`, the lab and the test fixtures, also in several processes at once: each asset is made by one of them.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import cached_property
from graphlib import TopologicalSorter
from pathlib import Path

from meta_cluster.assets.download import Downloads
from meta_cluster.assets.folder import AssetsFolder, IndexEntry
from meta_cluster.assets.official import Way, read_pins, way_of
from meta_cluster.assets.progress import say
from meta_cluster.assets.recipe import Asset, Inputs, Lane
from meta_cluster.assets.toolchain import Go, find_go
from operators.errors import ErrorCode, KokError


def closure(table: Mapping[str, Asset], wanted: Iterable[str], comes_whole: Callable[[Asset], bool] = lambda _: False) -> dict[str, Asset]:
    """The wanted assets and all they are made from, in table order. Raises KokError NotFound for a name that is not in the table."""
    todo, found = list(wanted), set[str]()
    while todo:
        name = todo.pop()
        if name not in table:
            raise KokError(ErrorCode.NotFound, f"no asset is called {name}", "kok assets list")
        if name not in found:
            found.add(name)
            todo.extend(() if comes_whole(table[name]) else table[name].depends)
    return {name: asset for name, asset in table.items() if name in found}


class Builder:
    """One run over one folder. Not to be shared between runs: it remembers what it has verified."""

    def __init__(self, folder: AssetsFolder, table: Mapping[str, Asset], *, way: Way | None = None) -> None:
        self.folder = folder
        self.table = table
        self.downloads = Downloads(folder, way or way_of(), read_pins(folder.root))
        self.used: Counter[str] = Counter()
        """How many assets were found, downloaded, built."""
        self._ready: dict[str, IndexEntry] = {}
        self._go_lock = threading.Lock()

    @cached_property
    def go(self) -> Go:
        """The toolchain, looked for once, and only when something must be built."""
        return find_go(self.folder)

    def _toolchain(self) -> Go:
        with self._go_lock:
            return self.go

    def ensure(self, wanted: Iterable[str]) -> dict[str, Path]:
        """Bring all wanted assets and their dependencies into the folder; asset name -> file. The first failure ends the run."""
        names = list(wanted)
        self._say_how_long(names)
        while True:
            try:
                assets = self._run(names)
                break
            except _PartsMissing:  # a download that failed is not tried twice, so this ends
                continue
        if self.used["downloaded"] or self.used["built"]:
            say("assets: " + ", ".join(f"{count} {how}" for how, count in sorted(self.used.items())))
        return {name: self.folder.root / self._ready[name].path for name in assets}

    def _say_how_long(self, names: Iterable[str]) -> None:
        """Two figures where something is to be downloaded: whether its server answers is not known yet."""
        here = self.folder.index()
        best = sum(each.cold_seconds for each in closure(self.table, names, self._comes_whole).values() if self._is_missing(each)) // 60
        worst = sum(
            each.cold_seconds for each in closure(self.table, names, lambda each: each.name in here).values() if each.name not in here
        )
        if worst > 60:
            took = (
                f"{best} min and the downloads, or {worst // 60} min where nothing can be downloaded"
                if best < worst // 60
                else f"{best} min"
            )
            say(f"assets: what is missing in {self.folder.root} takes about {took}, once")

    def _run(self, names: Iterable[str]) -> dict[str, Asset]:
        assets = closure(self.table, names, self._comes_whole)
        order = TopologicalSorter({name: [each for each in asset.depends if each in assets] for name, asset in assets.items()})
        order.prepare()
        with ThreadPoolExecutor(1) as compile_lane, ThreadPoolExecutor(1) as pack_lane:
            self._drive(assets, order, {Lane.COMPILE: compile_lane, Lane.PACK: pack_lane})
        return assets

    def _comes_whole(self, asset: Asset) -> bool:
        """Whether it was, or is about to be, downloaded: then nothing that it would be made from is needed."""
        entry = self.folder.index().get(asset.name)
        if entry is not None and entry.how != "downloaded":
            return False
        is_there = entry is not None and self._is_pinned(asset, entry) and self.folder.find(asset.name, key=entry.key) is not None
        return is_there or bool(self.downloads.candidates(asset.releases))

    def _is_pinned(self, asset: Asset, entry: IndexEntry) -> bool:
        return any(entry.key == official_key(self.downloads.pins.get(file.path, "")) for file in asset.releases)

    def _is_missing(self, asset: Asset) -> bool:
        return asset.name not in self.folder.index() and not self._comes_whole(asset)

    def _drive(self, assets: Mapping[str, Asset], order: TopologicalSorter[str], lanes: Mapping[Lane, ThreadPoolExecutor]) -> None:
        running: dict[Future[IndexEntry], str] = {}
        position = {name: index for index, name in enumerate(assets)}
        try:
            while order.is_active():
                for name in sorted(order.get_ready(), key=position.__getitem__):
                    running[lanes[assets[name].recipe.lane].submit(self._obtain, assets[name])] = name
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    name = running.pop(future)
                    self._ready[name] = future.result()
                    order.done(name)
        finally:
            for future in running:
                future.cancel()

    def _obtain(self, asset: Asset) -> IndexEntry:
        """From the folder if it is there and whole; else made, under the asset's lock, by whoever comes first."""
        inputs = Inputs(self.folder, self._toolchain, {name: self._ready[name] for name in asset.depends if name in self._ready})
        how = "in the folder"
        if not self._is_there(asset, inputs):
            with self.folder.making(asset.name) as work:
                if not self._is_there(asset, inputs):
                    how = self._make(asset, inputs, work=work)
        self.used[how] += 1
        if asset.for_hosts:
            self.folder.offer_to_hosts(asset.name)
        return self.folder.index()[asset.name]

    def _is_there(self, asset: Asset, inputs: Inputs) -> bool:
        """Whether the folder has it: the pinned official file, or what the recipe would make now. `way` says how to get things, not what is good."""
        entry = self.folder.index().get(asset.name)
        if entry is None:
            return False
        if entry.how == "downloaded" and self._is_pinned(asset, entry):
            return self.folder.find(asset.name, key=entry.key) is not None
        return _has_parts(asset, inputs) and self.folder.find(asset.name, key=asset.recipe.key(inputs)) is not None

    def _make(self, asset: Asset, inputs: Inputs, *, work: Path) -> str:
        downloads, releases = self.downloads, asset.releases
        asked = downloads.candidates(releases) or (asset.official and downloads.way is Way.Download)
        if asked and (found := downloads.fetch(asset.name, releases, work)):
            entry = {"how": "downloaded", "version": asset.version, "key": official_key(found[1])}
            self.folder.publish(asset.name, found[0], relative=asset.path, entry=entry)
            return "downloaded"
        if not _has_parts(asset, inputs):
            raise _PartsMissing
        say(f"  {asset.name}: building (about {asset.cold_seconds}s cold)")
        began = time.monotonic()
        made = asset.recipe.make(inputs, work)
        entry = {"how": "built", "version": asset.version, "key": asset.recipe.key(inputs)}
        done = self.folder.publish(asset.name, made, relative=asset.path, entry=entry)
        size = (self.folder.root / done.path).stat().st_size / 1e6
        say(f"  {asset.name}: built in {time.monotonic() - began:.1f}s, {size:.0f} MB")
        return "built"


class _PartsMissing(Exception):
    """It has to be built after all, and what it is made from was not asked for."""


def _has_parts(asset: Asset, inputs: Inputs) -> bool:
    return set(asset.depends) <= set(inputs.entries)


def official_key(pin: str) -> str:
    """The key of a downloaded asset: another pin means another file."""
    return f"official:{pin}"
