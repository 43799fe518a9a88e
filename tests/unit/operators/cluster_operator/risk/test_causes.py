"""From marks of rollouts to verdicts, whose failing wakes the risk centre, and what a process that starts tells of breakers."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from operators.api.budgets import OperationBudget
from operators.api.risk import BreakerPhase, Operation
from operators.cluster_operator.risk.breakers import as_shown
from operators.cluster_operator.risk.budgets import BUDGETS
from operators.cluster_operator.risk.causes import verdict_of
from operators.cluster_operator.risk.centre import RiskCentre, followed
from operators.cluster_operator.rollout import kinds
from operators.domain.risk.display import budget_status
from operators.domain.risk.scopes import ClusterId
from operators.domain.risk.verdicts import Reached
from operators.domain.rollout.bad import BadMark
from operators.domain.rollout.members import reached_members
from operators.domain.rollout.view import Hold, MemberFacts
from tests.unit.operators.domain.risk.builders import budget, later, ledger
from tests.unit.operators.domain.risk.test_breaker import breaker

MARK = BadMark("v2", "train-7", "no pods", "jane", "2026-03-01T11:00:00Z", "u-1", "canary", "UpgradePlane", ("demo/c",), 1)


def test_should_read_what_a_change_had_reached_from_its_mark() -> None:
    verdict = verdict_of(MARK, is_lifted=True)
    assert verdict is not None
    assert (verdict.id, verdict.operation, verdict.is_lifted) == ("u-1/canary", Operation.UpgradePlane, True)
    assert (verdict.at, verdict.reached) == (datetime(2026, 3, 1, 11, tzinfo=UTC), (Reached(ClusterId("demo", "c")),))


def test_should_pass_over_marks_of_before_and_of_what_it_does_not_know() -> None:
    assert verdict_of(BadMark("v2", "old", "no pods"), is_lifted=False) is None
    newer = BadMark("v2", "new", "no pods", "", MARK.at, "u-1", "", "FormatDisk", ("demo/c",), 1)
    assert verdict_of(newer, is_lifted=False) is None


def test_should_name_whom_the_rollout_gave_its_version_and_of_pools_their_cluster() -> None:
    def facts(hold: Hold) -> MemberFacts:
        return MemberFacts(hold, "v2", later(0), healthy=False)

    members = {"a/p": facts(Hold.Forward), "b/p": facts(Hold.Back), "c/p": facts(Hold.Free), "d/p": facts(Hold.Rival)}
    assert reached_members(members, None) == ("a/p", "b/p")
    assert reached_members(members, {"a/p": "a/one", "b/p": "b/two"}) == ("a/one/p", "b/two/p")


@pytest.mark.parametrize(("phase", "wakes"), [("Failed", True), ("GoingBack", True), ("Bad", True), ("Soaking", False), ("Good", False)])
def test_should_wake_for_a_rollout_that_failed(phase: str, wakes: bool) -> None:
    watched = followed((*RiskCentre.WATCHED, *kinds.watched_kinds()))
    (rollouts,) = [each for each in watched if each.kind == kinds.ROLLOUT]
    manifest: dict[str, Any] = {"metadata": {"name": "train-7"}, "status": {"phase": phase}}
    assert (BUDGETS in list(rollouts.keys_of(manifest))) == wakes
    assert kinds.key_of("train-7") in list(rollouts.keys_of({"metadata": {"name": "train-7"}}))


def test_should_take_for_told_what_the_budgets_show() -> None:
    """A process that dies between the Ledger and the event leaves it to the next one; what is shown was told."""
    held, of = ledger(breakers=(breaker(), breaker(BreakerPhase.Closed, scope="pool demo/gpu"))), budget()
    status = budget_status(of, held, {}, later(10))
    shown = OperationBudget.parse({**of.manifest(), "status": status})
    assert as_shown(held, [shown]) == held
    assert [each.scope for each in as_shown(held, [of]).breakers] == ["pool demo/gpu"]
