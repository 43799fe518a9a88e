"""The assets folder: what was built or fetched, found by name, checked by sha256. Knows no recipe; called by the builder and by tests.

Safe to interrupt at any point: files appear by rename, the index is replaced whole, and a name enters the index only after its file is there.
Safe in parallel: one lock per asset while it is made, one short lock for the index.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import FileLock
from platformdirs import user_cache_path

from operators.errors import ErrorCode, KokError


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """One asset in the folder. `path` is relative to the folder; `key` is the hash of everything it was made from.

    `stamp` is size, time and inode of the file when its content was last hashed: a file that still has them is not hashed again.
    """

    path: str
    sha256: str
    how: str
    version: str
    key: str
    stamp: str = ""


def default_root() -> Path:
    """`$KOK_ASSETS`, else the user's cache folder."""
    return Path(os.environ.get("KOK_ASSETS") or user_cache_path("kok"))


def sha256_of(path: Path) -> str:
    """The hex digest of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def stamp_of(path: Path) -> str:
    """Changes whenever the file is written to or replaced."""
    status = path.stat()
    return f"{status.st_size}:{status.st_mtime_ns}:{status.st_ino}"


class AssetsFolder:
    """Reads and writes one assets folder. Every method may be called from several threads and processes at once."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = (root or default_root()).absolute()

    @property
    def index_path(self) -> Path:
        """The JSON file that names what is here."""
        return self.root / "index.json"

    def index(self) -> dict[str, IndexEntry]:
        """All entries by asset name; empty where the folder is new. An unreadable index counts as empty: it is made again."""
        try:
            entries = json.loads(self.index_path.read_text())
            return {name: IndexEntry(**entry) for name, entry in entries.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            return {}

    def find(self, name: str, *, key: str | None = None) -> Path | None:
        """The file of an asset if it is there, is of that key (when given) and has the content that was recorded; else None."""
        entry = self.index().get(name)
        if entry is None or (key is not None and entry.key != key):
            return None
        path = self.root / entry.path
        if not path.is_file():
            return None
        return path if stamp_of(path) == entry.stamp or sha256_of(path) == entry.sha256 else None

    def is_whole(self, name: str) -> bool:
        """Whether an asset's content, hashed now, is what was recorded."""
        entry = self.index()[name]
        path = self.root / entry.path
        return path.is_file() and sha256_of(path) == entry.sha256

    def get(self, name: str) -> Path:
        """The verified file of an asset; raises KokError AssetUnavailable with the command that makes it."""
        path = self.find(name)
        if path is None:
            raise KokError(ErrorCode.AssetUnavailable, f"asset {name} is not in {self.root}, or is damaged", f"kok assets ensure {name}")
        return path

    def publish(self, name: str, made: Path, *, relative: str, entry: dict[str, str]) -> IndexEntry:
        """Move a finished file into its place, then write its entry; `entry` holds how, version and key."""
        target = self.root / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        done = IndexEntry(path=relative, sha256=sha256_of(made), stamp=stamp_of(made), **entry)
        os.replace(made, target)
        with self._lock("index"):
            entries = self.index() | {name: done}
            self._write_index({key: entries[key] for key in sorted(entries)})
        return done

    def _write_index(self, entries: dict[str, IndexEntry]) -> None:
        text = json.dumps({name: asdict(entry) for name, entry in entries.items()}, indent=1)
        handle, temporary = tempfile.mkstemp(dir=self.root, prefix=".index-")
        with os.fdopen(handle, "w") as file:
            file.write(text + "\n")
        os.replace(temporary, self.index_path)
        self.index_path.chmod(0o644)

    def offer_to_hosts(self, name: str) -> None:
        """Link an asset as `artifacts/<sha256>` too; older ones stay, package versions in use may name them."""
        entry = self.index()[name]
        target, digest = self.root / entry.path, entry.sha256
        artifact = self.root / "artifacts" / digest
        artifact.parent.mkdir(exist_ok=True)
        if artifact.exists() and artifact.samefile(target):
            return
        with tempfile.TemporaryDirectory(dir=self.root) as folder:
            link = Path(folder) / "link"
            os.link(target, link)
            os.replace(link, artifact)

    @contextmanager
    def making(self, name: str) -> Iterator[Path]:
        """Hold the lock of one asset and give a fresh work folder on the same file system; both are gone at the end."""
        with self._lock(f"asset-{name}"):
            for left in self._sub("work").glob(f"{name}-@*"):
                shutil.rmtree(left, ignore_errors=True)  # of a run that was killed: its lock is free
            work = Path(tempfile.mkdtemp(dir=self._sub("work"), prefix=f"{name}-@"))
            try:
                yield work
            finally:
                shutil.rmtree(work, ignore_errors=True)

    def _lock(self, name: str) -> FileLock:
        return FileLock(self._sub("locks") / f"{name}.lock")

    def _sub(self, name: str) -> Path:
        folder = self.root / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder
