"""One budget beside one request: percentages, floors, frozen denominators, windows, reserves, scopes, and what is out of service."""

from __future__ import annotations

from typing import Any

import pytest

from operators.api.budgets import OperationBudget
from operators.api.risk import LedgerSpec, Operation, Purpose, Target, Window
from operators.domain.risk.decide import LONGEST_RETRY, Denied, Granted, Verdict, decide
from operators.domain.risk.facts import Facts, FleetCluster
from operators.domain.risk.identity import stamp
from operators.domain.risk.scopes import ClusterId
from tests.unit.operators.domain.risk.builders import ask, budget, entry, facts, later, ledger, machine, spent


def limited(*sick: str, targets: int = 10, held: LedgerSpec | None = None, seconds: float = 0, **spec: Any) -> Verdict:
    """The answer for machine m0 in a pool of `targets`, of which these are out of service."""
    known = facts(budget(**spec), sick=dict.fromkeys(sick, "its Node is cordoned"), targets=targets)
    return decide(ask(target=machine("m0")), held or ledger(), known, later(seconds))


def allowed(number_of_sick: int, targets: int, **concurrency: int) -> bool:
    """Whether one more may go while so many are out of service."""
    sick = [f"s{number}" for number in range(number_of_sick)]
    return isinstance(limited(*sick, targets=targets, concurrency=concurrency), Granted)


@pytest.mark.parametrize(
    ("limit", "targets", "at_most"),
    [
        ({"count": 1}, 10, 1),
        ({"count": 0}, 10, 0),
        ({"percent": 10}, 10, 1),
        ({"percent": 10}, 19, 1),
        ({"percent": 10}, 20, 2),
        ({"percent": 10}, 9, 0),
        ({"percent": 10, "floor": 1}, 9, 1),
        ({"percent": 10, "floor": 1}, 1, 1),
        ({"percent": 50, "count": 3}, 100, 3),
        ({"percent": 50, "count": 3}, 4, 2),
        ({"percent": 100}, 3, 3),
        ({"percent": 0}, 100, 0),
        ({"percent": 33, "floor": 1}, 3, 1),
    ],
)
def test_should_round_percentages_down_lift_them_to_the_floor_and_cap_them(limit: dict[str, int], targets: int, at_most: int) -> None:
    for out in range(min(targets, 5)):
        assert allowed(out, targets, **limit) == (out < at_most), f"{out} of {targets} are out of service"


def test_should_deny_a_percentage_of_nothing_whatever_the_floor() -> None:
    verdict = limited(targets=0, concurrency={"percent": 100, "floor": 5})
    assert isinstance(verdict, Denied)
    assert "it has no targets, and a percentage of nothing is nothing" in verdict.message
    assert allowed(0, 1, percent=100, floor=5)


def test_should_freeze_the_denominator_while_a_window_lasts() -> None:
    """Twice as many machines do not allow more until the window is over; then they do, and the new window says so."""
    frozen = Window(budget="one", scope="pool demo/workers", started_at=stamp(later(0)), targets=10)
    held = ledger(windows=(frozen,))
    assert isinstance(limited("s0", targets=20, held=held, seconds=3599, concurrency={"percent": 10}), Denied)
    fresh = limited("s0", targets=20, held=held, seconds=3600, concurrency={"percent": 10})
    assert isinstance(fresh, Granted)
    assert [(each.targets, each.started_at) for each in fresh.ledger.windows] == [(20, stamp(later(3600)))]
    short = limited("s0", targets=20, held=held, seconds=60, concurrency={"percent": 10}, rate={"count": 9, "windowSeconds": 60})
    assert isinstance(short, Granted), "its rate says how long a window is"


def test_should_count_the_union_and_its_own_target_once() -> None:
    """m1 is both held and sick, m0 is asked for and sick: two others, one of them twice."""
    held = ledger(entry("op-2", machine("m1")), entry("op-3", machine("m0"), operation=Operation.Cordon))
    assert isinstance(limited("m1", "m0", held=held, concurrency={"count": 2}), Granted)
    verdict = limited("m1", "m0", "m2", held=held, concurrency={"count": 2})
    assert isinstance(verdict, Denied)
    assert "2 of at most 2 targets are out of service: Drain of Machine m1" in verdict.message
    assert "Machine m2: its Node is cordoned, free when it is in order" in verdict.message


