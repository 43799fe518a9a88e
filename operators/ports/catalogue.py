"""The catalogue that travels with the operators: plane templates, playbooks, CRDs. Read-only data; the one loader is adapters/catalogue_files.py."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol


class CataloguePort(Protocol):
    """Reads package data."""

    def plane_templates(self, revision: str) -> Mapping[str, str]:
        """File name -> Jinja2 text of packages/plane/<revision>. Raises KokError CatalogueInvalid when there is no such revision."""
        ...

    def component_flags(self, kubernetes_version: str) -> Mapping[str, frozenset[str]]:
        """Component (as spec.flags names it) -> every flag that it takes at that version's minor; a component that is missing is not known."""
        ...

    def served_apis(self, kubernetes_version: str) -> str:
        """What that version's minor has on offer, a line for each resource (`domain.plane.served`); empty for a minor that is not known."""
        ...

    def manifests(self, folder: str) -> list[dict[str, Any]]:
        """All YAML documents below a folder of the catalogue (packages/cluster, packages/machine, manifests/crds, ...), sorted by path."""
        ...

    def playbooks(self) -> Path:
        """Folder with the playbooks and roles."""
        ...
