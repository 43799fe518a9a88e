"""What an installation consists of, as manifests in the order they are needed. Reads the catalogue's files; asks no API server.

Called by `kok meta install` and by the lab, which brings package versions of its own.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from meta_cluster.bootstrap.catalogue import NONE, installable, resolved
from meta_cluster.bootstrap.overlay import rendered
from operators.adapters.catalogue_files import FileCatalogue, data_root
from operators.api import KINDS
from operators.api.schema import crd_of
from operators.ports.kube import Manifest

IMAGE_REPOSITORY = "registry.kok.dev/kok"
DEFAULT_CLAIM = "kok-artifacts"
PACKAGE_FOLDERS = ("packages/machine", "packages/cluster")
_WORKLOADS = ("Deployment",)
_BUDGETS = ("OperationBudget",)


class Overlay(StrEnum):
    """A folder below manifests/operators/overlays."""

    Production = "production"
    Lab = "lab"
    """Artifacts come from a folder of the meta cluster's nodes."""
    Dev = "dev"
    """The lab, with the work tree at /kok-src of the nodes in front of the image."""


@dataclass(frozen=True, slots=True)
class Installation:
    """What a person chooses. Empty strings: what the manifests say."""

    overlay: Overlay = Overlay.Production
    image: str = ""
    """Image of both operators and the artifact server; package versions of this release that are new get it too."""
    artifacts: str = ""
    """Production: name of a PersistentVolumeClaim in kok-system that exists. Lab, Dev: the folder on the nodes."""


@dataclass(frozen=True, slots=True)
class InstallManifests:
    """Everything that is applied, by stage."""

    crds: tuple[Manifest, ...]
    base: tuple[Manifest, ...]
    """Namespace, rights, admission, services, volumes."""
    catalogue: tuple[Manifest, ...]
    """Package versions: immutable, so never overwritten."""
    workloads: tuple[Manifest, ...]
    budgets: tuple[Manifest, ...] = ()
    """Limits to begin with: made where they are missing, never overwritten."""

    @property
    def count(self) -> int:
        """How many objects."""
        return len(self.crds) + len(self.base) + len(self.catalogue) + len(self.workloads) + len(self.budgets)


def install_manifests(
    installation: Installation,
    digests: Mapping[str, str],
    *,
    packages: Iterable[Manifest] | None = None,
    deb_versions: Mapping[str, str] = NONE,
) -> InstallManifests:
    """The manifests of an installation. `packages` replaces those of this release; the maps are those of `catalogue.resolved`.

    Raises KokError of `overlay.rendered` and `catalogue.resolved`.
    """
    operators = _operators(installation)
    if packages is None:
        files = FileCatalogue()
        packages = [_of_image(m, installation.image) for folder in PACKAGE_FOLDERS for m in files.manifests(folder)]
    return InstallManifests(
        crds=tuple(crd_of(kind) for kind in KINDS if kind.INFO.home == "meta"),
        base=tuple(m for m in operators if m["kind"] not in (*_WORKLOADS, *_BUDGETS)),
        catalogue=tuple(resolved(installable(packages, digests), digests, deb_versions)),
        workloads=tuple(m for m in operators if m["kind"] in _WORKLOADS),
        budgets=tuple(m for m in operators if m["kind"] in _BUDGETS),
    )


def _operators(installation: Installation) -> list[Manifest]:
    manifests = [copy.deepcopy(m) for m in rendered(data_root() / "manifests" / "operators" / "overlays" / installation.overlay)]
    if installation.image:
        _use_image(manifests, installation.image)
    if not installation.artifacts:
        return manifests
    if installation.overlay is Overlay.Production:
        return _with_claim(manifests, installation.artifacts)
    for manifest in manifests:
        if manifest["kind"] == "PersistentVolume" and manifest["metadata"]["name"] == DEFAULT_CLAIM:
            manifest["spec"]["hostPath"]["path"] = installation.artifacts
    return manifests


def _use_image(manifests: list[Manifest], image: str) -> None:
    for manifest in manifests:
        if manifest["kind"] in _WORKLOADS:
            for container in manifest["spec"]["template"]["spec"]["containers"]:
                if container["image"].startswith(f"{IMAGE_REPOSITORY}:"):
                    container["image"] = image


def _of_image(package: Manifest, image: str) -> Manifest:
    """Machine-Operators run from the same image as the operators: where that one was put into a registry, no other can be pulled."""
    if package["kind"] != "ClusterPackageVersion" or not image:
        return package
    changed = copy.deepcopy(package)
    changed["spec"]["components"]["machineOperator"]["image"] = image
    return changed


def _with_claim(manifests: list[Manifest], claim: str) -> list[Manifest]:
    """The artifact server on a claim that the person made; ours is not made then."""
    kept = [m for m in manifests if (m["kind"], m["metadata"]["name"]) != ("PersistentVolumeClaim", DEFAULT_CLAIM)]
    for manifest in kept:
        if manifest["kind"] in _WORKLOADS:
            for volume in manifest["spec"]["template"]["spec"].get("volumes") or ():
                if (volume.get("persistentVolumeClaim") or {}).get("claimName") == DEFAULT_CLAIM:
                    volume["persistentVolumeClaim"]["claimName"] = claim
    return kept
