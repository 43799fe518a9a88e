"""Artifacts straight from the assets folder: `ports.artifacts` for `kok meta init`, which runs before there is an artifact server."""

from __future__ import annotations

import asyncio
from pathlib import Path

from meta_cluster.assets.folder import AssetsFolder, sha256_of
from operators.errors import ErrorCode, KokError


class FolderArtifacts:
    """See ports.artifacts.ArtifactsPort."""

    def __init__(self, folder: AssetsFolder) -> None:
        self._folder = folder

    async def fetch(self, sha256: str, *, deadline: float) -> Path:
        """The file of that digest, its content checked. Raises KokError ArtifactMissing or ArtifactMismatch."""
        entry = next((each for each in self._folder.index().values() if each.sha256 == sha256), None)
        path = self._folder.root / entry.path if entry else None
        if path is None or not path.is_file():
            raise KokError(ErrorCode.ArtifactMissing, f"the assets folder has no file {sha256[:12]}", "kok assets ensure")
        async with asyncio.timeout(deadline):
            found = await asyncio.to_thread(sha256_of, path)
        if found != sha256:
            raise KokError(
                ErrorCode.ArtifactMismatch, f"{path} is damaged: its sha256 is {found[:12]}, wanted {sha256[:12]}", "kok assets verify"
            )
        return path
