"""Whether a live object still says what it should: rendered text against what the API server shows. Pure; called by the ladder.

An object is right when everything that was rendered is in it, list for list; fields that others added beside ours (defaults, a human's
label) are theirs. The digest of the whole rendered object travels in an annotation, so that a field which is no longer rendered differs too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from operators.domain.plane.inputs import Manifest

APPLIED_HASH = "kok.dev/applied-hash"


@dataclass(frozen=True, slots=True, order=True)
class ObjectId:
    """One object by name; `namespace` is empty for cluster-scoped kinds."""

    api_version: str
    kind: str
    namespace: str
    name: str

    @classmethod
    def of(cls, manifest: Mapping[str, Any]) -> ObjectId:
        """The id of a manifest."""
        metadata = manifest["metadata"]
        return cls(manifest["apiVersion"], manifest["kind"], metadata.get("namespace") or "", metadata["name"])

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


def stamped(manifest: Manifest) -> Manifest:
    """The manifest with the digest of its rendered text as an annotation."""
    digest = hashlib.sha256(json.dumps(manifest, sort_keys=True, separators=(",", ":")).encode()).hexdigest()[:16]
    metadata = manifest["metadata"]
    annotations = {**(metadata.get("annotations") or {}), APPLIED_HASH: digest}
    return {**manifest, "metadata": {**metadata, "annotations": annotations}}


def difference(wanted: Any, live: Any) -> str:
    """Path of the first place where `live` lacks or contradicts `wanted`; empty if everything wanted is there.

    Lists must agree in length and order: an entry that somebody added to a list of ours is a difference. Empty containers equal absence,
    since the API server drops them. The path is put together on the way back: of thousands of fields hardly one ever differs.
    """
    place = _place(wanted, live)
    return "" if place is None else "".join(f"/{_escaped(part)}" for part in reversed(place)) or "/"


def _place(wanted: Any, live: Any) -> list[str] | None:
    """The parts of that path, innermost first; None if there is no difference."""
    if isinstance(wanted, dict):
        return _place_in_map(wanted, live if isinstance(live, dict) else {})
    if isinstance(wanted, list):
        return _place_in_list(wanted, live if isinstance(live, list) else [])
    return None if wanted == live and isinstance(wanted, bool) == isinstance(live, bool) else []


def _place_in_map(wanted: dict[str, Any], live: dict[str, Any]) -> list[str] | None:
    for key, value in wanted.items():
        if (place := _place(value, live.get(key))) is not None:
            return [*place, key]
    return None


def _place_in_list(wanted: list[Any], live: list[Any]) -> list[str] | None:
    if len(wanted) != len(live):
        return []
    for index, (want, have) in enumerate(zip(wanted, live, strict=True)):
        if (place := _place(want, have)) is not None:
            return [*place, str(index)]
    return None


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")


def drops(wanted: Any, live: Any) -> bool:
    """Whether `live`, a pod template or a part of one, has what `wanted` does not name and no API server puts there by itself: applying takes it
    away if it was ours. What others added counts too, which is the careful side of it.
    """
    if isinstance(wanted, dict) and isinstance(live, dict):
        known = {**DEFAULTS, "serviceAccount": (wanted.get("serviceAccountName"),)}
        extra = [key for key in live if key not in wanted and live[key] not in (None, {}, [], *known.get(key, ()))]
        return bool(extra) or any(drops(value, live.get(key)) for key, value in wanted.items())
    if isinstance(wanted, list) and isinstance(live, list):
        return any(drops(*pair) for pair in zip(wanted, live, strict=False))
    return False


DEFAULTS: Mapping[str, tuple[Any, ...]] = {
    "apiVersion": ("v1",),
    "defaultMode": (420,),
    "divisor": ("0",),
    "dnsPolicy": ("ClusterFirst",),
    "expirationSeconds": (3600,),
    "failureThreshold": (3,),
    "imagePullPolicy": ("IfNotPresent", "Always"),
    "periodSeconds": (10,),
    "protocol": ("TCP",),
    "restartPolicy": ("Always",),
    "schedulerName": ("default-scheduler",),
    "scheme": ("HTTP",),
    "successThreshold": (1,),
    "terminationGracePeriodSeconds": (30,),
    "terminationMessagePath": ("/dev/termination-log",),
    "terminationMessagePolicy": ("File",),
    "timeoutSeconds": (1,),
    "type": ("",),
}
"""What the API server writes into a pod template that says nothing of it (pkg/apis/core/v1/defaults.go)."""


def corrections(wanted: Manifest, live: Manifest) -> list[dict[str, Any]]:
    """JSON patch that makes lists of `live` those of `wanted` where server-side apply alone cannot: entries that others added to ours."""
    return [{"op": "replace", "path": path, "value": value} for path, value in _foreign_lists(wanted, live, "")]


def _are_other_values(wanted: list[Any], live: list[Any]) -> bool:
    """Of lists of plain values: whether one has what the other has not."""
    plain = all(isinstance(each, str | int | float | bool) for each in (*wanted, *live))
    return plain and sorted(map(repr, wanted)) != sorted(map(repr, live))


def _foreign_lists(wanted: Any, live: Any, path: str) -> Iterable[tuple[str, Any]]:
    if isinstance(wanted, dict) and isinstance(live, dict):
        for key, value in wanted.items():
            yield from _foreign_lists(value, live.get(key), f"{path}/{_escaped(key)}")
    elif isinstance(wanted, list) and isinstance(live, list):
        if len(live) != len(wanted) or _are_other_values(wanted, live):
            yield path, wanted
        else:
            for index, value in enumerate(wanted):
                yield from _foreign_lists(value, live[index], f"{path}/{index}")
