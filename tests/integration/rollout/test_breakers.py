"""A rollout that fails opens the breaker of the cluster that it had reached, on a real API server: once, whoever dies when, until a person or time closes it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from operators.adapters.kube import KubeClient
from operators.api.risk import BreakerCause, BreakerPhase, Purpose, Target
from operators.cluster_operator.rollout import kinds
from operators.domain.risk.decide import Ask, Denied, Granted, Verdict
from operators.domain.risk.identity import EntryKey
from operators.ports.kube import Kind, Ref, Unreachable
from operators.services.risk_facts import BUDGET, RiskFacts
from tests.integration.kube_proxies import Killed, RecordingKube
from tests.integration.risk.risk_centres import Centre, Clock
from tests.integration.rollout.fleet import NEW, OLD, Fleet, RolloutOperator
from tests.integration.rollout.test_bad_versions import KilledByItsMark
from tests.unit.operators.domain.risk.builders import budget

pytestmark = pytest.mark.usefixtures("crds")


class Story:
    """One fleet of two, a budget per cluster, and a risk centre that looks."""

    def __init__(self, fleet: Fleet, rollout: str) -> None:
        self.fleet, self.rollout, self.clock = fleet, rollout, Clock()
        self.budget = f"cluster.{fleet.name}"
        self.centre = self.other_centre()

    def other_centre(self, kube: Any = None) -> Centre:
        """A process with nothing in its memory."""
        centre = Centre(kube or self.fleet.kube, self.fleet.system, self.clock)
        return replace(centre, facts=RiskFacts(centre.kube, centre.connector))

    async def ask(self, number: int, purpose: Purpose = Purpose.Forward) -> Verdict:
        """Whether somebody else may change that plane now."""
        namespace, name = self.fleet.clusters[number].split("/")
        target = Target(kind="Cluster", name=name, cluster=name)
        key = EntryKey(namespace, f"upgrade-{uuid4().hex[:8]}")
        return await self.centre.ledger.reserve(Ask(key, "UpgradePlane", target, "person/jane", 0, 900, purpose))

    async def forget(self) -> None:
        """What was granted to jane is given back."""
        await self.centre.ledger.release([EntryKey(each.namespace, each.op_id) for each in (await self.centre.stored()).spec.in_flight])

    async def phases(self) -> dict[str, BreakerPhase]:
        return {each.scope: each.phase for each in (await self.centre.stored()).spec.breakers if each.budget == self.budget}

    @property
    def scope(self) -> str:
        """That of the canary."""
        return f"cluster {self.fleet.clusters[0]}"


@pytest.fixture
async def story(kube: KubeClient) -> AsyncIterator[Story]:
    """The canary is changed, and makes no pods from now on; it would not come up with what it had, either, so that it stays on its way back."""
    fleet, rollout = await Fleet.of(kube, 2), f"train-{uuid4().hex[:8]}"
    told = Story(fleet, rollout)
    scope = {"names": list(fleet.clusters)}
    await kube.create(
        budget(told.budget, "Cluster", operations=["UpgradePlane"], clusters=scope, breaker={"coolDownSeconds": 600}).manifest()
    )
    await fleet.planes_follow()
    stages = ({"name": "canary", "clusters": [fleet.clusters[0]], "soakSeconds": 600}, {"name": "rest", "rest": True})
    await kube.create(fleet.manifest(rollout, *stages))
    await RolloutOperator(fleet).until(rollout, "Soaking")
    fleet.no_pods.add(NEW)
    fleet.broken.add(OLD)
    yield told
    await kube.delete(BUDGET.ref(told.budget))
    await told.centre.connector.close()


async def test_should_let_nobody_else_change_the_cluster_that_a_bad_rollout_had_reached(story: Story) -> None:
    await story.centre.show_budgets()  # from here on changes are told
    assert isinstance(await story.ask(0), Granted)
    await story.forget()
    operator = RolloutOperator(story.fleet)
    await operator.until(story.rollout, "GoingBack")
    story.clock.ahead += 10
    await story.centre.show_budgets()
    no = await story.ask(0)
    assert isinstance(no, Denied)
    assert f"says no by its breaker in {story.scope}: open since" in no.message
    assert f"rollout {story.rollout} found {NEW} bad, which it had brought to {story.fleet.clusters[0]}: stage canary failed" in no.message
    assert isinstance(await story.ask(1), Granted), "the other cluster's breaker is its own"
    assert isinstance(await story.ask(0, Purpose.Rollback), Granted), "and the way back is never barred"
    await story.forget()
    await told_alike(story)
    story.clock.ahead += 700
    await story.centre.show_budgets()
    assert isinstance(await story.ask(0), Denied), "it goes back still"
    story.fleet.broken.clear()
    await operator.until(story.rollout, "Bad")
    for _ in range(2):
        await story.centre.show_budgets()
        story.clock.ahead += 65
    await story.centre.show_budgets()
    assert await story.phases() == {story.scope: BreakerPhase.HalfOpen}
    assert isinstance(await story.ask(0), Granted), "the next change is the probe"


async def told_alike(story: Story) -> None:
    """The same sentence as event, as condition, and in the scope's line."""
    kube = story.fleet.kube
    events = (await kube.list(Kind("events.k8s.io/v1", "Event"), namespace="default")).items
    (event,) = [each for each in events if each["regarding"]["name"] == story.budget]
    assert (event["reason"], event["type"]) == ("BreakerOpen", "Warning")
    status = (await kube.get(BUDGET.ref(story.budget)) or {})["status"]
    (ready,) = [each for each in status["conditions"] if each["type"] == "Ready"]
    assert (status["breaker"], ready["status"], ready["reason"], ready["message"]) == ("Open", "True", "BreakerOpen", event["note"])
    assert status["scopes"][0]["breakerReason"] in event["note"]


