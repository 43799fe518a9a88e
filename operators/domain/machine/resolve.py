"""Fills the digests of a catalogue's machine package from an assets index. Pure; called when the catalogue is installed and when the lab derives its variants.

Catalogue files name an `asset`, never a digest: what an asset's bytes are is known only where they were built or downloaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from operators.errors import ErrorCode, KokError

AssetsIndex = Mapping[str, Mapping[str, Any]]
"""Asset name -> its entry in index.json; only `sha256` is read."""


def resolve_artifacts(manifest: Mapping[str, Any], index: AssetsIndex) -> dict[str, Any]:
    """A copy of a MachinePackageVersion manifest with `sha256` of every artifact that names an asset; one that has a digest already keeps it.

    Raises KokError AssetUnavailable when the index has no such asset, CatalogueInvalid when an artifact has neither asset nor digest.
    """
    resolved = deepcopy(dict(manifest))
    name = str(resolved.get("metadata", {}).get("name", "?"))
    for artifact in resolved.get("spec", {}).get("artifacts", ()):
        artifact["sha256"] = artifact.get("sha256") or _digest_of(artifact, index, package=name)
    return resolved


def _digest_of(artifact: Mapping[str, Any], index: AssetsIndex, *, package: str) -> str:
    asset = str(artifact.get("asset") or "")
    where = f"MachinePackageVersion {package}: artifact {artifact.get('name', '?')}"
    if not asset:
        raise KokError(ErrorCode.CatalogueInvalid, f"{where} has neither sha256 nor asset", "name the asset it is made from, or its sha256")
    entry = index.get(asset)
    if entry is None or not entry.get("sha256"):
        raise KokError(ErrorCode.AssetUnavailable, f"{where}: the assets index has no {asset}", f"kok assets build {asset}")
    return str(entry["sha256"])
