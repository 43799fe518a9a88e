"""`python -m meta_cluster.assets.ensure [test|NAME...]`: make assets before there is anything else to run, as the Makefile does.

Nothing means all that is not made on demand only, the lab's images included; `test` means also what only the tests use.
"""

from __future__ import annotations

import sys

from meta_cluster.assets.builder import Builder
from meta_cluster.assets.folder import AssetsFolder
from meta_cluster.assets.progress import say
from meta_cluster.assets.versions import KSTATUS
from operators.errors import KokError

SECOND_OPINIONS = (f"kstatus-{KSTATUS}", "promtool", "prometheus")


def main(words: list[str]) -> int:
    """Make sure of the named assets; 1 and one line of why when one cannot be had."""
    from meta_cluster.assets.table import table
    from meta_cluster.lab.machine_images import lab_assets

    assets = table() | lab_assets()
    names = [word for word in words if word != "test"] or [name for name, asset in assets.items() if not asset.on_demand]
    if "test" in words:
        names += SECOND_OPINIONS
    try:
        Builder(AssetsFolder(), assets).ensure(names)
    except KokError as error:
        say(f"error: {error.message}\n  do    {error.hint}\n  code  {error.code}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
