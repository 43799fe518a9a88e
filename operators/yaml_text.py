"""YAML by libyaml where PyYAML was built with it (ten times as fast), by PyYAML's own code where not. Safe types only; decides nothing.

Called wherever documents of some size are read or written: the catalogue, the plane's templates, the manifests of an installation, the CRDs.
"""

from __future__ import annotations

from typing import Any

import yaml

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def read(text: str | bytes) -> Any:
    """The one document of a text. Raises yaml.YAMLError."""
    return yaml.load(text, Loader=_LOADER)  # noqa: S506 - both are safe loaders


def read_all(text: str | bytes) -> list[Any]:
    """Every document of a text that is not empty. Raises yaml.YAMLError."""
    return [document for document in yaml.load_all(text, Loader=_LOADER) if document]


def write(document: Any, *, width: int = 80) -> str:
    """One document in block style, its keys in their order; both dumpers write the same."""
    return str(yaml.dump(document, Dumper=_DUMPER, sort_keys=False, width=width))
