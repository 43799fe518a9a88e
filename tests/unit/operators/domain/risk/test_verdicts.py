"""FAIL verdicts: which breakers they open, once, for how long, and what a person's word does."""

from __future__ import annotations

from typing import Any

import pytest

from operators.api.budgets import OperationBudget
from operators.api.risk import BreakerCause, BreakerPhase, LedgerSpec, Operation, Purpose
from operators.domain.risk.breaker_sweep import swept
from operators.domain.risk.decide import Denied, Granted, Verdict, decide
from operators.domain.risk.facts import Facts
from operators.domain.risk.identity import stamp
from operators.domain.risk.scopes import ClusterId
from operators.domain.risk.verdicts import MOST, WIDE, Causes, FailVerdict, Reached
from tests.unit.operators.domain.risk.builders import ask, budget, later, ledger, machine
from tests.unit.operators.domain.risk.test_breaker import breaker

DEMO = ClusterId("demo", "demo")
OTHER = ClusterId("other", "other")


def planes(per: str = "Cluster", **spec: Any) -> OperationBudget:
    return budget("planes", per, operations=["UpgradePlane"], **({"rate": {"count": 9, "windowSeconds": 600}} | spec))


def failed(number: int = 1, seconds: float = 0, **changes: Any) -> FailVerdict:
    fields: dict[str, Any] = {"operation": Operation.UpgradePlane, "reached": (Reached(DEMO),), "count": 1}
    return FailVerdict(f"u-{number}/", f"train-{number}", "v2", "stage canary failed: no pods", later(seconds), **(fields | changes))


def seen(*verdicts: FailVerdict, **labels: dict[str, str]) -> Causes:
    return Causes(verdicts, {ClusterId(name, name): each for name, each in labels.items()})


def open_scopes(held: LedgerSpec) -> list[tuple[str, str]]:
    return [(each.budget, each.scope) for each in held.breakers if each.phase is BreakerPhase.Open]


def asked(held: LedgerSpec, of: OperationBudget, cluster: str, seconds: float, **request: Any) -> Verdict:
    target = machine(cluster, cluster=cluster).model_copy(update={"kind": "Cluster", "pool": ""})
    question = ask("new", target, operation="UpgradePlane", namespace=cluster, **request)
    return decide(question, held, Facts((of,)), later(seconds))


def test_should_open_the_breaker_of_the_cluster_that_it_reached_and_of_no_other() -> None:
    held = swept(ledger(), (planes(),), later(1), seen(failed()))
    (opened,) = held.breakers
    assert (opened.phase, opened.scope, opened.cause, opened.origin) == (
        BreakerPhase.Open, "cluster demo/demo", BreakerCause.Verdict, "u-1/",
    )  # fmt: skip
    assert opened.reason == "rollout train-1 found v2 bad, which it had brought to demo/demo: stage canary failed: no pods"
    no = asked(held, planes(), "demo", 2)
    assert isinstance(no, Denied)
    assert f"open since {stamp(later(1))}: rollout train-1 found v2 bad" in no.message
    assert "and until that rollout has ended, or by kok budget close planes" in no.message
    assert isinstance(asked(held, planes(), "other", 2), Granted), "one cluster's trouble is not another's"
    for purpose in (Purpose.Rollback, Purpose.Repair):
        assert isinstance(asked(held, planes(), "demo", 2, purpose=purpose), Granted)


