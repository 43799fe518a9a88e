"""Downloads release files: verified against a pinned sha256 or sha512, resumed where a run was cut, tried again where trying helps. Builds nothing.

What was fetched of a file stays as `downloads/<digest>.part` until it is whole; only a file with the right digest gets its name. A lock per
file lets several processes want the same one. A server that cannot be reached is not asked again in the same run.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import shutil
import tarfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock

from meta_cluster.assets.folder import AssetsFolder
from meta_cluster.assets.official import OfficialFile, Release, Way, digest_in, has_server
from meta_cluster.assets.progress import say
from operators.errors import ErrorCode, KokError

TIMEOUT_SECONDS = 20.0
PAUSES = (0.5, 2.0)
"""Between attempts; one attempt more than pauses."""
CHUNK = 1 << 20


class Unavailable(Exception):
    """The file cannot be had from there; the words say why. Building may help."""


class NoServer(Unavailable):
    """Nobody answers there."""


@dataclass(slots=True)
class Downloads:
    """One run's way to release files. `pins` is by path of the release file; one that could not be had is not asked for again."""

    folder: AssetsFolder
    way: Way
    pins: Mapping[str, str]
    pause: Callable[[float], None] = time.sleep
    _deaf: dict[Release, str] = field(default_factory=dict)
    _failed: set[str] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def candidates(self, files: Iterable[OfficialFile]) -> tuple[OfficialFile, ...]:
        """Those of an asset's release files that may be asked for: pinned, published somewhere, and not failed before in this run."""
        if self.way is Way.Build:
            return ()
        return tuple(each for each in files if each.path in self.pins and has_server(each.release) and each.path not in self._failed)

    def fetch(self, name: str, files: Sequence[OfficialFile], work: Path) -> tuple[Path, str] | None:
        """The asset in `work` and its pin, from the first of these that can be had; None where it must be built.

        Raises KokError AssetUnavailable where building is forbidden.
        """
        why = f"no digest is pinned for {files[0].path} (kok assets pin)"
        for file in self.candidates(files):
            began = time.monotonic()
            try:
                made = _program(file, self._whole(name, file, self.pins[file.path]), work / "official")
            except Unavailable as error:
                why = str(error)
                self._failed.add(file.path)
                continue
            say(f"  {name}: downloaded in {time.monotonic() - began:.1f}s, {made.stat().st_size / 1e6:.0f} MB")
            return made, self.pins[file.path]
        if self.way is Way.Download:
            hint = "try again later, point the release's variable at a mirror, or allow building: --way auto"
            raise KokError(ErrorCode.AssetUnavailable, f"{name}: not downloaded: {why}", hint)
        say(f"  {name}: not downloaded: {why}; it is built instead")
        return None

    def _whole(self, name: str, file: OfficialFile, digest: str) -> Path:
        places = self.folder.root / "downloads"
        places.mkdir(parents=True, exist_ok=True)
        with FileLock(places / f"{digest}.lock"):
            whole = places / digest
            if whole.is_file() and digest_of(whole, like=digest) == digest:
                return whole
            with self._lock:
                if words := self._deaf.get(file.release):
                    raise NoServer(words)
            say(f"  {name}: downloading {file.url}")
            part = places / f"{digest}.part"
            self._try(file, part)
            if (found := digest_of(part, like=digest)) != digest:
                part.unlink()
                raise Unavailable(f"{file.url} has the {_algorithm(digest)} {found}, pinned is {digest}: what came is thrown away")
            os.replace(part, whole)
            return whole

    def _try(self, file: OfficialFile, part: Path) -> None:
        """Until it is complete; what trying again cannot help (the server says that it has none) ends it at once."""
        for pause in (*PAUSES, None):
            try:
                _receive(file.url, part)
                return
            except urllib.error.HTTPError as error:
                if error.code < 500 and error.code not in (408, 429):
                    raise Unavailable(f"{file.url} answers HTTP {error.code}") from error
                words, gone = f"{file.url} answers HTTP {error.code}", False
            except (OSError, http.client.HTTPException, EOFError) as error:
                words, gone = f"{file.url}: {getattr(error, 'reason', None) or error or type(error).__name__}", not part.exists()
            if pause is None:
                if gone:
                    with self._lock:
                        self._deaf[file.release] = words
                raise (NoServer if gone else Unavailable)(words)
            self.pause(pause)


def _receive(url: str, part: Path) -> None:
    """Append what is missing to `part`. Raises OSError or EOFError where the connection ended before the end."""
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})  # noqa: S310 - base_of allows http(s) only
    try:
        answer = urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS)  # noqa: S310
    except urllib.error.HTTPError as error:
        if error.code == 416:  # it is longer than the server's: begin anew next time
            part.unlink()
            raise EOFError("what was there already is longer than the file") from error
        raise
    with answer, part.open("ab" if have and answer.status == 206 else "wb") as output:
        wanted = output.tell() + int(answer.headers["Content-Length"]) if answer.headers["Content-Length"] else None
        shutil.copyfileobj(answer, output, CHUNK)
        if wanted is not None and output.tell() < wanted:
            raise EOFError(f"cut after {output.tell()} of {wanted} bytes")


def digest_of(path: Path, *, like: str) -> str:
    """The digest of a file, of the kind that this one is."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, _algorithm(like)).hexdigest()


def _algorithm(digest: str) -> str:
    return "sha512" if len(digest) == 128 else "sha256"


def _program(file: OfficialFile, whole: Path, target: Path) -> Path:
    """The asset itself, executable: the file, which is nobody else's, or one member of an archive, which stays for the others."""
    if not file.member:
        os.replace(whole, target)
    else:
        with tarfile.open(whole) as archive:
            found = next((entry for entry in archive if entry.name == file.member), None)  # read no further than needed
            source = archive.extractfile(found) if found else None
            if source is None:
                raise Unavailable(f"{file.path} holds no {file.member}")
            with target.open("wb") as output:
                shutil.copyfileobj(source, output, CHUNK)
    target.chmod(0o755)
    return target


def published_pins(wanted: Iterable[OfficialFile]) -> dict[str, str]:
    """Path -> sha256 as it is published now, for pinning; never called when files are fetched. Raises KokError AssetUnavailable.

    A release of kok may hold some assets only; upstream's files that are not named are an error.
    """
    listings: dict[str, str] = {}
    pins: dict[str, str] = {}
    for file in wanted:
        if not file.sums:
            continue
        if file.sums_url not in listings:
            listings[file.sums_url] = _listing(file.sums_url)
        digest = digest_in(listings[file.sums_url], file.path.rsplit("/", 1)[-1])
        if digest is None and file.release is Release.Kok:
            continue
        if digest is None:
            raise KokError(ErrorCode.AssetUnavailable, f"{file.sums_url} names no sha256 of {file.path}", "look at it with a browser")
        pins[file.path] = digest
    return pins


def _listing(url: str) -> str:
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310 - base_of allows http(s) only
            return str(answer.read(CHUNK).decode(errors="replace"))
    except (OSError, http.client.HTTPException) as error:
        raise KokError(ErrorCode.AssetUnavailable, f"{url}: {error}", "look at the address; a mirror's goes into its variable") from error
