"""Which uv brings Python packages to assets (the Go wheel, the operator image). Installs nothing by itself."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path

from meta_cluster.assets.folder import AssetsFolder
from operators.errors import ErrorCode, KokError


def uv() -> list[str]:
    """The words that start uv: the one on PATH, beside this Python, or that `make setup` installed (bootstrap/setup.sh), or its module."""
    of_setup = AssetsFolder().root / "tools" / "bin" / "uv"
    for candidate in (shutil.which("uv"), str(Path(sys.executable).with_name("uv")), str(of_setup)):
        if candidate and Path(candidate).exists():
            return [candidate]
    if importlib.util.find_spec("uv"):
        return [sys.executable, "-m", "uv"]
    raise KokError(ErrorCode.AssetUnavailable, "uv is not installed", "python3 -m pip install uv, or: pipx install uv")
