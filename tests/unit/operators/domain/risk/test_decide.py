"""What is granted, what is denied, and in which words: tables over budgets, the Ledger and what is seen of targets."""

from __future__ import annotations

from typing import Any

import pytest

from operators.api.risk import LedgerSpec, Operation, Outcome, Target
from operators.domain.risk.bookkeeping import LOG_ROOM, without
from operators.domain.risk.decide import LEDGER_ROOM, Ask, Denied, Granted, Verdict, decide, denied
from operators.domain.risk.facts import Facts
from operators.domain.risk.identity import EntryKey, act_id, key_of, op_id, stamp
from tests.unit.operators.domain.risk.builders import NOON, ask, budget, entry, facts, later, ledger, machine, spent

POD = Target(kind="Pod", name="demo-apiserver-1", cluster="demo")
RESTART = {"target": POD, "operation": "RestartMaster"}


def decided(request: Ask, held: LedgerSpec | None = None, known: Facts | None = None, seconds: float = 0) -> Verdict:
    return decide(request, held or ledger(), known or facts(), later(seconds))


@pytest.mark.parametrize(
    ("why", "request_", "held"),
    [
        ("nothing is in flight", ask(), ledger()),
        ("another pool is busy", ask(), ledger(entry(target=machine("b", pool="gpu")))),
        ("another cluster's pool of that name is busy", ask(), ledger(entry(namespace="prod", target=machine("b", cluster="prod")))),
        ("only the plane is busy", ask(), ledger(entry(target=POD, operation=Operation.RestartMaster))),
        ("a pool is busy, the request is outside pools", ask(**RESTART), ledger(entry())),
        ("its own target, another step", ask(operation="DeleteMachine"), ledger(entry(target=machine("a")))),
        (
            "its own target, held twice already",
            ask(operation="DeleteMachine"),
            ledger(entry("op-0", machine("a")), entry("op-2", machine("a"), operation=Operation.Cordon)),
        ),
    ],
)
def test_should_grant_when(why: str, request_: Ask, held: LedgerSpec) -> None:
    verdict = decided(request_, held)
    assert isinstance(verdict, Granted), verdict
    assert not verdict.recorded
    assert (verdict.entry.granted_at, verdict.entry.expires_at) == ("2026-03-01T12:00:00Z", "2026-03-01T12:15:00Z")
    assert verdict.entry in verdict.ledger.in_flight


@pytest.mark.parametrize(
    ("request_", "held", "words"),
    [
        (
            ask(),
            ledger(entry()),
            "OperationBudget one says no by its concurrency in pool demo/workers: 1 of at most 1 targets are out of service: Drain of Machine b by "
            "machine-operator/demo holds it since 2026-03-01T12:00:00Z (grant op-0), free when it reports its end, expected by 2026-03-01T12:15:00Z",
        ),
        (
            ask(**RESTART),
            ledger(entry(target=POD.model_copy(update={"name": "etcd-0"}), operation=Operation.RestartMaster)),
            "OperationBudget masters says no by its concurrency in cluster demo/demo: 1 of at most 1 targets are out of service: RestartMaster of Pod etcd-0",
        ),
        (ask(operation="FormatDisk"), ledger(), "operation 'FormatDisk' is not on the list of dangerous operations"),
        (ask(operation=""), ledger(), "unknown means no"),
        (ask(), ledger(entry(target=machine("a"), requester="someone-else")), "one requester at a time for Machine a"),
        (ask(), ledger(entry(target=machine("a", pool="gpu"), requester="someone-else")), "one requester at a time for Machine a"),
        (ask(), ledger(entry(target=machine("a")), entry("op-9", machine("c"))), "grant op-9"),
        (ask(), ledger(*(entry(f"held-{n}", machine(f"c{n}")) for n in range(5))), "(and 2 more)"),
    ],
)
def test_should_deny_and_say_who_holds_it(request_: Ask, held: LedgerSpec, words: str) -> None:
    verdict = decided(request_, held)
    assert isinstance(verdict, Denied)
    assert words in verdict.message
    assert verdict.ledger is None


