"""Manifests that tests start from: people's samples in manifests/samples, and beside this file those of kinds that people do not write. Reads files only."""

from __future__ import annotations

from pathlib import Path

from operators.ports.kube import Manifest
from operators.yaml_text import read_all

PEOPLES = Path(__file__).parents[1] / "manifests" / "samples"
OWN = Path(__file__).parent / "samples"


def sample_path(name: str) -> Path:
    """The file of that name, whichever folder it is in."""
    return next(folder / name for folder in (PEOPLES, OWN) if (folder / name).is_file())


def sample_manifests() -> list[Manifest]:
    """All of both folders: at least one of every kind."""
    files = [*sorted(PEOPLES.glob("*.yaml")), *sorted(OWN.glob("*.yaml"))]
    return [manifest for file in files for manifest in read_all(file.read_text(encoding="utf-8"))]
