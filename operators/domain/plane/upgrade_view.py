"""What only a change of version needs to know, read only while there is one. Data; made by cluster_operator.cluster.release_look, part of PlaneView."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from operators.api.packages import ClusterPackageVersion
from operators.domain.plane.inputs import Manifest
from operators.domain.plane.paths import Kubelet, Package
from operators.domain.rollout.bad import BadMark


@dataclass(frozen=True, slots=True)
class UpgradeFacts:
    """The catalogue, the nodes, and how far a hop is prepared."""

    packages: Mapping[str, ClusterPackageVersion] = field(default_factory=dict)
    """Every ClusterPackageVersion there is."""
    kubelets: tuple[Kubelet, ...] = ()
    kubelets_unknown: str = ""
    """Why the nodes' kubelets are not known; empty if they are."""
    unserved: Mapping[str, str] = field(default_factory=dict)
    """Older packages that are wished or authorised -> what is stored now that they could not serve, in words."""
    unserved_unknown: Mapping[str, str] = field(default_factory=dict)
    """Those of which that is not known although an API server is there to ask -> why."""
    bad: Mapping[str, BadMark] = field(default_factory=dict)
    """Packages that a rollout found bad, by a mark that nobody lifted."""
    bad_unknown: str = ""
    """Why that is not known; empty if it is."""
    preparation: tuple[Manifest, ...] = ()
    """What the hop needs before it leaves the end it is at; empty anywhere else."""
    unprepared: str = ""
    """What of it is not ready, in words."""

    def package(self, name: str) -> Package | None:
        """For planning; None if there is none of that name."""
        found = self.packages.get(name)
        return Package.of(found) if found else None

    @property
    def known(self) -> tuple[Package, ...]:
        """All of them, for planning."""
        return tuple(Package.of(each) for each in self.packages.values())
