"""manifests/operators rendered: the part of kustomize that these folders use, so that installing needs no kubectl. Pure but for reading files.

`kubectl apply -k` of the same folder gives the same objects (a test compares them). What else kustomize can do is refused, not ignored.
Called by `manifests`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonpatch
import yaml

from operators.errors import ErrorCode, KokError
from operators.ports.kube import Manifest
from operators.yaml_text import read, read_all

KUSTOMIZATION = "kustomization.yaml"
_KNOWN = {"apiVersion", "kind", "resources", "patches"}


def rendered(folder: Path) -> list[Manifest]:
    """All manifests of a kustomization, patched, in the order of its resources.

    Raises KokError CatalogueInvalid for a folder that is none, a feature this does not have, or a patch that fits nothing.
    """
    kustomization = _read(folder / KUSTOMIZATION)[0]
    if unknown := sorted(kustomization.keys() - _KNOWN):
        raise _invalid(folder, f"{', '.join(unknown)}: only resources and JSON 6902 patches are understood here")
    manifests: list[Manifest] = []
    for resource in kustomization.get("resources") or ():
        path = folder / resource
        manifests += rendered(path.resolve()) if path.is_dir() else _read(path)
    for patch in kustomization.get("patches") or ():
        manifests = _patched(manifests, patch, folder)
    return manifests


def _patched(manifests: list[Manifest], patch: dict[str, Any], folder: Path) -> list[Manifest]:
    target, operations = patch.get("target") or {}, read(patch.get("patch") or "")
    if not isinstance(operations, list) or not target.keys() <= {"kind", "name"}:
        raise _invalid(folder, "a patch needs a list of JSON 6902 operations and a target of kind and name")
    fits = [m["kind"] == target.get("kind") and m["metadata"]["name"] == target.get("name") for m in manifests]
    if not any(fits):
        raise _invalid(folder, f"a patch is for {target.get('kind')} {target.get('name')}, which is not there")
    try:
        return [jsonpatch.apply_patch(m, operations) if fit else m for m, fit in zip(manifests, fits, strict=True)]
    except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException) as error:
        raise _invalid(folder, f"the patch of {target['kind']} {target['name']} does not apply: {error}") from error


def _read(path: Path) -> list[Manifest]:
    try:
        return read_all(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise _invalid(path, str(error)) from error


def _invalid(path: Path, why: str) -> KokError:
    return KokError(ErrorCode.CatalogueInvalid, f"{path}: {why}", "correct the file, or install kok again")
