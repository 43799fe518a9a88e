"""packages/flags/<minor>/<component>.txt: which flags a minor's masters take, as their binaries say, so that a misspelt one is refused before a roll.

`python -m meta_cluster.assets.component_flags 1.35.4` writes those of the binaries that are in the assets folder. Touches that folder only.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from meta_cluster.assets.folder import AssetsFolder

FOLDER = Path(__file__).parents[2] / "packages" / "flags"
BINARIES = {"apiserver": "kube-apiserver", "controllerManager": "kube-controller-manager", "scheduler": "kube-scheduler"}
HIDDEN = {
    "apiserver": frozenset({"admission-control", "audit-webhook-batch-initial-backoff", "default-watch-cache-size", "enable-logs-handler"})
}
"""Taken, but deprecated and therefore not in the help (MarkDeprecated in Kubernetes' sources)."""
_FLAG = re.compile(r"^ +(?:-[a-zA-Z], )?--([a-z0-9-]+)", re.MULTILINE)


def flags_in(help_text: str) -> frozenset[str]:
    """Names of the flags that a component's --help lists."""
    return frozenset(_FLAG.findall(help_text)) - {"help", "version"}


def write(version: str) -> list[Path]:
    """The files of that version's minor, for each binary that is there."""
    index, written = AssetsFolder().index(), []
    for component, binary in BINARIES.items():
        entry = index.get(f"{binary}-{version}")
        if entry is None:
            continue
        done = subprocess.run([AssetsFolder().root / entry.path, "--help"], capture_output=True, text=True, check=True, timeout=60)
        path = FOLDER / version.rpartition(".")[0] / f"{component}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            "".join(f"{flag}\n" for flag in sorted(flags_in(done.stdout) | HIDDEN.get(component, frozenset()))), encoding="utf-8"
        )
        written.append(path)
    return written


if __name__ == "__main__":
    for version in sys.argv[1:]:
        for path in write(version):
            print(f"wrote {path.relative_to(FOLDER.parents[1])}")
