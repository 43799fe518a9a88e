"""`kok meta uninstall`: the reverse of an installation, refused while anything would be orphaned. Called by the CLI.

What it removes is what the manifests of every overlay name, the CRDs with all objects of them, and the namespace kok-system, which holds the
sealed copies of root keys: therefore only where no Cluster, pool or host claim is left.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from meta_cluster.bootstrap.install import Tell
from meta_cluster.bootstrap.manifests import Installation, Overlay, install_manifests
from operators.api import API_VERSION, Cluster, HostClaim, MachinePool, Resource
from operators.errors import ErrorCode, KokError
from operators.ports.kube import Forbidden, Kind, KubePort, NotFound, Ref

HOLDERS: tuple[type[Resource], ...] = (Cluster, MachinePool, HostClaim)
SHOWN = 5
GUARDED_TRIES = 20


@dataclass(frozen=True, slots=True)
class Removal:
    """What to remove, first to last."""

    refs: tuple[Ref, ...]


def removal() -> Removal:
    """Everything that any overlay installs: workloads, then the rest backwards, then CRDs, the namespace last."""
    found: dict[Ref, None] = {}
    for overlay in Overlay:
        manifests = install_manifests(Installation(overlay), {}, packages=())
        for manifest in (*manifests.workloads, *reversed(manifests.base), *manifests.crds):
            found.setdefault(Ref.of(manifest))
    namespaces = [ref for ref in found if ref.kind == "Namespace"]
    return Removal(tuple([ref for ref in found if ref.kind != "Namespace"] + namespaces))


async def refuse_while_used(kube: KubePort) -> None:
    """Raises KokError ClusterConflict, naming what is left, while there are Clusters, MachinePools or HostClaims."""
    for kind in HOLDERS:
        try:
            items = (await kube.list(Kind(API_VERSION, kind.__name__))).items
        except NotFound:
            continue
        if items:
            names = [_name(item["metadata"]) for item in items]
            rest = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
            raise KokError(
                ErrorCode.ClusterConflict,
                f"{len(names)} {kind.INFO.plural} are left: {', '.join(names[:SHOWN])}{rest}; without the operators nothing would look after them",
                f"delete them first: kubectl delete {kind.INFO.plural}.kok.dev ... and wait until they are gone",
            )


async def present(kube: KubePort, refs: Sequence[Ref]) -> list[Ref]:
    """Those of `refs` that are there, in the same order."""
    return [ref for ref in refs if await _is_there(kube, ref)]


async def uninstall(kube: KubePort, refs: Sequence[Ref], *, tell: Tell, patience: float = 120.0) -> list[Ref]:
    """Remove `refs` in order and wait until they are gone; returns those that were there. Raises KokError Timeout naming what stays."""
    removed = [ref for ref in refs if await _delete(kube, ref)]
    for ref in removed:
        tell(f"deletion of {ref} asked for")
    deadline = time.monotonic() + patience
    while left := [ref for ref in removed if await _is_there(kube, ref)]:
        if time.monotonic() > deadline:
            raise KokError(
                ErrorCode.Timeout,
                f"after {patience:.0f} s still there: {', '.join(map(str, left))}",
                "see its finalizers (kubectl get -o yaml), and run this again",
            )
        await asyncio.sleep(0.5)
    return removed


async def _delete(kube: KubePort, ref: Ref) -> bool:
    """Whether it was there. A policy of ours that was just removed still guards kok-system for a moment: it is asked again."""
    for _ in range(GUARDED_TRIES):
        try:
            return await kube.delete(ref)
        except NotFound:
            return False
        except Forbidden as refusal:
            if ref.kind != "Namespace":
                raise
            last = refusal
        await asyncio.sleep(0.5)
    raise last


async def _is_there(kube: KubePort, ref: Ref) -> bool:
    try:
        return await kube.get(ref) is not None
    except NotFound:
        return False


def _name(metadata: dict[str, str]) -> str:
    return f"{metadata['namespace']}/{metadata['name']}" if metadata.get("namespace") else metadata["name"]
