"""The version of this checkout of kok. Needs nothing."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed


def own_version() -> str:
    """Of the installed package; `checkout` where it is not installed."""
    try:
        return installed("kok")
    except PackageNotFoundError:
        return "checkout"
