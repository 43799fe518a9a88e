"""Bringing manifests to an API server, each told as created, changed or as it was. Decides nothing about order; called by `install`."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from operators.api import KINDS
from operators.errors import ErrorCode, KokError
from operators.ports.kube import AlreadyExists, KubePort, Manifest, NotFound, Ref

_MODELS = {kind.__name__: kind for kind in KINDS}


class Verb(StrEnum):
    """What happened to an object, or would."""

    Created = "created"
    Changed = "changed"
    Unchanged = "unchanged"


class Mode(StrEnum):
    """Whether writes are stored. With Try the port was built with `dry_run`."""

    Do = "Do"
    Try = "Try"


@dataclass(frozen=True, slots=True)
class Change:
    """One object and what happened to it."""

    verb: Verb
    ref: Ref

    def __str__(self) -> str:
        return f"{self.verb} {self.ref}"


async def read(kube: KubePort, ref: Ref) -> Manifest | None:
    """The object, or None; also None where its kind is not known yet."""
    try:
        return await kube.get(ref)
    except NotFound:
        return None


async def apply_object(kube: KubePort, manifest: Manifest, mode: Mode) -> Change:
    """Server-side apply, whole. With Try, an object whose kind or namespace is not there yet counts as created."""
    ref = Ref.of(manifest)
    before = await read(kube, ref)
    try:
        after = await kube.apply(manifest)
    except NotFound:
        if mode is Mode.Do:
            raise
        return Change(Verb.Created, ref)
    if before is None:
        return Change(Verb.Created, ref)
    return Change(Verb.Unchanged if _content(before) == _content(after) else Verb.Changed, ref)


async def create_object(kube: KubePort, manifest: Manifest, mode: Mode) -> Change:
    """Create it unless it is there; what is there is not looked into."""
    ref = Ref.of(manifest)
    if await read(kube, ref) is not None:
        return Change(Verb.Unchanged, ref)
    try:
        await kube.create(manifest)
    except AlreadyExists:
        return Change(Verb.Unchanged, ref)
    except NotFound:
        if mode is Mode.Do:
            raise
    return Change(Verb.Created, ref)


async def create_immutable(kube: KubePort, manifest: Manifest, mode: Mode) -> Change:
    """Create a package version. One that is there with the same spec stays; with another spec it is a KokError PackageConflict.

    Another image of Machine-Operators is no conflict: it is chosen with the operators' at the first installation, and stays with the version.
    """
    ref = Ref.of(manifest)
    stored = await read(kube, ref)
    if stored is not None and (differs := _first_difference(_spec(_with_image_of(stored, manifest)), _spec(stored), "spec")):
        raise KokError(
            ErrorCode.PackageConflict,
            f"{ref} is there with another {differs}, and a package version never changes",
            "give the changed package a name of its own, or install the release of kok that the stored one came with",
        )
    return await create_object(kube, manifest, mode)


def _with_image_of(stored: Manifest, manifest: Manifest) -> Manifest:
    if manifest["kind"] != "ClusterPackageVersion":
        return manifest
    result = copy.deepcopy(manifest)
    result["spec"]["components"]["machineOperator"]["image"] = stored["spec"]["components"]["machineOperator"]["image"]
    return result


def _spec(manifest: Manifest) -> Any:
    """The spec with every default filled in, so that what was written and what was stored compare."""
    return _MODELS[manifest["kind"]].parse(manifest).manifest()["spec"]


def _first_difference(wanted: Any, stored: Any, path: str) -> str:
    if isinstance(wanted, dict) and isinstance(stored, dict):
        keys = sorted(wanted.keys() | stored.keys())
        return next((d for key in keys if (d := _first_difference(wanted.get(key), stored.get(key), f"{path}.{key}"))), "")
    if isinstance(wanted, list) and isinstance(stored, list) and len(wanted) == len(stored):
        pairs = enumerate(zip(wanted, stored, strict=True))
        return next((d for index, (a, b) in pairs if (d := _first_difference(a, b, f"{path}[{index}]"))), "")
    return "" if wanted == stored else path


def _content(manifest: Manifest) -> Manifest:
    """Without what the server itself notes about writes."""
    noted = ("managedFields", "resourceVersion", "generation")
    metadata = {key: value for key, value in manifest["metadata"].items() if key not in noted}
    return {**{key: value for key, value in manifest.items() if key != "status"}, "metadata": metadata}
