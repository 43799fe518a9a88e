"""Reads the files that `kok diff` compares: every YAML document of kok below a folder, one file, or stdin. Touches only these files."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from meta_cluster.cli.kinds import NAMED
from operators.api.base import API_VERSION
from operators.errors import ErrorCode, KokError
from operators.ports.kube import Manifest

NO_MANIFESTS = frozenset({"kustomization.yaml", "kustomization.yml"})
AUTHORED = ("ClusterPackageVersion", "MachinePackageVersion", "OperationBudget", "Cluster", "MachinePool", "FleetRollout")
"""What people write, in the order in which it is told; the rest of kok's kinds is written by operators only."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """Documents of kok, how many others there were, and the namespaces among those."""

    manifests: tuple[Manifest, ...]
    others: int
    namespaces: frozenset[str] = frozenset()


def load(path: str) -> Loaded:
    """Raises KokError Usage for a path that is not there or that holds nothing of kok, InvalidObject for what is no YAML manifest."""
    manifests, others = [], []
    for source, text in _texts(path):
        for document in _documents(source, text):
            if document["apiVersion"] == API_VERSION and document["kind"] in AUTHORED:
                manifests.append(_placed(document))
            else:
                others.append(document)
    if not manifests:
        raise KokError(ErrorCode.Usage, f"-f {path}: no object of kok in it", f"it should hold {', '.join(AUTHORED)}")
    namespaces = frozenset(each["metadata"]["name"] for each in others if each["kind"] == "Namespace")
    return Loaded(tuple(sorted(manifests, key=lambda each: AUTHORED.index(each["kind"]))), len(others), namespaces)


def _placed(document: Manifest) -> Manifest:
    """With a namespace where the kind has one, as kubectl does it."""
    namespaced = next(kind.namespaced for kind in NAMED if kind.name == document["kind"])
    if not namespaced or document["metadata"].get("namespace"):
        return document
    return {**document, "metadata": {**document["metadata"], "namespace": "default"}}


def _texts(path: str) -> Iterator[tuple[str, str]]:
    if path == "-":
        yield "stdin", sys.stdin.read()
        return
    place = Path(path)
    if not place.exists():
        raise KokError(ErrorCode.Usage, f"-f {path}: there is no such file or folder", "-f DIR, -f FILE, or -f - for stdin")
    files = [place] if place.is_file() else sorted(each for end in ("yaml", "yml") for each in place.rglob(f"*.{end}"))
    for file in files:
        if file.name not in NO_MANIFESTS:
            yield str(file), file.read_text(encoding="utf-8")


def _documents(source: str, text: str) -> Iterator[Manifest]:
    try:
        documents = [each for each in yaml.safe_load_all(text) if each]
    except yaml.YAMLError as error:
        raise KokError(ErrorCode.InvalidObject, f"{source}: not YAML: {' '.join(str(error).split())}", "correct the file") from error
    for each in documents:
        if not isinstance(each, dict) or not {"apiVersion", "kind"} <= each.keys():
            raise KokError(ErrorCode.InvalidObject, f"{source}: a document has no apiVersion and kind", "correct the file")
        items = each.get("items") if each["kind"] == "List" else None
        for item in items if items is not None else [each]:
            if not (item.get("metadata") or {}).get("name"):
                raise KokError(ErrorCode.InvalidObject, f"{source}: a {item.get('kind')} has no metadata.name", "give it a name")
            yield item
