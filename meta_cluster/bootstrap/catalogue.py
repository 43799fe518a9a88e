"""Package versions ready to be installed: digests filled in from what the assets folder holds. Pure; called by `manifests`."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping

from operators.api import ClusterPackageVersion, MachinePackageVersion
from operators.errors import ErrorCode, KokError
from operators.ports.kube import Manifest

PACKAGE_KINDS = ("ClusterPackageVersion", "MachinePackageVersion")


NONE: Mapping[str, str] = {}


def resolved(packages: Iterable[Manifest], digests: Mapping[str, str], deb_versions: Mapping[str, str] = NONE) -> list[Manifest]:
    """The package versions among `packages`, machine packages first, each artifact with its sha256.

    `digests`: asset name -> sha256; `deb_versions`: asset name -> what dpkg calls the version of a .deb, for artifacts that do not say. Raises KokError AssetUnavailable for an asset that is not there, InvalidObject for a manifest that is none,
    PackageMissing for a ClusterPackageVersion that names a machine package which is not among them.
    """
    found = [manifest for manifest in packages if manifest["kind"] in PACKAGE_KINDS]
    machine = [_with_facts(m, digests, deb_versions) for m in found if m["kind"] == "MachinePackageVersion"]
    cluster = [m for m in found if m["kind"] == "ClusterPackageVersion"]
    names = {MachinePackageVersion.parse(m).metadata.name for m in machine}
    for manifest in cluster:
        _check_machine_packages(ClusterPackageVersion.parse(manifest), names)
    return machine + cluster


def installable(packages: Iterable[Manifest], digests: Mapping[str, str]) -> list[Manifest]:
    """Those package versions whose assets are all there, and the cluster packages that name only such; all of them if no cluster package is.

    A release knows more versions than anybody has assets of: what is not there is not offered, and what nobody has is an error of `resolved`.
    """
    found = [manifest for manifest in packages if manifest["kind"] in PACKAGE_KINDS]
    lacking = {m["metadata"]["name"] for m in found if m["kind"] == "MachinePackageVersion" and _lacks(m, digests)}
    kept = [m for m in found if m["metadata"]["name"] not in lacking and not lacking.intersection(m["spec"].get("machinePackages") or ())]
    return kept if any(m["kind"] == "ClusterPackageVersion" for m in kept) else found


def _lacks(package: Manifest, digests: Mapping[str, str]) -> bool:
    artifacts = package["spec"].get("artifacts") or ()
    return any(not each.get("sha256") and each.get("asset") not in digests for each in artifacts)


def _with_facts(manifest: Manifest, digests: Mapping[str, str], deb_versions: Mapping[str, str]) -> Manifest:
    result = copy.deepcopy(manifest)
    for artifact in result["spec"].get("artifacts") or ():
        asset = str(artifact.get("asset") or "")
        if version := deb_versions.get(asset):
            artifact.setdefault("packageVersion", version)
        if artifact.get("sha256"):
            continue
        if asset not in digests:
            raise KokError(
                ErrorCode.AssetUnavailable,
                f"MachinePackageVersion {result['metadata']['name']}: artifact {artifact.get('name')} has no sha256, and the assets folder has no {asset or 'asset for it'}",
                f"kok assets ensure {asset}" if asset else "give the artifact an asset or a sha256",
            )
        artifact["sha256"] = digests[asset]
    return result


def _check_machine_packages(package: ClusterPackageVersion, names: set[str]) -> None:
    missing = [name for name in package.spec.machine_packages if name not in names]
    if missing:
        raise KokError(
            ErrorCode.PackageMissing,
            f"ClusterPackageVersion {package.metadata.name}: spec.machinePackages names {', '.join(missing)}, which the catalogue does not have",
            "add the MachinePackageVersion to the catalogue, or correct the name",
        )
