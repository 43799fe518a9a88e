"""What a requester does next, from the attempts that are stored."""

from __future__ import annotations

from typing import Any

import pytest

from operators.api.risk import Decision, OperationGrant, Outcome
from operators.domain.risk.asking import Create, Held, Wait, next_ask, why_invalid
from operators.domain.risk.identity import stamp
from tests.unit.operators.domain.risk.builders import NOON, grant, later

GRANTED: dict[str, Any] = {"decision": Decision.Granted, "decided_at": stamp(NOON), "expires_at": stamp(later(900))}
DENIED: dict[str, Any] = {"decision": Decision.Denied, "decided_at": stamp(NOON), "retry_after_seconds": 20, "message": "pool is busy"}


def attempt(number: int, **fields: Any) -> OperationGrant:
    return grant(f"op-{number}", spec={"attempt": number} | fields.pop("spec", {}), **fields)


@pytest.mark.parametrize(
    ("why", "stored", "seconds", "expected"),
    [
        ("first time", [], 0, Create(0)),
        ("denied, too early", [attempt(0, status=DENIED)], 5, Wait("pool is busy", 15, denied=True, attempt=1)),
        ("denied, again now", [attempt(0, status=DENIED)], 20, Create(1)),
        ("denied twice, in any order", [attempt(1, status=DENIED), attempt(0, status=DENIED)], 20, Create(2)),
        ("time ran out", [attempt(0, status=GRANTED)], 900, Create(1)),
        ("marked unknown", [attempt(0, status=GRANTED | {"decision": Decision.Unknown})], 10, Create(1)),
        ("settled before", [attempt(0, status=GRANTED | {"settled_at": stamp(NOON)})], 10, Create(1)),
        ("reported, not settled yet", [attempt(0, status=GRANTED, spec={"outcome": Outcome.Failed})], 10, Create(1)),
        ("cancelled unanswered", [attempt(4, spec={"outcome": Outcome.Cancelled})], 10, Create(5)),
        ("being deleted", [attempt(0, status=GRANTED, deletion_timestamp=stamp(NOON))], 10, Create(1)),
    ],
)
def test_should_ask_next(why: str, stored: list[OperationGrant], seconds: float, expected: object) -> None:
    assert next_ask(stored, 0, later(seconds)) == expected


def test_should_find_its_grant_again() -> None:
    held = attempt(2, status=GRANTED)
    assert next_ask([attempt(1, status=DENIED), held], 0, later(899)) == Held(held)


def test_should_wait_for_an_answer_without_asking_twice() -> None:
    assert next_ask([attempt(3)], 7, later(10**6)) == Wait(
        "asked to Drain Machine a; the risk centre has not answered yet", 2.0, denied=False, attempt=3
    )


def test_should_begin_with_the_attempt_that_was_given() -> None:
    assert next_ask([], 5, NOON) == Create(5)


@pytest.mark.parametrize(
    ("held", "seconds", "words"),
    [
        (grant(), 0, "it is not answered yet"),
        (grant(status=DENIED), 0, "it is Denied"),
        (grant(status=GRANTED | {"decision": Decision.Unknown}), 0, "it is Unknown"),
        (grant(status=GRANTED | {"settled_at": stamp(NOON)}), 0, "it is settled"),
        (grant(status=GRANTED, spec={"outcome": Outcome.Succeeded}), 0, "it is settled"),
        (grant(status={"decision": Decision.Granted}), 0, "it says no time"),
        (grant(status=GRANTED), 900, "its time was over at 2026-03-01T12:15:00Z"),
        (grant(status=GRANTED, deletion_timestamp=stamp(NOON)), 0, "it is being deleted"),
        (grant(status=GRANTED), 899, ""),
    ],
)
def test_should_say_why_nobody_may_act(held: OperationGrant, seconds: float, words: str) -> None:
    assert why_invalid(held, later(seconds)) == words
