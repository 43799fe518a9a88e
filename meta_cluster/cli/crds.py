"""manifests/crds/ from the kinds: `make crds` writes the files, CI runs it with --check. Touches only that folder; no API server is asked."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from operators.api import GROUP, KINDS
from operators.api.schema import crd_of
from operators.yaml_text import write

FOLDER = Path(__file__).parents[2] / "manifests" / "crds"
HEADER = "# Generated from operators/api by `make crds`; edit the model, not this file.\n"


@cache
def crd_files() -> Mapping[str, str]:
    """File name -> YAML of every kind's CustomResourceDefinition."""
    return {f"{kind.INFO.plural}.{GROUP}.yaml": HEADER + write(crd_of(kind), width=140) for kind in KINDS}


def stale_files(folder: Path) -> list[str]:
    """Names of files below `folder` that are not what the models say: changed, missing or left over."""
    wanted = crd_files()
    there = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.yaml")}
    return sorted(name for name in wanted.keys() | there.keys() if wanted.get(name) != there.get(name))


def write_files(folder: Path) -> list[str]:
    """Make `folder` what the models say; returns the names of the files that were written or removed."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted, stale = crd_files(), stale_files(folder)
    for name in stale:
        if name in wanted:
            (folder / name).write_text(wanted[name], encoding="utf-8")
        else:
            (folder / name).unlink()
    return stale


def main(arguments: list[str]) -> int:
    """0 if nothing is wrong; with --check 1 if a file is stale."""
    if "--check" not in arguments:
        for name in write_files(FOLDER):
            print(f"wrote manifests/crds/{name}")
        return 0
    stale = stale_files(FOLDER)
    for name in stale:
        print(f"stale: manifests/crds/{name}; run `make crds` and commit the result", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
