"""The plain limit, as a table: what is granted, what is denied, and in which words."""

from __future__ import annotations

from typing import Any

import pytest

from operators.api.risk import LedgerSpec, Operation, Target
from operators.domain.risk.identity import EntryKey, act_id, op_id, stamp
from operators.domain.risk.limit import LEDGER_ROOM, Ask, Denied, Granted, decide, denied
from tests.unit.operators.domain.risk.builders import NOON, ask, entry, later, ledger, machine

POD = Target(kind="Pod", name="demo-apiserver-1", cluster="demo")


@pytest.mark.parametrize(
    ("why", "request_", "held"),
    [
        ("nothing is in flight", ask(), ledger()),
        ("another pool is busy", ask(), ledger(entry(target=machine("b", pool="gpu")))),
        ("another cluster's pool of that name is busy", ask(), ledger(entry(namespace="prod", target=machine("b", cluster="prod")))),
        ("only the cluster itself is busy", ask(), ledger(entry(target=POD))),
        ("a pool is busy, the request is outside pools", ask(target=POD, operation="RestartMaster"), ledger(entry())),
        ("its own target, another step", ask(operation="DeleteMachine"), ledger(entry(target=machine("a")))),
        (
            "its own target, held twice already",
            ask(operation="DeleteMachine"),
            ledger(entry("op-0", machine("a")), entry("op-2", machine("a"), operation=Operation.Cordon)),
        ),
    ],
)
def test_should_grant_when(why: str, request_: Ask, held: LedgerSpec) -> None:
    verdict = decide(request_, held, NOON)
    assert isinstance(verdict, Granted), verdict
    assert not verdict.recorded
    assert (verdict.entry.granted_at, verdict.entry.expires_at) == ("2026-03-01T12:00:00Z", "2026-03-01T12:15:00Z")


@pytest.mark.parametrize(
    ("request_", "held", "words"),
    [
        (
            ask(),
            ledger(entry()),
            "one target at a time in pool demo/workers: Drain of Machine b by machine-operator/demo holds it since 2026-03-01T12:00:00Z (grant op-0)",
        ),
        (
            ask(target=POD),
            ledger(entry(target=Target(kind="Pod", name="etcd-0", cluster="demo"))),
            "one target at a time in cluster demo/demo, outside its pools: Drain of Pod etcd-0",
        ),
        (ask(operation="FormatDisk"), ledger(), "operation 'FormatDisk' is not on the list of dangerous operations"),
        (ask(operation=""), ledger(), "unknown means no"),
        (ask(), ledger(entry(target=machine("a"), requester="someone-else")), "one requester at a time for Machine a"),
        (ask(), ledger(entry(target=machine("a", pool="gpu"), requester="someone-else")), "one requester at a time for Machine a"),
        (ask(), ledger(entry(target=machine("a")), entry("op-9", machine("c"))), "grant op-9"),
        (ask(), ledger(entry(), entry("op-9", machine("c"))), "(and 1 more)"),
    ],
)
def test_should_deny_and_say_who_holds_it(request_: Ask, held: LedgerSpec, words: str) -> None:
    verdict = decide(request_, held, NOON)
    assert isinstance(verdict, Denied)
    assert words in verdict.message


def test_should_name_the_holder_that_is_longest_there() -> None:
    held = ledger(entry("op-2", machine("c"), granted_at=stamp(later(5))), entry("op-1", machine("b")))
    verdict = decide(ask("op-3"), held, later(10))
    assert isinstance(verdict, Denied)
    assert "(grant op-1) (and 1 more)" in verdict.message


def test_should_count_an_expired_holder_and_say_what_frees_it() -> None:
    verdict = decide(ask(), ledger(entry()), later(10**6))
    assert isinstance(verdict, Denied)
    assert "no outcome came by 2026-03-01T12:15:00Z, so it counts until its target is seen healthy or gone" in verdict.message


def test_should_give_the_same_answer_for_an_operation_that_is_in_the_ledger() -> None:
    first = decide(ask(), ledger(), NOON)
    assert isinstance(first, Granted)
    again = decide(ask(), ledger(first.entry), later(60))
    assert isinstance(again, Granted)
    assert again.recorded
    assert again.entry == first.entry


@pytest.mark.parametrize("changes", [{"operation": "Reboot"}, {"requester": "someone-else"}, {"target": machine("z")}])
def test_should_deny_a_request_whose_name_the_ledger_holds_for_another(changes: dict[str, Any]) -> None:
    verdict = decide(ask("op-0", **({"target": machine("b")} | changes)), ledger(entry("op-0")), NOON)
    assert isinstance(verdict, Denied)
    assert "unclear" in verdict.message


def test_should_take_over_the_slot_of_an_earlier_attempt_in_the_same_write() -> None:
    held = ledger(entry("op-0", machine("a")), entry("op-c", machine("a"), operation=Operation.Cordon))
    verdict = decide(ask("op-1", attempt=1), held, later(10**4))
    assert isinstance(verdict, Granted)
    assert verdict.supersedes == (EntryKey("demo", "op-0"),)


def test_should_deny_when_the_ledger_is_full() -> None:
    full = ledger(*(entry(f"op-{number}", machine("b", pool=f"p{number}")) for number in range(LEDGER_ROOM)))
    verdict = decide(ask("new"), full, NOON)
    assert isinstance(verdict, Denied)
    assert "full" in verdict.message
    room = ledger(*full.in_flight[1:])
    assert isinstance(decide(ask("new"), room, NOON), Granted)


def test_should_not_let_a_clock_that_goes_backwards_shorten_anything() -> None:
    verdict = decide(ask(), ledger(entry(target=machine("b", pool="gpu"))), later(-3600))
    assert isinstance(verdict, Granted)
    assert verdict.entry.granted_at == stamp(NOON)


@pytest.mark.parametrize(("attempt", "seconds"), [(0, 5), (1, 10), (3, 40), (5, 120), (10000, 120)])
def test_should_ask_for_more_patience_with_every_attempt(attempt: int, seconds: int) -> None:
    assert denied(ask(attempt=attempt), "no").retry_after == seconds


def test_should_keep_the_sentence_within_the_field() -> None:
    long = Target(kind="Machine", name="x" * 253, cluster="demo", pool="workers")
    verdict = decide(ask(), ledger(entry("o" * 253, long, requester="r" * 253)), later(10**6))
    assert isinstance(verdict, Denied)
    assert len(verdict.message) <= 1024


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
