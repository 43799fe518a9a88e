"""Server-side apply of one whole object, checked by what came back. Used by whoever puts rendered objects in place."""

from __future__ import annotations

from operators.domain.plane.drift import corrections, difference
from operators.errors import ErrorCode, KokError
from operators.ports.kube import Invalid, KubePort, Manifest, Ref


async def apply_whole(port: KubePort, manifest: Manifest) -> Manifest:
    """Server-side apply, and what it cannot do: take entries out of lists of ours that somebody else put in.

    Raises KokError Internal when the object still differs: applying it again would not help, and must not be tried for ever at full speed.
    """
    written = await _applied(port, manifest)
    if difference(manifest, written) and (patch := corrections(manifest, written)):
        written = await port.patch_json(Ref.of(manifest), patch)
    if path := difference(manifest, written):
        raise KokError(ErrorCode.Internal, f"{Ref.of(manifest)} still differs at {path} after it was applied", "is another writer at work?")
    return written


async def _applied(port: KubePort, manifest: Manifest) -> Manifest:
    """Server-side apply. What others put into a list of ours may not go together with what belongs there: then it is taken out first."""
    try:
        return await port.apply(manifest)
    except Invalid:
        stored = await port.get(Ref.of(manifest))
        patch = corrections(manifest, stored) if stored else []
        if not patch:
            raise
        await port.patch_json(Ref.of(manifest), patch)
        return await port.apply(manifest)
