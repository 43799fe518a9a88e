"""Storms: how many lost targets are one, who is not lost, and what ends it."""

from __future__ import annotations

from typing import Any

import pytest

from operators.api.risk import BreakerCause, BreakerPhase, LedgerSpec, Purpose, Target
from operators.domain.risk.breaker_sweep import swept
from operators.domain.risk.decide import Denied, Granted, Verdict, decide
from operators.domain.risk.explain import explained
from operators.domain.risk.facts import Facts, FleetCluster, Member
from operators.domain.risk.identity import stamp
from operators.domain.risk.scopes import ClusterId, place_of
from operators.domain.risk.sighting import lost_at
from tests.unit.operators.domain.risk.builders import ask, budget, entry, later, ledger, machine, spent

OWN = ClusterId("demo", "demo")
SCOPE = "pool demo/workers"
POOL = budget(concurrency={"count": 50}, breaker={"coolDownSeconds": 600})
HERE = place_of(spent(target=machine("m19")))


def sight(lost: int, *, total: int = 20, since: float = 0, of: Any = POOL, looks: bool = True) -> Facts:
    """A pool of which the first `lost` machines were lost at `since`."""
    members = tuple(
        Member(
            OWN,
            machine(f"m{number}"),
            "its Node's Ready condition is Unknown" if number < lost else "",
            later(since) if number < lost else None,
        )
        for number in range(total)
    )
    return Facts((of,), members=members, sees_losses=looks)


def asked(held: LedgerSpec, facts: Facts, seconds: float, **request: Any) -> Verdict:
    return decide(ask("new", machine("m19"), **request), held, facts, later(seconds))


@pytest.mark.parametrize(
    ("lost", "total", "seconds", "opens"),
    [
        (5, 20, 60, False),
        (6, 20, 60, True),
        (6, 20, 59, False),
        (6, 20, 599, True),
        (6, 20, 600, False),
        (2, 4, 60, False),
        (3, 4, 60, True),
    ],
)
def test_should_open_when_too_many_were_lost_for_a_minute_and_not_long_ago(lost: int, total: int, seconds: float, opens: bool) -> None:
    verdict = decide(ask("new", machine(f"m{total - 1}")), ledger(), sight(lost, total=total), later(seconds))
    assert isinstance(verdict, Denied) == opens, verdict
    if not isinstance(verdict, Denied):
        return
    words = f"a storm, {lost} of {total} targets of kind Machine were lost within 600 s in nobody's hands: m0 (its Node's Ready condition is Unknown)"
    assert words in verdict.message
    assert verdict.ledger is not None
    (opened,) = verdict.ledger.breakers
    assert (opened.cause, opened.phase, opened.scope) == (BreakerCause.Storm, BreakerPhase.Open, SCOPE)


def test_should_say_why_before_anybody_tries() -> None:
    told = explained(ask("new", machine("m19")), ledger(), sight(6), later(60))
    assert "breaker: open since" in told.opinions[0].refusals[0]
    assert "a storm, 6 of 20" in told.opinions[0].refusals[0]


def test_should_count_nobody_who_is_in_somebodys_hands_nor_the_asker() -> None:
    held = ledger(entry("op-0", machine("m0")))
    assert isinstance(asked(held, sight(6), 60), Granted), "that one was planned"
    own = decide(ask("new", machine("m0")), ledger(), sight(6), later(60))
    assert isinstance(own, Granted), "its own target is no reason against it"


@pytest.mark.parametrize("purpose", [Purpose.Rollback, Purpose.Repair])
def test_should_never_block_rollback_and_repair(purpose: Purpose) -> None:
    verdict = asked(ledger(), sight(20), 60, purpose=purpose)
    assert isinstance(verdict, Granted)
    assert [each.cause for each in verdict.ledger.breakers] == [BreakerCause.Storm], "and it is known from then on"


def test_should_say_nothing_where_nobody_looked_or_a_budget_wants_none() -> None:
    assert isinstance(asked(ledger(), sight(20, looks=False), 60), Granted)
    never = budget(concurrency={"count": 50}, breaker={"storm": {"percent": 0}})
    assert isinstance(asked(ledger(), sight(20, of=never), 60), Granted)


