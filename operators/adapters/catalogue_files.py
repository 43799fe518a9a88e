"""The catalogue as files: `CataloguePort` over packages/, playbooks/ and manifests/. The one loader; reads only, decides nothing.

The folders lie at the top of a checkout, and in `kok_data/` beside the code in an installed wheel. Chosen by the entry points.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import yaml

import operators
from operators.errors import ErrorCode, KokError
from operators.yaml_text import read_all

_FOLDERS = ("packages", "playbooks", "manifests")


def data_root() -> Path:
    """The folder that holds packages/, playbooks/ and manifests/ of this installation.

    Raises KokError CatalogueInvalid if the code was copied without its data.
    """
    beside = Path(operators.__file__).resolve().parents[1]
    for root in (beside / "kok_data", beside):
        if (root / "packages").is_dir():
            return root
    raise KokError(
        ErrorCode.CatalogueInvalid,
        f"no packages/ beside {beside}: the code is there, its data is not",
        "install kok from its wheel, or run it from a checkout",
    )


def code_digest() -> str:
    """Names what this process decides with: the operators' modules and packages/, by their content. Some milliseconds."""
    digest = sha256()
    for top, patterns in ((Path(operators.__file__).parent, ("*.py",)), (data_root() / "packages", ("*",))):
        for path in sorted({path for pattern in patterns for path in top.rglob(pattern) if path.is_file()}):
            digest.update(f"{path.relative_to(top)}\0{path.stat().st_size}\0".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


class FileCatalogue:
    """`operators.ports.catalogue.CataloguePort` over the folders below `root`."""

    def __init__(self, root: Path | None = None) -> None:
        self._root = root or data_root()

    def plane_templates(self, revision: str) -> Mapping[str, str]:
        """File name -> Jinja2 text of packages/plane/<revision>, sorted by name.

        Raises KokError CatalogueInvalid, naming the revisions that are there.
        """
        planes = self._root / "packages" / "plane"
        known = sorted(path.name for path in planes.iterdir() if path.is_dir()) if planes.is_dir() else []
        if revision not in known:
            raise KokError(
                ErrorCode.CatalogueInvalid,
                f"planeRevision {revision}: this release of kok has no such templates (it has {', '.join(known) or 'none'})",
                "use a ClusterPackageVersion with one of these revisions, or a release of kok that has it",
            )
        return {path.name: path.read_text(encoding="utf-8") for path in sorted((planes / revision).glob("*.j2"))}

    def component_flags(self, kubernetes_version: str) -> Mapping[str, frozenset[str]]:
        """Component (as spec.flags names it) -> every flag that it takes, of packages/flags/<minor>; empty for a minor that is not known."""
        folder = self._root / "packages" / "flags" / ".".join(kubernetes_version.split(".")[:2])
        return {path.stem: frozenset(path.read_text(encoding="utf-8").split()) for path in sorted(folder.glob("*.txt"))}

    def served_apis(self, kubernetes_version: str) -> str:
        """packages/served/<minor>.txt; empty for a minor that is not known."""
        path = self._root / "packages" / "served" / f"{'.'.join(kubernetes_version.split('.')[:2])}.txt"
        return path.read_text(encoding="utf-8") if path.is_file() else ""

    def manifests(self, folder: str) -> list[dict[str, Any]]:
        """All YAML documents below `folder` (packages/cluster, manifests/crds, ...), sorted by path; kustomization files are none.

        Raises KokError CatalogueInvalid for a folder outside the catalogue, one that is missing, or a file that is not YAML.
        """
        base = (self._root / folder).resolve()
        if not base.is_dir() or not any(base.is_relative_to(self._root.resolve() / name) for name in _FOLDERS):
            raise KokError(ErrorCode.CatalogueInvalid, f"the catalogue has no folder {folder!r}", f"it has {', '.join(_FOLDERS)}")
        paths = sorted(path for path in base.rglob("*.yaml") if path.name != "kustomization.yaml")
        return [document for path in paths for document in _documents(path)]

    def playbooks(self) -> Path:
        """Folder with the playbooks and roles."""
        return self._root / "playbooks"


def _documents(path: Path) -> list[dict[str, Any]]:
    try:
        documents = read_all(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise KokError(ErrorCode.CatalogueInvalid, f"{path}: not YAML: {error}", "correct the file") from error
    for document in documents:
        if not isinstance(document, dict) or "kind" not in document:
            raise KokError(ErrorCode.CatalogueInvalid, f"{path}: a document is no manifest (it has no kind)", "correct the file")
    return documents
