"""The rungs for keys: root keys are made once and come back from their sealed copy, leaves are issued whenever they are not right. Pure.

The sealed copy is written first and is the authority from then on: one write makes all root keys durable, and the Secrets that the plane
uses are filled from it, at creation as after damage. No key material passes here, only what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Iterable

from operators.domain.plane.certificates import RootSpec
from operators.domain.plane.steps import IssueLeaves, NewRootKeys, RestoreRootKeys, SealRootKeys, Stall, Step, Wait
from operators.domain.plane.view import PlaneView, RootKeys, Unknown
from operators.errors import ErrorCode

CLUSTER_UID = "kok.dev/cluster-uid"


def root_keys(view: PlaneView) -> Step | None:
    """Root keys and their sealed copy must be sound and agree before anything is signed."""
    roots = view.roots
    if roots is None or (not roots.faults and not _seal_is_wanting(view, roots)):
        return None
    if isinstance(roots.sealed, Unknown):
        return Wait("Keys", roots.sealed.reason, after=5.0)
    if not roots.live:
        return Wait("Keys", "the root keys are read again", after=0.0)
    return _missing_roots(view, roots) if roots.faults else _seal(view, roots)


def _seal_is_wanting(view: PlaneView, roots: RootKeys) -> bool:
    return bool(roots.sealed is None or roots.sealed_faults or roots.differing or _left_behind(view, roots))


def _seal(view: PlaneView, roots: RootKeys) -> Step:
    """All root Secrets are sound: where they differ from a sound copy the copy is right, otherwise the copy is made of them."""
    if roots.differing and not _left_behind(view, roots):
        specs = _of(roots, roots.differing)
        return RestoreRootKeys(specs, f"{_names(specs)} holds other keys than its sealed copy, which is the authority: put back")
    return SealRootKeys(roots.specs, "the sealed copy of the root keys is missing or damaged: written anew from the Secrets")


def _missing_roots(view: PlaneView, roots: RootKeys) -> Step:
    if view.has_lived or (roots.sealed is not None and not _left_behind(view, roots)):
        return _restored_or_lost(view, roots)
    replaces = "" if not isinstance(roots.sealed, dict) else str(roots.sealed["metadata"]["uid"])
    return NewRootKeys(
        roots.specs, replaces, "root keys are made: CAs of the cluster, of etcd and of the front proxy, service account keys"
    )


def _restored_or_lost(view: PlaneView, roots: RootKeys) -> Step:
    lost = [name for name in roots.faults if roots.sealed is None or name in roots.sealed_faults]
    if not lost:
        specs = _of(roots, (*roots.faults, *roots.differing))
        first, why = next(iter(roots.faults.items()))
        return RestoreRootKeys(specs, f"{first}: {why}; {_names(specs)} comes back from the sealed copy")
    namespace = view.cluster.metadata.namespace
    return Stall(
        ErrorCode.KeysLost,
        f"Secret {namespace}/{lost[0]}: {roots.faults[lost[0]]}, and there is no sound sealed copy of it in kok-system; "
        "root keys are never made anew under a living cluster: put the Secret back from a backup",
    )


def _left_behind(view: PlaneView, roots: RootKeys) -> bool:
    """Whether the copy is of a former Cluster of the same name, of which nothing else is left."""
    if not isinstance(roots.sealed, dict) or view.has_lived:
        return False
    uid = (roots.sealed["metadata"].get("annotations") or {}).get(CLUSTER_UID)
    return bool(uid != view.cluster.metadata.uid)


def leaf_certificates(view: PlaneView) -> Step | None:
    """Issue what is missing, damaged, of another signer or other names, or past two thirds of its life."""
    if not view.leaves:
        return None
    first, rest = view.leaves[0], len(view.leaves) - 1
    more = f" and {rest} more" if rest else ""
    return IssueLeaves(tuple(leaf.spec for leaf in view.leaves), f"{first.spec.secret}{more}: {first.reason}; issued anew")


def _of(roots: RootKeys, names: Iterable[str]) -> tuple[RootSpec, ...]:
    wanted = set(names)
    return tuple(spec for spec in roots.specs if spec.secret in wanted)


def _names(specs: tuple[RootSpec, ...]) -> str:
    return ", ".join(spec.secret for spec in specs)
