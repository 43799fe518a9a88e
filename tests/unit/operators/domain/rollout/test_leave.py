"""What the risk centre would say, asked before a member is started: breakers, rates, slots; and that it says the same as the risk centre."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from operators.api.budgets import OperationBudget
from operators.api.risk import LedgerSpec
from operators.domain.risk.decide import Ask, Denied, decide
from operators.domain.risk.facts import Facts, FleetCluster, Member
from operators.domain.risk.identity import EntryKey, stamp
from operators.domain.risk.scopes import ClusterId
from operators.domain.rollout.leave import NO_BUDGET, Leave
from operators.domain.rollout.state import next_step
from operators.domain.rollout.view import Authorise, GoBack, State, Wait
from tests.unit.operators.domain.rollout.builders import FAIL, START, rollout
from tests.unit.operators.domain.rollout.world import World

FLEET = {f"prod/c{number}": {"env": "prod"} for number in range(6)}


def budget(per: str = "Fleet", **spec: Any) -> OperationBudget:
    fields = {"operations": ["UpgradePlane"], "scope": {"per": per, "clusters": {"all": True}}, "concurrency": {"count": 2}}
    return OperationBudget.parse({"kind": "OperationBudget", "metadata": {"name": "planes"}, "spec": fields | spec})


def ledger(**spec: Any) -> LedgerSpec:
    return LedgerSpec.model_validate(spec)


def breaker(scope: str, phase: str = "Open") -> LedgerSpec:
    entry = {"budget": "planes", "scope": scope, "phase": phase, "since": stamp(START), "coolDownSeconds": 600, "reason": "5 of 6 failed"}
    return ledger(breakers=[entry])


def holding(*names: str) -> LedgerSpec:
    until = stamp(START + timedelta(hours=1))
    return ledger(
        inFlight=[
            {
                "opId": f"op-{name}",
                "namespace": "prod",
                "operation": "UpgradePlane",
                "target": {"kind": "Cluster", "name": name, "cluster": name},
                "requester": f"cluster-operator/{name}",
                "grantedAt": stamp(START),
                "expiresAt": until,
            }
            for name in names
        ]
    )


def leave(stored: LedgerSpec, *budgets: OperationBudget) -> Leave:
    return Leave(FLEET, budgets, stored, START)


@pytest.mark.parametrize(
    ("stored", "made", "words"),
    [
        (breaker("the fleet"), budget(), "says no by its breaker in the fleet: open since"),
        (breaker("the fleet", "Closed"), budget(), ""),
        (breaker("cluster prod/c1"), budget("Cluster"), "says no by its breaker in cluster prod/c1"),
        (breaker("cluster prod/c2"), budget("Cluster"), ""),
        (holding("c2", "c3"), budget(), "2 of at most 2 targets are out of service"),
        (holding("c2"), budget(), ""),
        (holding("c1", "c2"), budget(), ""),
        (ledger(), budget(hold={"mode": "ForcedOpen", "reason": "incident", "until": stamp(START + timedelta(hours=1))}), "frozen until"),
    ],
    ids=["open", "closed", "open of its own", "open of another", "no slot", "a slot", "its own slot", "frozen"],
)
def test_should_say_what_the_risk_centre_says(stored: LedgerSpec, made: OperationBudget, words: str) -> None:
    said = leave(stored, made).why_not("prod/c1")
    assert words in said
    assert bool(words) == bool(said)
    own = ClusterId("prod", "c1")
    target = holding("c1").in_flight[0].target
    ask = Ask(EntryKey("prod", "new"), "UpgradePlane", target, "cluster-operator/c1", 0, 900)
    every = {
        ClusterId("prod", key.split("/")[1]): FleetCluster(ClusterId("prod", key.split("/")[1]), labels, 0) for key, labels in FLEET.items()
    }
    verdict = decide(ask, stored, Facts((made,), {"env": "prod"}, (Member(own, target),), every), START)
    assert isinstance(verdict, Denied) == bool(said), "the risk centre says the same"


def test_should_say_no_without_a_budget() -> None:
    assert leave(ledger()).why_not("prod/c1") == NO_BUDGET.format(operation="UpgradePlane")


def test_should_start_nobody_while_the_breaker_is_open_and_the_next_one_once_it_is_closed() -> None:
    world = World.of(rollout())
    world.run()
    world.now += timedelta(seconds=61)
    world.do(next_step(world.view()))
    world.do(next_step(world.view()))
    for stored, expected in ((breaker("the fleet"), Wait), (breaker("the fleet", "Closed"), Authorise)):
        step = next_step(replace(world.view(), leave=leave(stored, budget())))
        assert isinstance(step, expected), step
        assert step.state is State.Changing


def test_should_pass_over_a_member_whose_own_breaker_is_open() -> None:
    world = World.of(rollout({"name": "all", "rest": True}))
    world.do(next_step(world.view()))
    first, second = (member.key for member in world.plan.members[:2])
    step = next_step(replace(world.view(), leave=leave(breaker(f"cluster {first}"), budget("Cluster"))))
    assert isinstance(step, Authorise)
    assert step.key == second


def test_should_go_back_whatever_the_breaker_says() -> None:
    world = World.of(rollout())
    world.run()
    world.verdict = FAIL
    world.do(next_step(world.view()))
    assert isinstance(next_step(replace(world.view(), leave=leave(breaker("the fleet"), budget()))), GoBack)
