"""Makes and judges keys and certificates (ECDSA P-256, `cryptography`). No I/O, but slow (milliseconds): callers run it off the loop.

Key material goes in and out as Secret data (base64 text, as the API shows it); nothing here logs it or puts it into an error.
Called by cluster_operator.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from dataclasses import dataclass, field

from operators.domain.plane.certificates import LeafSpec, RootSpec

SecretData = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Issued:
    """The data of a new Secret."""

    type: str
    """The Secret's type."""
    data: SecretData = field(repr=False)
    """Key -> base64 text."""


def new_root(spec: RootSpec, now: datetime) -> Issued:
    """A new CA (10 years) or key pair."""
    raise NotImplementedError


def issue_leaf(spec: LeafSpec, ca: SecretData, now: datetime) -> Issued:
    """A new key with a certificate of one year, signed by `ca` (data of the signer's Secret). Raises KokError SecretInvalid if `ca` is unusable."""
    raise NotImplementedError


def root_fault(data: SecretData | None, spec: RootSpec) -> str | None:
    """Why a root Secret cannot be used (missing, emptied, unparsable, key and certificate do not match), in words; None when it is sound."""
    raise NotImplementedError


def leaf_fault(data: SecretData | None, spec: LeafSpec, ca: SecretData, now: datetime) -> str | None:
    """Why a leaf must be issued anew (missing, emptied, unparsable, other signer, other names, past 2/3 of its life), in words; None when it is sound."""
    raise NotImplementedError
