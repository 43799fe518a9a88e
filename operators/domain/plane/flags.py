"""Command-line flags of a plane's components: template defaults < ClusterPackageVersion < Cluster; what kok owns is refused by name. Pure; called by `desired`."""

from __future__ import annotations

from collections.abc import Mapping

from operators.api.cluster import Cluster
from operators.api.packages import ClusterPackageVersion


def overrides_of(component: str, package: ClusterPackageVersion, cluster: Cluster) -> Mapping[str, str]:
    """Flags of `component` (etcd, apiserver, controllerManager, scheduler) that people set: the package's, then the Cluster's over them.

    Raises KokError FlagUnknownComponent when the Cluster names another component.
    """
    raise NotImplementedError