def test_should_repair_one_of_three_and_never_two_of_two() -> None:
    small = {"percent": 10, "floor": 1}
    assert isinstance(limited("m0", targets=3, concurrency=small), Granted)
    assert isinstance(limited("m0", "m1", targets=2, concurrency=small), Denied)


@pytest.mark.parametrize(
    ("per", "target", "counts"),
    [
        ("Fleet", machine("x", "gpu", "other"), True),
        ("Cluster", machine("x", "gpu", "other"), False),
        ("Cluster", machine("x", "gpu"), True),
        ("FailureDomain", machine("x", "gpu", zone="z1"), True),
        ("FailureDomain", machine("x", zone="z2"), False),
        ("FailureDomain", machine("x"), False),
        ("Pool", machine("x", "gpu", zone="z1"), False),
        ("Pool", machine("x", zone="z2"), True),
    ],
)
def test_should_count_what_is_in_the_same_scope(per: str, target: Target, counts: bool) -> None:
    held, known = ledger(entry(target=target)), facts(budget("one", per))
    verdict = decide(ask(target=machine("a", zone="z1")), held, known, later(0))
    assert isinstance(verdict, Denied) == counts, verdict


def test_should_count_machines_without_a_zone_together_and_nothing_else_in_zones() -> None:
    known = facts(budget("zones", "FailureDomain"))
    assert isinstance(decide(ask(target=machine("a")), ledger(entry(target=machine("b", "gpu"))), known, later(0)), Denied)
    pod = ask(target=Target(kind="Pod", name="demo-etcd-0", cluster="demo"), operation="RestartMaster")
    verdict = decide(pod, ledger(), known, later(0))
    assert "no OperationBudget is about" in verdict.message


def test_should_take_operations_of_a_budget_together_and_leave_others_alone() -> None:
    known = facts(budget("moves", operations=["Drain", "Reboot"]))
    assert isinstance(decide(ask(), ledger(entry(operation=Operation.Reboot)), known, later(0)), Denied)
    assert isinstance(decide(ask(), ledger(entry(operation=Operation.PowerCycle)), known, later(0)), Granted)


def in_window(*seconds: float, count: int, now: float, purpose: Purpose = Purpose.Forward, window: int = 100, **spec: Any) -> Verdict:
    log = tuple(spent(f"op-{number}", moment) for number, moment in enumerate(seconds))
    known = facts(budget(rate={"count": count, "windowSeconds": window}, **spec))
    return decide(ask("new", purpose=purpose), ledger(log=log), known, later(now))


@pytest.mark.parametrize(
    ("spent_at", "count", "now", "grants", "free_at"),
    [
        ((), 1, 0, True, None),
        ((), 0, 0, False, None),
        ((0,), 1, 99.9, False, 100),
        ((0,), 1, 100, True, None),
        ((0, 50), 2, 99, False, 100),
        ((0, 50), 2, 100, True, None),
        ((0, 50), 1, 120, False, 150),
        ((0, 10, 20), 1, 20, False, 120),
        ((0, 10, 20), 3, 20, False, 100),
        ((0, 10, 20), 4, 20, True, None),
    ],
)
def test_should_slide_exactly(spent_at: tuple[float, ...], count: int, now: float, grants: bool, free_at: float | None) -> None:
    verdict = in_window(*spent_at, count=count, now=now)
    assert isinstance(verdict, Granted) == grants, verdict
    if isinstance(verdict, Denied):
        (refusal,) = verdict.refusals
        assert refusal.free_at == (later(free_at) if free_at is not None else None)
        if free_at is not None:
            assert f"free at {stamp(later(free_at))}" in verdict.message
            assert free_at - now <= verdict.retry_after <= free_at - now + 1 or verdict.retry_after >= 5


