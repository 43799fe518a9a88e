"""Whether a pod shows what a test wants it to show already, so that its status is written once and not at every look. Used by the pods of planes."""

from __future__ import annotations

from typing import Any

from operators.ports.kube import Manifest


def shows(status: Manifest, wanted: Manifest) -> bool:
    """Whether a pod's status says all of `wanted` already. What the server fills in, such as the time of a probe, does not count."""

    def says(found: Any, part: Any) -> bool:
        match part:
            case dict():
                return isinstance(found, dict) and all(says(found.get(key), value) for key, value in part.items())
            case list():
                return isinstance(found, list) and len(found) == len(part) and all(map(says, found, part))
        return bool(found == part)

    return says(status, wanted)
