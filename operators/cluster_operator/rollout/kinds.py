"""The kinds that rollouts follow, and whose change wakes which rollout. Data; used by observe, act and main."""

from __future__ import annotations

from collections.abc import Iterator

from operators.api.base import API_VERSION
from operators.ports.kube import Key, Kind, Manifest, Watched

CONTROLLER = "rollout"
ROLLOUT = Kind(API_VERSION, "FleetRollout")


def key_of(name: str) -> Key:
    """The key of one FleetRollout."""
    return Key(CONTROLLER, "", name)


def watched_kinds() -> tuple[Watched, ...]:
    """Beside what the Cluster controller follows already; changes of members are polled, for a rollout is never in a hurry."""
    return (Watched(ROLLOUT, _own_key),)


def _own_key(manifest: Manifest) -> Iterator[Key]:
    yield key_of(manifest["metadata"]["name"])