def test_should_look_again_before_a_far_end() -> None:
    verdict = in_window(0, count=1, now=1, window=86400)
    assert isinstance(verdict, Denied)
    assert verdict.retry_after == LONGEST_RETRY


def test_should_not_refill_when_the_clock_goes_back_or_jumps_for_another() -> None:
    assert isinstance(in_window(0, count=1, now=-5000), Denied)
    moved = ledger(log=(spent("op-0", 0),), time=stamp(later(50)))
    known = facts(budget(rate={"count": 2, "windowSeconds": 100}))
    verdict = decide(ask("new"), moved, known, later(-5000))
    assert isinstance(verdict, Granted)
    assert verdict.ledger.log[-1].at == stamp(later(50)), "time stands still until it is caught up with"


RESERVE = {"rollback": {"rate": 2, "concurrency": 1}, "repair": {"rate": 1}}


@pytest.mark.parametrize(
    ("used", "purpose", "grants"),
    [
        ((Purpose.Forward,) * 2, Purpose.Forward, False),
        ((Purpose.Forward,) * 2, Purpose.Rollback, True),
        ((Purpose.Forward,) * 2 + (Purpose.Rollback,), Purpose.Rollback, True),
        ((Purpose.Forward,) * 2 + (Purpose.Rollback,) * 2, Purpose.Rollback, False),
        ((Purpose.Forward,) * 2 + (Purpose.Rollback,) * 2, Purpose.Repair, True),
        ((Purpose.Forward,) * 2 + (Purpose.Repair,), Purpose.Repair, False),
        ((Purpose.Rollback,) * 2, Purpose.Forward, True),
        ((Purpose.Rollback,) * 3 + (Purpose.Forward,), Purpose.Forward, False),
        ((Purpose.Rollback,) * 3, Purpose.Rollback, True),
        ((Purpose.Rollback,) * 4, Purpose.Rollback, False),
    ],
)
def test_should_keep_reserves_for_what_they_are_for(used: tuple[Purpose, ...], purpose: Purpose, grants: bool) -> None:
    log = tuple(spent(f"op-{number}", purpose=each) for number, each in enumerate(used))
    known = facts(budget(rate={"count": 2, "windowSeconds": 100}, reserve=RESERVE))
    assert isinstance(decide(ask("new", purpose=purpose), ledger(log=log), known, later(1)), Granted) == grants


def test_should_let_a_rollback_use_its_place_beside_a_full_limit() -> None:
    known = facts(budget(concurrency={"count": 1}, reserve=RESERVE))
    held = ledger(entry())
    assert isinstance(decide(ask(), held, known, later(0)), Denied)
    assert isinstance(decide(ask(purpose=Purpose.Rollback), held, known, later(0)), Granted)
    assert isinstance(decide(ask(purpose=Purpose.Repair), held, known, later(0)), Denied)


def fleet(sick: int, of: int) -> Facts:
    clusters = [
        FleetCluster(ClusterId(f"c{n}", f"c{n}"), {"env": "prod"}, 10, "its API server is unavailable" if n < sick else "")
        for n in range(of)
    ]
    everything: OperationBudget = budget("planes", "Fleet", concurrency={"percent": 10, "floor": 1})
    return facts(everything, fleet={each.cluster: each for each in clusters})


@pytest.mark.parametrize(("sick", "of", "grants"), [(0, 20, True), (1, 20, True), (2, 20, False), (0, 3, True), (1, 3, False)])
def test_should_count_planes_of_the_fleet(sick: int, of: int, grants: bool) -> None:
    target = Target(kind="Cluster", name=f"c{of - 1}", cluster=f"c{of - 1}")
    request = ask(target=target, operation="UpgradePlane", namespace=f"c{of - 1}")
    assert isinstance(decide(request, ledger(), fleet(sick, of), later(0)), Granted) == grants


def test_should_take_percentages_of_a_fleets_machines() -> None:
    known = facts(budget("all", "Fleet", concurrency={"percent": 1}), fleet=fleet(0, 20).fleet)
    verdict = decide(ask(), ledger(), known, later(0))
    assert isinstance(verdict, Granted)
    assert verdict.ledger.windows[0].targets == 200
