"""Getting artifacts for hosts by digest. Content is verified before anyone sees it. Real: adapters/artifacts_http.py."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol


class ArtifactsPort(Protocol):
    """A content-addressed store with a local cache."""

    async def fetch(self, sha256: str, *, deadline: float) -> Path:
        """Path of a local file with exactly this content. Raises KokError ArtifactMissing, ArtifactMismatch, Unreachable."""
        ...