@pytest.mark.parametrize(
    ("of", "verdicts", "opens"),
    [
        (planes("Fleet"), 1, []),
        (planes("Fleet"), 9, []),
        (planes("Fleet", breaker={"failedRollouts": 2}), 1, []),
        (planes("Fleet", breaker={"failedRollouts": 2}), 2, ["the fleet"]),
        (planes(breaker={"failedRollouts": 0}), 3, []),
        (planes(breaker={"failedRollouts": 3}), 2, []),
        (planes(clusters={"names": ["other/other"]}), 3, []),
        (planes(clusters={"matchLabels": {"env": "prod"}}), 1, []),
        (planes(clusters={"matchLabels": {"env": "test"}}), 1, ["cluster demo/demo"]),
        (planes(hold={"mode": "Disabled", "reason": "x", "until": "2030-01-01T00:00:00Z"}), 3, []),
        (budget("planes", "Cluster", operations=["RestartMaster"]), 3, []),
    ],
)
def test_should_open_what_the_budget_says(of: OperationBudget, verdicts: int, opens: list[str]) -> None:
    known = seen(*(failed(number, number) for number in range(verdicts)), demo={"env": "test"})
    held = swept(ledger(), (of,), later(20), known)
    assert [scope for _, scope in open_scopes(held)] == opens
    assert len(held.verdicts) == verdicts, "taken, whatever came of them"


def test_should_count_failed_rollouts_over_sweeps_within_the_window_and_since_the_last_close() -> None:
    of = planes("Fleet", breaker={"failedRollouts": 2})
    one = swept(ledger(), (of,), later(1), seen(failed(1)))
    assert open_scopes(one) == []
    late = swept(one, (of,), later(700), seen(failed(1), failed(2, 699)))
    assert open_scopes(late) == [], "the first one is out of the window"
    two = swept(one, (of,), later(100), seen(failed(1), failed(2, 99)))
    assert open_scopes(two) == [("planes", "the fleet")]
    shut = planes("Fleet", breaker={"failedRollouts": 2}, close={"at": two.breakers[0].opened_at, "reason": "seen"})
    after = swept(two, (shut,), later(110), seen(failed(1), failed(2, 99)))
    again = swept(after, (shut,), later(120), seen(failed(1), failed(2, 99), failed(3, 119)))
    assert open_scopes(again) == [], "it takes two more"


def test_should_open_the_fleets_breaker_when_the_change_had_reached_many() -> None:
    assert open_scopes(swept(ledger(), (planes("Fleet"),), later(1), seen(failed(count=WIDE)))) == []
    assert open_scopes(swept(ledger(), (planes("Fleet"),), later(1), seen(failed(count=WIDE + 1)))) == [("planes", "the fleet")]


def test_should_open_the_breaker_of_a_pool_and_of_no_zone() -> None:
    of_pool = failed(operation=Operation.ApplyPackage, reached=(Reached(DEMO, "workers"),))
    budgets = (budget("pools"), budget("zones", "FailureDomain"), budget("clusters", "Cluster"), planes())
    held = swept(ledger(), budgets, later(1), seen(of_pool))
    assert open_scopes(held) == [("clusters", "cluster demo/demo"), ("pools", "pool demo/workers")]


def test_should_take_a_verdict_once_also_after_a_restart_and_after_it_closed() -> None:
    known = seen(failed(is_over=True))
    first = swept(ledger(), (planes(),), later(1), known)
    assert swept(first, (planes(),), later(2), known).breakers[0].since == first.breakers[0].since, "taken already"
    again = LedgerSpec.model_validate(first.model_dump(mode="json", by_alias=True, exclude_none=True))
    assert again == first, "what is stored is all there is"
    half = swept(swept(again, (planes(),), later(2), known), (planes(),), later(700), known)
    assert [each.phase for each in half.breakers] == [BreakerPhase.HalfOpen]
    gone = half.model_copy(update={"breakers": ()})
    assert swept(gone, (planes(),), later(5000), known).breakers == ()


@pytest.mark.parametrize("at", [60, 86000])
def test_should_open_for_what_happened_while_nobody_looked(at: float) -> None:
    assert open_scopes(swept(ledger(), (planes(),), later(at), seen(failed()))) == [("planes", "cluster demo/demo")]
    assert swept(ledger(), (planes(),), later(86400), seen(failed())).breakers == (), "but not for what was yesterday"


