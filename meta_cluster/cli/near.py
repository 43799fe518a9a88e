"""What somebody may have meant by a name that is not there: nearly that name, or that name in another namespace. Reads one list, after a failure only."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from operators.errors import KokError
from operators.ports.kube import Kind, KubePort

PLACES_SHOWN = 3


def near_hint(name: str, there: Iterable[str], otherwise: str) -> str:
    """`did you mean demo?`, or what to say if nothing is near."""
    close = difflib.get_close_matches(name, sorted(set(there)), n=1, cutoff=0.7)
    return f"did you mean {close[0]}?" if close else otherwise


async def where_else(kube: KubePort, kind: Kind, name: str, namespace: str, otherwise: str) -> str:
    """The hint for an object that a namespace does not have: where else that very name is, else what is near. Who may not list is told `otherwise`."""
    try:
        found = [each["metadata"] for each in (await kube.list(kind)).items]
    except KokError:
        return otherwise
    places = sorted(each.get("namespace") or "" for each in found if each["name"] == name)
    if places and places[0]:
        more = f" (also {', '.join(places[1:PLACES_SHOWN])})" if places[1:] else ""
        return f"namespace {places[0]} has it: -n {places[0]}{more}"
    return near_hint(name, (each["name"] for each in found if (each.get("namespace") or "") in (namespace, "")), otherwise)