async def test_should_open_it_for_a_rollout_whose_process_died_right_after_its_mark_and_once(story: Story) -> None:
    with pytest.raises(Killed):
        await RolloutOperator(story.fleet, KilledByItsMark(story.fleet.kube)).until(story.rollout, "GoingBack")

    class DiesBeforeTheLedger(RecordingKube):
        """A risk centre that dies when it would write what it found."""

        def _before(self, verb: str, ref: Ref) -> None:
            if verb.startswith("patch") and ref.kind == "Ledger":
                raise Killed(f"dead, now asked to {verb} {ref}")

    with pytest.raises(Killed):
        await story.other_centre(DiesBeforeTheLedger(story.fleet.kube)).show_budgets()
    assert await story.phases() == {}
    await story.other_centre().show_budgets()
    (opened,) = [each for each in (await story.centre.stored()).spec.breakers if each.budget == story.budget]
    assert (opened.phase, opened.cause, opened.scope) == (BreakerPhase.Open, BreakerCause.Verdict, story.scope)
    story.clock.ahead += 30
    before = (await story.centre.stored()).version
    await story.other_centre().show_budgets()
    assert (await story.centre.stored()).version == before, "it is taken: the next process writes nothing"


async def test_should_stay_closed_when_a_person_closed_it(story: Story) -> None:
    await RolloutOperator(story.fleet).until(story.rollout, "GoingBack")
    await story.centre.show_budgets()
    (opened,) = [each for each in (await story.centre.stored()).spec.breakers if each.budget == story.budget]
    close = {"at": opened.opened_at, "scope": story.scope, "reason": "it was the quota", "by": "jane"}
    await story.fleet.kube.patch_json(BUDGET.ref(story.budget), {"spec": {"close": close}})
    story.clock.ahead += 10
    assert isinstance(await story.ask(0), Granted), "at once"
    await story.forget()
    for _ in range(2):
        await story.other_centre().show_budgets()
        story.clock.ahead += 4000
    assert isinstance(await story.ask(0), Granted), "and for this failure for good"
    assert BreakerPhase.Open not in (await story.phases()).values()


async def test_should_close_when_a_person_accepts_the_failure(kube: KubeClient) -> None:
    """With onFail: Pause nothing is taken back, and who says that the version was not to blame lets the rollout go on."""
    fleet, name = await Fleet.of(kube, 2), f"train-{uuid4().hex[:8]}"
    story = Story(fleet, name)
    await kube.create(budget(story.budget, "Cluster", operations=["UpgradePlane"], clusters={"names": list(fleet.clusters)}).manifest())
    await fleet.planes_follow()
    stages = ({"name": "canary", "clusters": [fleet.clusters[0]], "soakSeconds": 600}, {"name": "rest", "rest": True})
    await kube.create(fleet.manifest(name, *stages, onFail="Pause"))
    operator = RolloutOperator(fleet)
    await operator.until(name, "Soaking")
    fleet.no_pods.add(NEW)
    await operator.until(name, "Failed")
    await story.centre.show_budgets()
    assert await story.phases() == {story.scope: BreakerPhase.Open}
    await kube.patch_json(
        kinds.ROLLOUT.ref(name), {"spec": {"acceptedFailures": ["canary"], "said": {"by": "jane", "reason": "the quota"}}}
    )
    await operator.until(name, "Soaking")
    story.clock.ahead += 10
    await story.centre.show_budgets()
    assert await story.phases() == {story.scope: BreakerPhase.Closed}
    await kube.delete(BUDGET.ref(story.budget))
    await story.centre.connector.close()


async def test_should_be_open_to_everybody_without_the_trigger(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    """The positive control."""
    monkeypatch.setattr("operators.domain.risk.breaker_sweep.with_verdicts", lambda ledger, *_: ledger)
    await RolloutOperator(story.fleet).until(story.rollout, "GoingBack")
    await story.centre.show_budgets()
    assert isinstance(await story.ask(0), Granted)


async def test_should_not_move_a_breaker_while_the_journals_cannot_be_read(story: Story) -> None:
    await RolloutOperator(story.fleet).until(story.rollout, "GoingBack")
    await story.centre.show_budgets()
    before = (await story.centre.stored()).version

    class Blind(RecordingKube):
        async def list(self, kind: Kind, **rest: Any) -> Any:
            if kind.kind == "ControllerRevision":
                raise Unreachable("no answer")
            return await super().list(kind, **rest)

    story.clock.ahead += 5000
    await story.other_centre(Blind(story.fleet.kube)).show_budgets()
    assert (await story.centre.stored()).version == before
    assert isinstance(await story.ask(0), Denied)