@pytest.mark.parametrize(
    "known",
    [
        Facts(),
        facts(budget(operations=["Reboot"])),
        facts(budget(clusters={"names": ["demo/other"]})),
        facts(budget(clusters={"matchLabels": {"env": "prod"}}), labels={"env": "test"}),
        facts(budget(clusters={})),
    ],
)
def test_should_deny_what_no_budget_is_about(known: Facts) -> None:
    """Also when one selects nothing. The neighbour: the same request with a budget that is about it."""
    verdict = decided(ask(), known=known)
    assert isinstance(verdict, Denied)
    assert verdict.message == (
        "no OperationBudget is about Drain of Machine a in cluster demo/demo: without a budget nothing is allowed (kubectl get operationbudgets)"
    )
    assert isinstance(decided(ask(), known=facts(*known.budgets, budget("fits"))), Granted)


def test_should_need_every_budget_to_agree_and_name_each_that_does_not() -> None:
    known = facts(
        budget("narrow"),
        budget("wide", "Fleet", rate={"count": 1, "windowSeconds": 60}),
        budget("idle", "Cluster", concurrency={"count": 9}),
    )
    verdict = decided(ask(), ledger(entry(), log=(spent(),)), known, seconds=10)
    assert isinstance(verdict, Denied)
    assert [(each.budget, each.limit) for each in verdict.refusals] == [("narrow", "concurrency"), ("wide", "rate")]
    assert (
        "; and OperationBudget wide says no by its rate in the fleet: 1 operations were granted in the last 60 s, 1 may be"
        in verdict.message
    )


def test_should_name_the_holder_that_is_longest_there() -> None:
    held = ledger(entry("op-2", machine("c"), granted_at=stamp(later(5))), entry("op-1", machine("b")))
    verdict = decided(ask("op-3"), held, seconds=10)
    assert isinstance(verdict, Denied)
    assert verdict.message.index("grant op-1") < verdict.message.index("grant op-2")


def test_should_count_an_expired_holder_and_say_what_frees_it() -> None:
    verdict = decided(ask(), ledger(entry()), seconds=10**6)
    assert isinstance(verdict, Denied)
    assert "no outcome came by 2026-03-01T12:15:00Z, so it counts until its target is seen healthy or gone" in verdict.message


def test_should_give_the_same_answer_for_an_operation_that_is_in_the_ledger() -> None:
    first = decided(ask())
    assert isinstance(first, Granted)
    again = decided(ask(), first.ledger, Facts(), seconds=60)
    assert isinstance(again, Granted)
    assert again.recorded
    assert (again.entry, again.ledger) == (first.entry, first.ledger)


@pytest.mark.parametrize("changes", [{"operation": "Reboot"}, {"requester": "someone-else"}, {"target": machine("z")}])
def test_should_deny_a_request_whose_name_the_ledger_holds_for_another(changes: dict[str, Any]) -> None:
    verdict = decided(ask("op-0", **({"target": machine("b")} | changes)), ledger(entry("op-0")))
    assert isinstance(verdict, Denied)
    assert "unclear" in verdict.message


def test_should_take_over_the_slot_of_an_earlier_attempt_in_the_same_write() -> None:
    held = ledger(entry("op-0", machine("a")), entry("op-c", machine("a"), operation=Operation.Cordon))
    verdict = decided(ask("op-1", attempt=1), held, seconds=10**4)
    assert isinstance(verdict, Granted)
    assert [each.op_id for each in verdict.ledger.in_flight] == ["op-c", "op-1"]
    assert verdict.ledger.releases == 0, "its target is still held"


