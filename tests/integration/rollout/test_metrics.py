"""Rollouts judged by business metrics in a real Prometheus, on a real API server."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import pytest

from operators.adapters.kube import KubeClient
from operators.adapters.prometheus import Prometheus
from operators.cluster_operator.rollout import kinds
from operators.ports.kube import Manifest
from tests.integration.rollout.fleet import NEW, OLD, PAUSE, Fleet, RolloutOperator
from tests.integration.rollout.prometheus import PrometheusServer, Shop

pytestmark = pytest.mark.usefixtures("crds")
CLUSTER = 'cluster="{{cluster}}",namespace_name="{{namespace}}"'
ORDERS = {
    "name": "orders",
    "good": f"sum(increase(orders_good_total{{{CLUSTER}}}[{{{{window}}}}]))",
    "total": f"sum(increase(orders_total{{{CLUSTER}}}[{{{{window}}}}]))",
}


@dataclass
class Business:
    """A fleet whose orders are counted: 99 % are good at OLD; `at_new` is the share at NEW, `hidden` shows no series."""

    fleet: Fleet
    operator: RolloutOperator
    server: PrometheusServer
    name: str
    at_new: float = 0.99
    everywhere: float = 0.99
    hidden: set[str] = field(default_factory=set)
    changed: set[str] = field(default_factory=set)

    def ratio(self, key: str) -> float | None:
        if key in self.hidden:
            return None
        return min(self.everywhere, self.at_new if key in self.changed else 1.0)

    async def until(self, phase: str, words: str = "", *, seconds: float = 120.0) -> dict[str, Any]:
        """The status once it has this phase and its message these words."""
        ends = asyncio.get_running_loop().time() + seconds
        shown: dict[str, Any] = {}
        while shown.get("phase") != phase or words not in " ".join([shown.get("message", ""), *numbers_of(shown)]):
            assert asyncio.get_running_loop().time() < ends, f"not {phase} {words!r}: {shown} {self.operator.failed}"
            await self.fleet.planes_follow()
            await self.operator.one_round(self.name)
            self.changed |= {key for key, version in (await self.fleet.versions()).items() if version == NEW}
            shown = (await self.fleet.kube.get(kinds.ROLLOUT.ref(self.name)) or {}).get("status") or {}
            await asyncio.sleep(PAUSE)
        return shown


def numbers_of(shown: dict[str, Any]) -> list[str]:
    """What the metrics of its stages say."""
    return [metric["message"] for stage in shown.get("stages", ()) for metric in stage.get("metrics", ())]


@pytest.fixture
async def business(kube: KubeClient) -> AsyncIterator[Business]:
    fleet = await Fleet.of(kube, 3)
    await fleet.planes_follow()
    shop = Shop(lambda key: business.ratio(key))
    shop.clusters = fleet.clusters
    server = PrometheusServer(shop.address)
    port = Prometheus(server.url, deadline=2.0)
    business = Business(fleet, RolloutOperator(fleet, provider=port), server, f"train-{uuid4().hex[:8]}")
    await asyncio.to_thread(server.start)
    await asyncio.to_thread(server.until, "min(increase(orders_total[60s]))", 100)
    yield business
    await port.close()
    server.close()
    shop.close()


async def start(business: Business, soak: int = 8) -> None:
    stages: list[Manifest] = [
        {"name": "canary", "clusters": [business.fleet.clusters[0]], "soakSeconds": soak},
        {"name": "rest", "rest": True, "maxParallel": 2, "soakSeconds": 4},
    ]
    analysis = {"metrics": [ORDERS], "windowSeconds": 60, "staleSeconds": 20}
    await business.fleet.kube.create(business.fleet.manifest(business.name, *stages, analysis=analysis))


@pytest.mark.slow  # its short twin is the next, which fails
async def test_should_judge_by_a_business_metric_and_show_its_numbers(business: Business) -> None:
    await start(business)
    shown = await business.until("Soaking", "orders 9")
    stage = shown["stages"][0]
    assert stage["windowSeconds"] == 60
    assert "one-sided" in stage["test"]
    assert {each["name"] for each in stage["metrics"]} >= {"orders", "pod creation"}
    shown = await business.until("Good")
    assert re.search(r"orders 9\d\.\d\d% -> 9\d\.\d\d% \(control 9\d\.\d\d% -> 9\d\.\d\d%\), n=\d+", shown["stages"][0]["message"])
    assert shown["stages"][0]["verdict"] == "PASS"


async def test_should_take_back_a_version_that_makes_pods_but_loses_orders(business: Business) -> None:
    business.at_new = 0.7
    await start(business, soak=30)
    shown = await business.until("Bad")
    assert "below its floor" in shown["message"]
    assert await business.fleet.touched() == [business.fleet.clusters[0]]
    assert await business.fleet.versions() == dict.fromkeys(business.fleet.clusters, OLD)


@pytest.mark.slow  # the twins: a provider that is away, test_prometheus.py; a hold, test_vitals.py
async def test_should_hold_while_prometheus_is_dead_and_go_on_when_it_is_back(business: Business) -> None:
    await start(business, soak=4)
    await business.until("Soaking")
    business.server.kill()
    shown = await business.until("Holding", "Prometheus cannot be reached: the connection was refused")
    assert shown["stages"][0]["verdict"] == "HOLD"
    assert await business.fleet.touched() == [business.fleet.clusters[0]], "neither on nor back"
    assert NEW in (await business.fleet.versions()).values()
    await asyncio.to_thread(business.server.start)
    await business.until("Good")


@pytest.mark.slow  # the twin without a server: tests/unit/operators/domain/rollout/test_metrics.py
async def test_should_hold_when_a_series_has_vanished_and_when_the_server_hangs(business: Business) -> None:
    await start(business, soak=6)
    await business.until("Soaking")
    business.hidden.add(business.fleet.clusters[0])
    shown = await business.until("Holding", "orders: no data (")
    assert "no sample in the last 20 s" in shown["message"] or "is empty" in shown["message"]
    business.hidden.clear()
    business.server.freeze()
    await business.until("Holding", "did not answer within 2 s")
    business.server.thaw()
    await business.until("Good")


@pytest.mark.slow  # the twins without a server: tests/unit/operators/domain/rollout/test_metrics.py, test_state.py
async def test_should_hold_when_orders_are_lost_everywhere_alike(business: Business) -> None:
    await start(business, soak=8)
    await business.until("Soaking")
    business.everywhere = 0.5
    shown = await business.until("Holding", "this is not the change")
    assert await business.fleet.touched() == [business.fleet.clusters[0]]
    assert shown["stages"][0]["verdict"] == "HOLD"


@pytest.mark.slow  # the twins without a server: tests/unit/operators/domain/rollout/test_metrics.py, test_state.py
async def test_should_not_begin_without_a_baseline(business: Business) -> None:
    business.server.kill()
    await start(business)
    await business.until("Holding", "Prometheus cannot be reached")
    assert await business.fleet.touched() == []


async def test_should_refuse_metrics_where_no_prometheus_is_known(business: Business) -> None:
    business.operator = RolloutOperator(business.fleet)
    await start(business)
    await business.until("Refused", "the operator knows no Prometheus")
