"""Takes away what kok put on this host, by its records only: the package version itself may be long gone.

Called by the modules kok_package (one component) and kok_clean (everything).
"""

from __future__ import annotations

import contextlib
import os

from . import bootstrap, cache, kernel, methods, place, units
from .failure import Failure, must
from .observe import OWNER, RECORDS, modules_file, record_path, sysctl_file
from .owner import all_records, load_record


def remove_component(component):
    """Removes one component; the texts say what went. Nothing when there is no record of it."""
    record = load_record(component)
    if not record:
        return []
    for command in record.get("commands", []):
        must("/bin/sh", "-c", command, timeout=120)
    units.remove_units(record.get("units", {}))
    methods.remove_all(record.get("artifacts", {}).values())
    for path in [*record.get("files", []), sysctl_file(component), modules_file(component)]:
        place.remove(path)
    kernel.put_back(record.get("sysctls_before", {}), record.get("sysctls_set", {}))
    for path in record.get("purge", []):
        place.purge(path)
    place.remove_folders(record.get("folders", []))
    cache.forget({kept["sha256"] for kept in record.get("artifacts", {}).values()})
    place.remove(record_path(component))
    return ["component " + component]


def clean():
    """Removes every component, the last installed first, then kok's own traces, the owner file last of all."""
    gone = [text for record in all_records() for text in remove_component(record["component"])]
    if place.remove(bootstrap.PATH):  # of a play that was cut before the kubelet had a record
        place.remove_folders([os.path.dirname(bootstrap.PATH)])
    had_cache = place.purge(cache.CACHE)
    place.purge(RECORDS)
    had_owner = place.remove(OWNER)
    with contextlib.suppress(Failure):
        place.purge("/etc/kok")
    return gone + ["cache"] * had_cache + ["owner"] * had_owner
