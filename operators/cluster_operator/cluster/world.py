"""What the Cluster controller works with: ports, the cache, its settings, and what it remembers to save work. Built once by main.

Everything remembered here is a saving, never progress: a process that starts with it empty decides the same.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Generic, TypeVar

from operators.engine.cache import ObjectCache
from operators.ports.catalogue import CataloguePort
from operators.ports.etcd import EtcdConnector
from operators.ports.grants import GrantsPort, NoLeave
from operators.ports.kube import KubeConnector, KubePort
from operators.services.plane_danger import PlaneDanger

Value = TypeVar("Value")


class Reach(StrEnum):
    """How business APIs are reached."""

    internal = "internal"
    """By their Service in the meta cluster, as the operator's own identity."""
    external = "external"
    """By their endpoint, as clients do: for an operator that runs outside of the meta cluster."""


class Remembered(Generic[Value]):
    """The last values by key, at most `size` of them, each for `seconds`."""

    def __init__(self, size: int, seconds: float = float("inf"), clock: Callable[[], float] = time.monotonic) -> None:
        self._size, self._seconds, self._clock = size, seconds, clock
        self._values: OrderedDict[Hashable, tuple[float, Value]] = OrderedDict()

    def get(self, key: Hashable, *, pace: float = 1.0) -> Value | None:
        """The value, unless it is unknown or too old; `pace`: it may be so many times as old."""
        at, value = self._values.get(key, (0.0, None))
        if value is None or self._clock() - at > self._seconds * pace:
            return None
        self._values.move_to_end(key)
        return value

    def put(self, key: Hashable, value: Value) -> Value:
        """Remember it and give it back."""
        self._values[key] = (self._clock(), value)
        self._values.move_to_end(key)
        while len(self._values) > self._size:
            self._values.popitem(last=False)
        return value

    def drop(self, key: Hashable) -> None:
        """Forget it."""
        self._values.pop(key, None)


@dataclass(frozen=True, slots=True)
class World:
    """Ports and settings of one Cluster controller."""

    meta: KubePort
    cache: ObjectCache
    business: KubeConnector
    catalogue: CataloguePort
    own_namespace: str = "kok-system"
    reach: Reach = Reach.internal
    etcd: EtcdConnector | None = None
    """How members of etcds are asked; without it only their pods are looked at."""
    grants: GrantsPort = field(default_factory=NoLeave)
    """Who is asked for leave; without a risk centre there is none."""
    now: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))

    @property
    def danger(self) -> PlaneDanger:
        """What can hurt a plane, with leave only."""
        return PlaneDanger(self.meta, self.grants)
