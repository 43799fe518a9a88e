"""A storm on a real API server: Nodes that were Ready and are not, seen when somebody asks, told, and over when they are back."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from operators.adapters.grants_kube import KubeGrants
from operators.api.risk import BreakerCause, BreakerPhase
from operators.domain.risk.identity import at, stamp
from operators.ports.kube import Subresource
from operators.services.risk_facts import BUDGET, RiskFacts
from tests.integration.risk.risk_centres import Centre, denied, granted
from tests.integration.risk.test_budgets import NODE, limit, wanted, world

pytestmark = pytest.mark.integration
__all__ = ["world"]
RULE = {"storm": {"percent": 30, "floor": 2}, "coolDownSeconds": 60}


async def turned(world: Centre, letter: str, status: str) -> None:
    """The Node of that host, as its API server saw it turn more than a minute after it was made."""
    ref = NODE.ref(f"{letter}-{world.namespace}")
    node = await world.kube.get(ref)
    assert node
    since = stamp(at(node["metadata"]["creationTimestamp"]) + timedelta(seconds=90))
    condition = {"type": "Ready", "status": status, "reason": "Test", "message": "", "lastTransitionTime": since}
    await world.kube.patch_json(ref, {"status": {"conditions": [condition]}}, subresource=Subresource.Status)


async def stormy(world: Centre) -> str:
    """Two of three machines are lost; every limit is wide."""
    name = await limit(world, "storm", concurrency={"count": 9}, breaker=RULE)
    await world.show_budgets()  # from here on changes are told
    for letter in ("a", "b"):
        await turned(world, letter, "Unknown")
    world.clock.ahead += 200
    return name


async def test_should_open_when_machines_are_lost_and_half_open_when_they_are_back(world: Centre, grants: KubeGrants) -> None:
    name = await stormy(world)
    words = f"OperationBudget {name} says no by its breaker in pool {world.namespace}/workers: open since"
    answer = await denied(grants, world, wanted(world, "c"))
    assert words in answer.message
    assert "a storm, 2 of 3 targets of kind Machine were lost within 600 s in nobody's hands" in answer.message
    (opened,) = (await world.stored()).spec.breakers
    assert (opened.cause, opened.phase) == (BreakerCause.Storm, BreakerPhase.Open)
    await world.show_budgets()
    status = (await world.kube.get(BUDGET.ref(name)) or {})["status"]
    assert (status["breaker"], status["scopes"][0]["breakerReason"]) == ("Open", opened.reason)
    world.clock.ahead += 70
    await world.show_budgets()
    assert [each.phase for each in (await world.stored()).spec.breakers] == [BreakerPhase.Open], "they are lost still"
    for letter in ("a", "b"):
        await turned(world, letter, "True")
    for _ in range(2):  # a new process each time: seen calm, and a minute later half open, without anybody asking
        other = replace(world, facts=RiskFacts(world.kube, world.connector))
        await other.show_budgets()
        world.clock.ahead += 65
    assert [each.phase for each in (await world.stored()).spec.breakers] == [BreakerPhase.HalfOpen]
    await granted(grants, world, wanted(world, "c", attempt=9))


async def test_should_not_open_without_the_trigger(world: Centre, grants: KubeGrants, monkeypatch: pytest.MonkeyPatch) -> None:
    """The positive control."""
    await stormy(world)
    monkeypatch.setattr("operators.domain.risk.breaker.storm.losses_in", lambda weighed, **_: None)
    await granted(grants, world, wanted(world, "c"))