def test_should_stay_open_until_its_rollout_has_ended_and_half_open_a_minute_later() -> None:
    of, going, over = (planes(),), seen(failed()), seen(failed(is_over=True))
    held = swept(ledger(), of, later(1), going)
    held = swept(held, of, later(5000), going)
    assert open_scopes(held) == [("planes", "cluster demo/demo")]
    held = swept(held, of, later(5010), over)
    assert held.breakers[0].calm_since == stamp(later(5010))
    assert swept(held, of, later(5069), over) is held
    assert swept(held, of, later(5070), over).breakers[0].phase is BreakerPhase.HalfOpen
    assert isinstance(asked(held, of[0], "demo", 5070), Granted), "who asks first is the probe"
    back = swept(held, of, later(5020), going)
    assert back.breakers[0].calm_since == "", "it is being undone once more: not calm any more"


def test_should_close_when_a_person_said_that_the_version_was_not_to_blame() -> None:
    held = swept(ledger(), (planes(),), later(1), seen(failed()))
    (shut,) = swept(held, (planes(),), later(5), seen(failed(is_lifted=True))).breakers
    assert (shut.phase, shut.reason) == (
        BreakerPhase.Closed,
        "closed: a person said that v2 was not to blame for the failure of rollout train-1",
    )
    assert swept(ledger(), (planes(),), later(1), seen(failed(is_lifted=True))).breakers == (), "and opens nothing from then on"


CLOSE = {"at": stamp(later(1)), "reason": "seen", "by": "jane"}


def test_should_stay_closed_when_a_person_closed_it_and_open_for_the_next_verdict() -> None:
    opened = swept(ledger(), (planes(),), later(1), seen(failed()))
    of = planes(close=CLOSE)
    assert isinstance(asked(opened, of, "demo", 5), Granted), "at once, for who asks first"
    held = swept(opened, (of,), later(5), seen(failed()))
    (shut,) = held.breakers
    assert (shut.phase, shut.reason) == (BreakerPhase.Closed, "closed by jane: seen")
    forgotten = held.model_copy(update={"verdicts": ()})
    assert open_scopes(swept(forgotten, (of,), later(9), seen(failed()))) == [], "it is older than her word"
    assert open_scopes(swept(held, (of,), later(60), seen(failed(), failed(2, 50)))) == [("planes", "cluster demo/demo")]


@pytest.mark.parametrize(
    ("close", "stays"),
    [
        (CLOSE | {"scope": "cluster other/other"}, True),
        (CLOSE | {"scope": "cluster demo/demo"}, False),
        (CLOSE | {"at": stamp(later(0))}, True),
        (CLOSE | {"at": stamp(later(500))}, True),
    ],
)
def test_should_close_only_what_the_person_meant(close: dict[str, Any], stays: bool) -> None:
    held = swept(ledger(), (planes(),), later(1), seen(failed()))
    after = swept(held, (planes(close=close),), later(5), seen(failed()))
    assert bool(open_scopes(after)) == stays


@pytest.mark.parametrize(("phase", "cool_down"), [(BreakerPhase.HalfOpen, 1200), (BreakerPhase.Open, 600), (BreakerPhase.Closed, 600)])
def test_should_double_the_cool_down_of_one_that_was_half_open(phase: BreakerPhase, cool_down: int) -> None:
    old = breaker(phase, budget="planes", scope="cluster demo/demo", probe="p" if phase is BreakerPhase.HalfOpen else "")
    (opened,) = swept(ledger(breakers=(old,)), (planes(),), later(9), seen(failed(seconds=8))).breakers
    assert (opened.phase, opened.cool_down_seconds, opened.since) == (BreakerPhase.Open, cool_down, stamp(later(9)))


def test_should_remember_no_more_than_fits() -> None:
    many = seen(*(failed(number, number) for number in range(MOST + 50)))
    held = swept(ledger(), (planes(),), later(900), many)
    assert len(held.verdicts) == MOST
    assert swept(held, (planes(),), later(901), many) is held, "what is too old to be remembered opens nothing either"
    assert swept(held, (planes(),), later(90000), Causes()).verdicts == ()
    wide = failed(reached=tuple(Reached(ClusterId(f"n{number}", "c")) for number in range(200)), count=2000)
    assert "and 1997 more" in wide.words
