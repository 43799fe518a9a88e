"""What the risk centre does next about one grant, as a table over (status, ledger, target, time)."""

from __future__ import annotations

from typing import Any

import pytest

from operators.api.risk import Decision, LedgerSpec, OperationGrant, Outcome
from operators.domain.risk.identity import stamp
from operators.domain.risk.ladder import LOOK_AGAIN, Answer, GrantView, Hold, MarkUnknown, Settle, frees_orphan, next_step
from operators.domain.risk.sighting import Sighted, Sighting, sighted_machine
from operators.errors import ErrorCode, KokError
from tests.unit.operators.domain.risk.builders import entry, grant, later, ledger, machine

OWN = entry("op-1", machine())
GRANTED: dict[str, Any] = {"decision": Decision.Granted, "expires_at": OWN.expires_at, "decided_at": OWN.granted_at}
UNKNOWN = GRANTED | {"decision": Decision.Unknown}
DENIED = {"decision": Decision.Denied, "decided_at": OWN.granted_at, "retry_after_seconds": 10}
SETTLED = GRANTED | {"settled_at": stamp(later(5))}
DONE = {"outcome": Outcome.Succeeded}
LOST = KokError(ErrorCode.LedgerUnreadable, "the Ledger does not exist")
HEALTHY, GONE = Sighted(Sighting.Healthy, "fine"), Sighted(Sighting.Gone, "no Node")
IMPAIRED, UNCLEAR = Sighted(Sighting.Impaired, "cordoned"), Sighted(Sighting.Unclear, "no answer")


def view(of: OperationGrant, held: LedgerSpec | KokError | None, seconds: float = 10, sighted: Sighted | None = None) -> GrantView:
    return GrantView(of, held, later(seconds), sighted)


@pytest.mark.parametrize(
    ("why", "seen", "step"),
    [
        ("new", view(grant(), None), Answer),
        ("new, and the slot was taken before a crash", view(grant(), ledger(OWN)), Answer),
        ("cancelled before it was answered", view(grant(spec=DONE), ledger()), Settle),
        ("granted", view(grant(status=GRANTED), ledger(OWN)), Hold),
        ("reported", view(grant(spec=DONE, status=GRANTED), ledger(OWN)), Settle),
        ("reported, slot freed before a crash", view(grant(spec=DONE, status=GRANTED), ledger()), Settle),
        ("settled", view(grant(spec=DONE, status=SETTLED), ledger()), Hold),
        ("settled, but the ledger came back from a backup", view(grant(spec=DONE, status=SETTLED), ledger(OWN)), Settle),
        ("settled without a report, but the ledger came back", view(grant(status=SETTLED), ledger(OWN)), Settle),
        ("time is over", view(grant(status=GRANTED), ledger(OWN), 900), MarkUnknown),
        ("taken over by a newer attempt", view(grant(status=GRANTED), ledger(entry("op-2", machine()))), Settle),
        ("unknown taken over", view(grant(status=UNKNOWN), ledger(), 5000, IMPAIRED), Settle),
        ("unknown, just now", view(grant(status=UNKNOWN), ledger(OWN), 930, HEALTHY), Hold),
        ("unknown, target healthy", view(grant(status=UNKNOWN), ledger(OWN), 960, HEALTHY), Settle),
        ("unknown, target gone", view(grant(status=UNKNOWN), ledger(OWN), 960, GONE), Settle),
        ("unknown, target sick", view(grant(status=UNKNOWN), ledger(OWN), 10**6, IMPAIRED), Hold),
        ("unknown, target out of sight", view(grant(status=UNKNOWN), ledger(OWN), 10**6, UNCLEAR), Hold),
        ("unknown, reported late", view(grant(spec=DONE, status=UNKNOWN), ledger(OWN), 10**6, IMPAIRED), Settle),
        ("denied", view(grant(status=DENIED), ledger()), Hold),
        ("denied by one risk centre, taken by another", view(grant(status=DENIED), ledger(OWN)), Settle),
        ("granted, ledger lost", view(grant(status=GRANTED), LOST), Hold),
        ("reported, ledger lost", view(grant(spec=DONE, status=GRANTED), LOST), Hold),
        ("unknown, target healthy, ledger lost", view(grant(status=UNKNOWN), LOST, 10**6, HEALTHY), Hold),
        ("settled, ledger lost", view(grant(status=SETTLED), LOST), Hold),
    ],
)
def test_should_choose(why: str, seen: GrantView, step: type) -> None:
    assert isinstance(next_step(seen), step)


def test_should_come_back_when_the_time_is_over() -> None:
    assert next_step(view(grant(status=GRANTED), ledger(OWN), 10)).after == 890


def test_should_say_why_a_vanished_holder_still_counts() -> None:
    step = next_step(view(grant(status=UNKNOWN), ledger(OWN), 10**6, IMPAIRED))
    assert step.reason == "its holder never reported, and Machine a is not seen healthy: cordoned"
    assert step.after == LOOK_AGAIN


def test_should_come_back_to_a_lost_ledger() -> None:
    assert next_step(view(grant(status=GRANTED), LOST)) == Hold("the Ledger does not exist", after=LOOK_AGAIN)


@pytest.mark.parametrize(
    ("sighted", "seconds", "frees"),
    [(GONE, 0, True), (HEALTHY, 959, False), (HEALTHY, 960, True), (IMPAIRED, 10**6, False), (UNCLEAR, 10**6, False)],
)
def test_should_free_the_slot_of_a_deleted_grant(sighted: Sighted, seconds: float, frees: bool) -> None:
    assert frees_orphan(OWN, sighted, later(seconds)) is frees


READY = {"type": "Ready", "status": "True"}
MACHINE = {"metadata": {"name": "a"}}
LEAVING = {"metadata": {"name": "a", "deletionTimestamp": "2026-03-01T12:00:00Z"}}


def node(spec: dict[str, Any] | None = None, conditions: tuple[dict[str, str], ...] = (READY,)) -> dict[str, Any]:
    return {"metadata": {"name": "a"}, "spec": spec or {}, "status": {"conditions": list(conditions)}}


@pytest.mark.parametrize(
    ("stored", "its_node", "sighting"),
    [
        (MACHINE, node(), Sighting.Healthy),
        (None, node(), Sighting.Healthy),
        (None, None, Sighting.Gone),
        (MACHINE, None, Sighting.Impaired),
        (LEAVING, node(), Sighting.Impaired),
        (MACHINE, node({"unschedulable": True}), Sighting.Impaired),
        (MACHINE, node({"taints": [{"key": "kok.dev/not-ready", "effect": "NoSchedule"}]}), Sighting.Impaired),
        (MACHINE, node({"taints": [{"key": "gpu", "effect": "NoSchedule"}]}), Sighting.Healthy),
        (MACHINE, node(conditions=({"type": "Ready", "status": "Unknown"},)), Sighting.Impaired),
        (MACHINE, node(conditions=()), Sighting.Impaired),
    ],
)
def test_should_judge_a_machine_by_its_node(stored: dict[str, Any] | None, its_node: dict[str, Any] | None, sighting: Sighting) -> None:
    assert sighted_machine(stored, its_node).sighting is sighting
