"""Artifacts by digest from a web server or a folder into a local cache; nobody sees a file before its digest was checked.

Implements ports.artifacts. The source is `http(s)://host/...` (content at /sha256/<digest>) or `file:///folder` (content at <folder>/<digest>).
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import re
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp

from operators.adapters.no_answer import why_no_answer
from operators.errors import ErrorCode, KokError

BLOCK = 1 << 20
DIGEST = re.compile(r"[0-9a-f]{64}")


class HttpArtifacts:
    """A content-addressed store with a local cache; see ports.artifacts.ArtifactsPort."""

    def __init__(self, source: str, cache: Path) -> None:
        self._source = source.rstrip("/")
        self._cache = cache
        self._locks: dict[str, asyncio.Lock] = {}
        self._verified: dict[str, tuple[int, ...]] = {}
        """Digest -> what its file looked like when it was read in full."""

    async def fetch(self, sha256: str, *, deadline: float) -> Path:
        """Path of a local file with exactly this content."""
        if not DIGEST.fullmatch(sha256):
            raise KokError(ErrorCode.ArtifactMismatch, f"{sha256!r} is no SHA-256 digest")
        async with self._locks.setdefault(sha256, asyncio.Lock()):
            target = self._cache / sha256
            try:
                async with asyncio.timeout(deadline):
                    if self._verified.get(sha256) != _look_of(target) and not await asyncio.to_thread(_is_intact, target, sha256):
                        await self._get(sha256, target)
                    self._verified[sha256] = _look_of(target)
            except TimeoutError as error:
                message = f"artifact {sha256[:12]} did not arrive within {deadline:.0f}s from {self._source}"
                raise KokError(ErrorCode.Unreachable, message) from error
            except OSError as error:
                raise KokError(ErrorCode.Unreachable, f"artifact {sha256[:12]}: {why_no_answer(error)}") from error
            return target

    async def _get(self, sha256: str, target: Path) -> None:
        self._cache.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, name = tempfile.mkstemp(prefix=f".{sha256[:12]}-", dir=self._cache)
        temporary, digest = Path(name), hashlib.sha256()
        try:
            with os.fdopen(handle, "wb") as file:
                async for block in self._blocks(sha256):
                    digest.update(block)
                    file.write(block)
            if digest.hexdigest() != sha256:
                message = f"artifact {sha256[:12]} from {self._source} has the digest {digest.hexdigest()[:12]}"
                raise KokError(ErrorCode.ArtifactMismatch, message, "the store is damaged: kok assets verify")
            _keep(temporary, target)
        finally:
            _drop(temporary)

    async def _blocks(self, sha256: str) -> AsyncIterator[bytes]:
        if self._source.startswith("file://"):
            path = Path(self._source.removeprefix("file://")) / sha256
            if not path.is_file():
                raise _missing(sha256, self._source)
            for block in _read(path):
                yield block
                await asyncio.sleep(0)  # other work goes on between two blocks
            return
        async for block in self._download(sha256):
            yield block

    async def _download(self, sha256: str) -> AsyncIterator[bytes]:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=30)
        try:
            async with aiohttp.ClientSession(timeout=timeout) as session, session.get(f"{self._source}/sha256/{sha256}") as answer:
                if answer.status == 404:
                    raise _missing(sha256, self._source)
                answer.raise_for_status()
                async for block in answer.content.iter_chunked(BLOCK):
                    yield block
        except aiohttp.ClientError as error:
            raise KokError(ErrorCode.Unreachable, f"artifact {sha256[:12]} from {self._source}: {why_no_answer(error)}") from error


def _missing(sha256: str, source: str) -> KokError:
    return KokError(ErrorCode.ArtifactMissing, f"{source} has no artifact {sha256[:12]}", "kok assets build")


def _read(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            yield block


def _keep(temporary: Path, target: Path) -> None:
    """Moves a verified file into place, read-only."""
    temporary.chmod(0o400)
    temporary.replace(target)


def _drop(temporary: Path) -> None:
    """Removes what was not kept."""
    temporary.unlink(missing_ok=True)


def _look_of(path: Path) -> tuple[int, ...]:
    """What changes when somebody writes to a file; empty when there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return ()
    return (found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def _is_intact(path: Path, sha256: str) -> bool:
    """Whether the cached file has its content; read in full, because a cut disk write is silent."""
    with contextlib.suppress(FileNotFoundError):
        digest = hashlib.sha256()
        for block in _read(path):
            digest.update(block)
        return digest.hexdigest() == sha256
    return False