def test_should_deny_when_the_ledger_is_full() -> None:
    full = ledger(*(entry(f"op-{number}", machine("b", pool=f"p{number}")) for number in range(LEDGER_ROOM)))
    verdict = decided(ask("new"), full)
    assert isinstance(verdict, Denied)
    assert "full" in verdict.message
    assert isinstance(decided(ask("new"), ledger(*full.in_flight[1:])), Granted)


def test_should_deny_when_windows_need_the_whole_log_and_grant_once_they_do_not() -> None:
    known = facts(budget("hour", "Fleet", rate={"count": 1000, "windowSeconds": 3600}, operations=["Reboot", "Drain"]))
    log = tuple(spent(f"op-{number}", operation=Operation.Reboot, target=machine(f"x{number}")) for number in range(LOG_ROOM))
    narrow = facts(budget("hour", "Pool", rate={"count": 1000, "windowSeconds": 3600}))
    verdict = decided(ask(target=machine(pool="gpu")), ledger(log=log), narrow, seconds=3599)
    assert isinstance(verdict, Denied)
    assert "log is full" in verdict.message
    after = decided(ask(), ledger(log=log), known, seconds=3661)
    assert isinstance(after, Granted)
    assert [each.op_id for each in after.ledger.log] == ["op-1"]


def test_should_not_let_a_clock_that_goes_backwards_shorten_anything() -> None:
    verdict = decided(ask(), ledger(entry(target=machine("b", pool="gpu"))), seconds=-3600)
    assert isinstance(verdict, Granted)
    assert verdict.entry.granted_at == stamp(NOON)


@pytest.mark.parametrize(("attempt", "seconds"), [(0, 5), (1, 10), (3, 40), (5, 120), (10000, 120)])
def test_should_ask_for_more_patience_with_every_attempt(attempt: int, seconds: int) -> None:
    assert denied(ask(attempt=attempt), "no").retry_after == seconds
    verdict = decided(ask(attempt=attempt), ledger(entry()))
    assert isinstance(verdict, Denied)
    assert verdict.retry_after == seconds


def test_should_keep_the_sentence_within_the_field() -> None:
    long = Target(kind="Machine", name="x" * 253, cluster="demo", pool="workers")
    verdict = decided(ask(), ledger(entry("o" * 253, long, requester="r" * 253), entry("p" * 253, machine("c"))), seconds=10**6)
    assert isinstance(verdict, Denied)
    assert len(verdict.message) <= 1024


def test_should_remember_how_an_operation_ended() -> None:
    known = facts(budget(rate={"count": 5, "windowSeconds": 60}))
    verdict = decided(ask(), known=known)
    assert isinstance(verdict, Granted)
    key = key_of(verdict.entry)
    after = without(verdict.ledger, [key], {key: Outcome.Failed})
    assert (after.in_flight, after.releases, after.log[0].outcome) == ((), 1, Outcome.Failed)
    assert without(after, [key], {key: Outcome.Succeeded}).log[0].outcome is Outcome.Failed
    assert without(after, [EntryKey("demo", "other")], {}) == after


def test_should_name_the_same_operation_the_same() -> None:
    act = act_id("uid-1", Operation.Drain, "decommission", "drain")
    assert act == act_id("uid-1", Operation.Drain, "decommission", "drain")
    assert len({act, *(act_id(*other) for other in _neighbours())}) == 5
    assert op_id(Operation.Drain, "demo-1", act, 3) == f"drain-demo-1-{act[:16]}-3"
    assert len(op_id(Operation.Drain, f"{'x' * 62}.{'y' * 190}", act, 10000)) < 128


def _neighbours() -> list[tuple[str, Operation, str, str]]:
    return [
        ("uid-2", Operation.Drain, "decommission", "drain"),
        ("uid-1", Operation.Reboot, "decommission", "drain"),
        ("uid-1", Operation.Drain, "update", "drain"),
        ("uid-1", Operation.Drain, "decommissiondrain", ""),
    ]
