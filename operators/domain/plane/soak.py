"""How long a new minor is watched while it emulates the old one, and which flags forbid to emulate at all. Pure; called by `upgrading`.

During the soak the old binaries can take over directly (KEP-4330): nothing is stored that they could not read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta

from operators.api.cluster import Cluster, ClusterSpec
from operators.api.cluster_release import AuthorisedBy, ClusterReleaseSpec, HopStage
from operators.api.packages import ClusterPackageVersion
from operators.domain.plane.flags import overrides_of
from operators.domain.risk.identity import at

EMULATING = ("apiserver", "controllerManager", "scheduler")
ALPHA_API = re.compile(r"api/(all|alpha)|.*v[0-9]+alpha[0-9]+.*")
"""What of a runtime-config names alpha versions."""


def soak_left(release: ClusterReleaseSpec, spec: ClusterSpec, now: datetime) -> timedelta:
    """What is left of the soak; zero or less when it is over, or where there is none.

    An undo goes to what the plane had and was good at, and skips soaks (but no health gate): somebody waits for it.
    """
    hop = release.hop
    if hop is None or hop.stage is not HopStage.Soak or release.current.by is AuthorisedBy.Undo:
        return timedelta(0)
    return at(hop.stage_since) + timedelta(seconds=spec.upgrade.soak_seconds) - now


def words_of_left(left: timedelta) -> str:
    """Rough words for a wait, so that they change seldom: `about 9 min`, `less than a minute`."""
    minutes = int(left.total_seconds() // 60)
    if minutes < 1:
        return "less than a minute"
    return f"about {minutes} min" if minutes < 120 else f"about {minutes // 60} h"


def alpha_in(flags: Mapping[str, str]) -> str:
    """The flag that asks for alpha features, which do not exist in an emulated version; empty if there is none."""
    if re.search(r"(^|[,:])AllAlpha=true", flags.get("feature-gates", "")):
        return f"feature-gates={flags['feature-gates']}"
    entries = (entry.partition("=") for entry in flags.get("runtime-config", "").split(",") if entry)
    if any(ALPHA_API.fullmatch(name) and value != "false" for name, _, value in entries):
        return f"runtime-config={flags['runtime-config']}"
    return ""


def why_not_emulated(package: ClusterPackageVersion, cluster: Cluster) -> str:
    """Why the masters of this package cannot emulate an older minor with the flags that are set; empty if they can."""
    for component in EMULATING:
        if flag := alpha_in(overrides_of(component, package, cluster)):
            return f"spec.flags.{component}: {flag} asks for alpha features, and a version that emulates an older one refuses them"
    return ""
