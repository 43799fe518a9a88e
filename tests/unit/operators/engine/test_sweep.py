"""Sweeps: what was listed once is not listed again before work starts."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from operators.engine.cache import ObjectCache
from operators.engine.metrics import Metrics
from operators.engine.sweep import Sweeper
from operators.ports.kube import Key, Kind, Listing, TooManyRequests, Watched

KINDS = [Kind("v1", name) for name in ("A", "B", "C", "D", "E")]


class BusyKube:
    """Refuses every third call, unless it is `patient`."""

    def __init__(self, *, patient: bool = False) -> None:
        self.calls, self.listed, self.patient = 0, Counter[str](), patient

    async def list(self, kind: Kind, **_: Any) -> Listing:
        self.calls += 1
        if self.calls % 3 == 0 and not self.patient:
            raise TooManyRequests("busy", retry_after=1)
        self.listed[kind.kind] += 1
        item = {"metadata": {"name": "x", "namespace": "", "resourceVersion": "1"}}
        return Listing((item,), "5")


def sweeper(kube: BusyKube) -> Sweeper:
    cache = ObjectCache(lambda key: None)
    for kind in KINDS:
        cache.follow(Watched(kind, lambda manifest: [Key("k", "", manifest["metadata"]["name"])]))
    return Sweeper(cache, {"meta": kube}, Metrics())  # type: ignore[dict-item]


async def test_should_list_only_what_failed_when_it_is_asked_to() -> None:
    kube = BusyKube()
    sweeps = sweeper(kube)
    with pytest.raises(TooManyRequests):
        await sweeps.sweep(settling=True)
    assert [watched.kind.kind for watched in sweeps.failed] == ["C"]
    with pytest.raises(TooManyRequests):
        await sweeps.sweep(sweeps.failed, settling=True)
    await sweeps.sweep(sweeps.failed, settling=True)
    assert sweeps.failed == ()
    assert kube.listed == dict.fromkeys("ABCDE", 1)


async def test_should_say_where_the_watches_go_on_and_hold_nothing_of_the_first_against_them() -> None:
    sweeps = sweeper(BusyKube(patient=True))
    await sweeps.sweep(settling=True, first=True)
    assert set(sweeps.listed_at.values()) == {"5"}
    for _ in range(3):
        await sweeps.sweep()
    assert sweeps.deaf == ""


async def test_should_call_a_watch_deaf_that_told_nothing_where_no_list_stands_for_it() -> None:
    sweeps = sweeper(BusyKube(patient=True))
    for _ in range(3):
        await sweeps.sweep()
    assert "missed 1 changes" in sweeps.deaf