def tripped() -> LedgerSpec:
    verdict = asked(ledger(), sight(6), 60)
    assert isinstance(verdict, Denied)
    assert verdict.ledger is not None
    return verdict.ledger


def looked(held: LedgerSpec, facts: Facts | None, seconds: float) -> LedgerSpec:
    return swept(held, (POOL,), later(seconds), looks={("one", SCOPE): (HERE, facts)} if facts else {})


def test_should_stay_open_until_half_of_them_are_back_for_a_minute() -> None:
    """Sixteen minutes later they are old news, and new ones have come; only then it calms down."""
    held = tripped()
    assert looked(held, sight(4, since=900), 1000) is held
    calm = looked(held, sight(3, since=900), 1000)
    assert (calm.breakers[0].phase, calm.breakers[0].calm_since) == (BreakerPhase.Open, stamp(later(1000)))
    assert looked(calm, sight(3, since=900), 1059) is calm, "a pass that changes nothing writes nothing"
    assert looked(calm, sight(4, since=900), 1059).breakers[0].calm_since == ""
    assert looked(calm, sight(3, since=900), 1060).breakers[0].phase is BreakerPhase.HalfOpen
    assert looked(held, None, 5000) is held, "who was not looked at is not back"
    early = looked(tripped(), sight(0), 100)
    assert looked(early, sight(0), 659).breakers[0].phase is BreakerPhase.Open, "and never before the cool-down"


def test_should_not_open_again_for_losses_of_before_a_person_closed_it() -> None:
    of = budget(concurrency={"count": 50}, close={"at": stamp(later(60)), "reason": "the rack has power again"})
    verdict = asked(tripped(), sight(6, of=of), 70)
    assert isinstance(verdict, Granted)
    shut = verdict.ledger
    assert [each.phase for each in shut.breakers] == [BreakerPhase.Closed]
    kept = shut.model_copy(update={"in_flight": ()})
    assert isinstance(asked(kept, sight(6, of=of), 200), Granted)
    assert isinstance(asked(kept, sight(6, since=100, of=of), 200), Denied), "new ones are a new storm"


def plane(number: int, *, lost: bool) -> FleetCluster:
    name = ClusterId(f"n{number}", "c")
    return FleetCluster(name, {}, 0, "its API server is unavailable" if lost else "", later(0) if lost else None)


@pytest.mark.parametrize(("lost", "opens"), [(2, False), (3, True)])
def test_should_count_planes_in_the_fleets_scope_and_never_one_clusters_machines(lost: int, opens: bool) -> None:
    of = budget("fleet", "Fleet", rate={"count": 99, "windowSeconds": 600})
    fleet = {each.cluster: each for each in (plane(number, lost=number < lost) for number in range(6))}
    target = Target(kind="Cluster", name="c", cluster="c")
    verdict = decide(
        ask("new", target, namespace="n5", operation="UpgradePlane"), ledger(), Facts((of,), fleet=fleet, sees_losses=True), later(90)
    )
    assert isinstance(verdict, Denied) == opens
    machines = Facts((of,), members=sight(20).members, fleet=fleet, sees_losses=True)
    assert isinstance(decide(ask("new", machine("m19")), ledger(), machines, later(90)), Granted)


@pytest.mark.parametrize(
    ("status", "since", "lost"), [("Unknown", 70, True), ("False", 60, True), ("False", 59, False), ("True", 70, False)]
)
def test_should_not_take_for_lost_what_is_being_made(status: str, since: float, lost: bool) -> None:
    condition = {"type": "Ready", "status": status, "lastTransitionTime": stamp(later(since))}
    node = {"metadata": {"creationTimestamp": stamp(later(0))}, "status": {"conditions": [condition]}}
    assert lost_at(node) == (later(since) if lost else None)
    assert lost_at({"metadata": {"creationTimestamp": stamp(later(0))}}) is None
