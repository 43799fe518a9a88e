"""What may be decided although slots were freed since the targets were looked at: only what would be allowed were they still taken."""

from __future__ import annotations

from operators.api.risk import LedgerSpec
from operators.services.ledger import _as_if_held
from tests.unit.operators.domain.risk.builders import entry, machine

A, B, C = (machine(name) for name in "abc")
SEEN = LedgerSpec(in_flight=(entry("op-a", A), entry("op-b", B)), releases=5)


def test_should_count_a_freed_slot_as_taken() -> None:
    stored = LedgerSpec(in_flight=(entry("op-b", B), entry("op-c", C)), releases=6)
    cautious = _as_if_held(SEEN, stored, {})
    assert cautious is not None
    assert {each.op_id for each in cautious.in_flight} == {"op-a", "op-b", "op-c"}
    assert cautious.releases == 6


def test_should_look_again_when_a_slot_was_taken_and_freed_unseen() -> None:
    assert _as_if_held(SEEN, LedgerSpec(in_flight=SEEN.in_flight, releases=6), {}) is None


def test_should_not_take_a_replaced_entry_for_the_freed_one() -> None:
    """op-a was replaced by its requester's next attempt, which is no release; the release is of an operation that nobody saw."""
    stored = LedgerSpec(in_flight=(entry("op-a2", A), entry("op-b", B)), releases=6)
    assert _as_if_held(SEEN, stored, {}) is None


def test_should_look_again_when_one_target_was_freed_twice() -> None:
    assert _as_if_held(SEEN, LedgerSpec(in_flight=(entry("op-b", B),), releases=7), {}) is None


def test_should_look_again_after_the_ledger_was_made_anew() -> None:
    assert _as_if_held(SEEN, LedgerSpec(in_flight=(), releases=0), {}) is None


def test_should_know_what_was_taken_and_freed_unseen_if_we_freed_it() -> None:
    own = {6: entry("op-c", C), 7: entry("op-a", A)}
    cautious = _as_if_held(SEEN, LedgerSpec(in_flight=(entry("op-b", B),), releases=7), own)
    assert cautious is not None
    assert {each.op_id for each in cautious.in_flight} == {"op-a", "op-b", "op-c"}


def test_should_not_know_it_if_another_freed_one_of_them() -> None:
    assert _as_if_held(SEEN, LedgerSpec(in_flight=(entry("op-b", B),), releases=7), {7: entry("op-a", A)}) is None


def test_should_not_believe_its_memory_where_nothing_was_freed() -> None:
    stored = LedgerSpec(in_flight=SEEN.in_flight, releases=4)
    assert _as_if_held(SEEN, stored, {6: entry("op-a", A)}) is None
