"""Every change of a breaker, and every word of a person, is told once: an event on the budget with its sentence, and a count. On a real API server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from operators.adapters.kube import KubeClient
from operators.api.risk import Outcome, Target
from operators.cluster_operator.risk.breakers import Teller
from operators.domain.risk.decide import Ask, Granted
from operators.domain.risk.facts import Facts
from operators.domain.risk.identity import EntryKey, stamp
from operators.ports.kube import Kind
from operators.services.risk_facts import BUDGET
from tests.integration.risk.risk_centres import Centre, Clock
from tests.unit.operators.domain.risk.builders import KnownFacts, budget

pytestmark = pytest.mark.integration
EVENT = Kind("events.k8s.io/v1", "Event")
METRIC = "kok_breaker_transitions_total"


class Story:
    """One budget that trips when it is exceeded, and a risk centre that looks."""

    def __init__(self, centre: Centre, kube: KubeClient, clock: Clock) -> None:
        self.centre, self.kube, self.clock, self.name = centre, kube, clock, f"events-{uuid4().hex[:8]}"
        self._asked = 0

    async def make(self) -> None:
        limits: dict[str, Any] = {"rate": {"count": 2, "windowSeconds": 60}, "concurrency": {"count": 5}, "onExceed": "TripBreaker"}
        rule = {"coolDownSeconds": 30, "probeSeconds": 60}
        scope = {"names": [f"{self.centre.namespace}/demo"]}
        made = budget(self.name, "Cluster", operations=["UpgradePlane"], clusters=scope, breaker=rule, **limits)
        self.centre = replace(self.centre, facts=KnownFacts(Facts((made,))))
        await self.kube.create(made.manifest())
        await self.look()

    async def ask(self) -> bool:
        """Whether a change is granted; it ends at once, well."""
        self._asked += 1
        key = EntryKey(self.centre.namespace, f"op-{self._asked}")
        ask = Ask(key, "UpgradePlane", Target(kind="Cluster", name="demo", cluster="demo"), "person/jane", 0, 900)
        return isinstance(await self.centre.ledger.reserve(ask), Granted)

    async def end(self, outcome: Outcome) -> None:
        held = (await self.centre.stored()).spec.in_flight
        keys = [EntryKey(each.namespace, each.op_id) for each in held]
        await self.centre.ledger.release(keys, dict.fromkeys(keys, outcome))

    async def look(self, seconds: float = 30.0) -> None:
        self.clock.ahead += seconds
        await self.centre.show_budgets()

    async def events(self) -> list[tuple[str, str]]:
        """Reason and type of each, in the order in which they came."""
        found = [each for each in (await self.kube.list(EVENT, namespace="default")).items if each["regarding"]["name"] == self.name]
        assert all(each["note"] for each in found)
        ordered = sorted(found, key=lambda each: int(each["metadata"]["resourceVersion"]))
        assert all((each.get("series") or {}).get("count", 1) == 1 for each in ordered), "each once"
        return [(each["reason"], each["type"]) for each in ordered]

    def counted(self) -> dict[tuple[str, str], float]:
        """By phase and cause."""
        samples = [one for metric in self.centre.metrics.registry.collect() for one in metric.samples]
        return {
            (one.labels["phase"], one.labels["cause"]): one.value
            for one in samples
            if one.name == METRIC and one.labels["budget"] == self.name
        }

    async def trip(self) -> None:
        """Two are allowed, and the third opens it."""
        assert await self.ask()
        assert await self.ask()
        await self.end(Outcome.Succeeded)
        assert not await self.ask()
        await self.look(20)

    async def half_open(self) -> None:
        for _ in range(5):
            await self.look(60)


@pytest.fixture
async def story(centre: Centre, kube: KubeClient, clock: Clock) -> AsyncIterator[Story]:
    told = Story(centre, kube, clock)
    await told.make()
    yield told
    await kube.delete(BUDGET.ref(told.name))
    await centre.connector.close()


OPENED, HALF, CLOSED = ("BreakerOpen", "Warning"), ("BreakerHalfOpen", "Normal"), ("BreakerClosed", "Normal")


async def test_should_tell_of_every_phase_once(story: Story) -> None:
    await story.trip()
    assert await story.events() == [OPENED]
    await story.half_open()
    assert await story.events() == [OPENED, HALF]
    assert await story.ask()
    await story.end(Outcome.Succeeded)
    for _ in range(3):
        await story.look()
    assert await story.events() == [OPENED, HALF, CLOSED]
    assert story.counted() == {("Open", "Exceeded"): 1, ("HalfOpen", "Exceeded"): 1, ("Closed", "Exceeded"): 1}


async def test_should_tell_of_a_probe_that_failed(story: Story) -> None:
    await story.trip()
    await story.half_open()
    assert await story.ask()
    await story.end(Outcome.Failed)
    for _ in range(2):
        await story.look(20)
    assert await story.events() == [OPENED, HALF, OPENED]
    assert story.counted() == {("Open", "Exceeded"): 2, ("HalfOpen", "Exceeded"): 1}


@pytest.mark.parametrize("mode", ["ForcedOpen", "Disabled"])
async def test_should_tell_of_a_person_who_holds_it_until_that_is_over(story: Story, mode: str) -> None:
    hold = {"mode": mode, "reason": "incident 42", "until": stamp(story.clock.now() + timedelta(seconds=120)), "by": "jane"}
    await story.kube.patch_json(BUDGET.ref(story.name), {"spec": {"hold": hold}})
    for _ in range(2):
        await story.look(31)
    assert await story.events() == [(f"Breaker{mode}", "Warning")]
    await another_process(story)
    assert len(await story.events()) == 1, "a process that starts goes by what is shown"
    await story.kube.patch_json(BUDGET.ref(story.name), {"spec": {"hold": {**hold, "reason": "incident 43"}}})
    await story.look(31)
    assert story.counted() == {(mode, "Person"): 1}, "another word is told, too"
    await story.look(90)
    assert await story.events() == [(f"Breaker{mode}", "Warning")] * 2 + [("BreakerReleased", "Normal")]
    assert story.counted() == {(mode, "Person"): 1, ("Released", "Person"): 1}, "and counts what it saw itself"


async def another_process(story: Story) -> None:
    story.centre = replace(story.centre)
    await story.look(0)


async def test_should_hear_nothing_where_nobody_tells(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    """The positive control."""

    async def says_nothing(*_: object) -> None:
        return None

    monkeypatch.setattr(Teller, "tell", says_nothing)
    await story.trip()
    assert await story.events() == []
    assert story.counted() == {}
