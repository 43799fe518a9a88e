"""Which grants are forgotten, and what a lost Ledger must hold."""

from __future__ import annotations

from operators.api.risk import Decision, OperationGrant, Outcome
from operators.domain.risk.identity import stamp
from operators.domain.risk.retention import KEPT_PER_NAMESPACE, forgettable, rebuilt_ledger
from tests.unit.operators.domain.risk.builders import NOON, grant, later

HOUR = 3600
DAY = 24 * HOUR


def finished(name: str, seconds: float = 0, namespace: str = "demo") -> OperationGrant:
    return grant(name, namespace=namespace, status={"decision": Decision.Denied, "decided_at": stamp(later(seconds))})


def names(grants: list[OperationGrant]) -> list[str]:
    return [each.metadata.name for each in grants]


def test_should_forget_what_finished_a_day_ago() -> None:
    settled = grant("settled", status={"decision": Decision.Granted, "settled_at": stamp(NOON)})
    young = finished("young", 1)
    assert names(forgettable([settled, finished("denied"), young], later(DAY))) == ["denied", "settled"]


def test_should_never_forget_what_somebody_may_act_on() -> None:
    live = [
        grant("pending"),
        grant("granted", status={"decision": Decision.Granted, "decided_at": stamp(NOON)}),
        grant("unknown", status={"decision": Decision.Unknown, "decided_at": stamp(NOON)}),
    ]
    assert forgettable(live, later(100 * DAY)) == []


def test_should_keep_the_last_of_each_namespace_and_no_more() -> None:
    many = [finished(f"n{number:04}", number) for number in range(KEPT_PER_NAMESPACE + 3)]
    other = [finished("other", 0, namespace="prod")]
    assert names(forgettable([*many, *other], later(HOUR))) == ["n0000", "n0001", "n0002"]


def test_should_keep_a_fresh_denial_however_many_there_are() -> None:
    many = [finished(f"n{number:04}", number / 100) for number in range(KEPT_PER_NAMESPACE * 3)]
    assert forgettable(many, later(300)) == []


def test_should_rebuild_the_ledger_from_grants_that_may_be_acted_on() -> None:
    status = {"decision": Decision.Granted, "decided_at": stamp(NOON), "expires_at": stamp(later(900))}
    grants = [
        grant("granted", status=status),
        grant("unknown", status=status | {"decision": Decision.Unknown}),
        grant("reported", status=status, spec={"outcome": Outcome.Succeeded}),
        grant("settled", status=status | {"settled_at": stamp(NOON)}),
        finished("denied"),
        grant("pending"),
    ]
    built = rebuilt_ledger(grants, epoch=7)
    assert [entry.op_id for entry in built.in_flight] == ["granted", "unknown"]
    assert built.epoch == 7
    assert (built.in_flight[0].granted_at, built.in_flight[0].expires_at) == (stamp(NOON), stamp(later(900)))
