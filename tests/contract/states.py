"""Sample states of every kind that has Ready, as the real status functions show them: every view of the ladders' tables, and what time does to them.

Each is a whole object as an API server would serve it. Called by the tests that ask others (kstatus, Argo CD, kubectl) what they make of it.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from operators.api import Resource
from operators.api.risk import LedgerSpec
from operators.domain.machine.ladder import next_step as next_machine_step
from operators.domain.machine.pool_ladder import next_pool_step
from operators.domain.machine.pool_status import pool_status_of
from operators.domain.machine.status import machine_status_of
from operators.domain.plane.ladder import next_step as next_plane_step
from operators.domain.plane.status import status_of
from operators.domain.risk.display import budget_status
from operators.domain.rollout.forecast import Forecast, Outlook
from operators.domain.rollout.state import next_step as next_rollout_step
from operators.domain.rollout.status import planned_status, running_status, stalled_status
from operators.errors import ErrorCode, KokError
from tests.unit.operators.domain.machine import test_ladder as machines
from tests.unit.operators.domain.machine import test_pool_ladder as pools
from tests.unit.operators.domain.plane import test_ladder as planes
from tests.unit.operators.domain.risk import builders as budgets
from tests.unit.operators.domain.rollout import builders as rollouts
from tests.unit.operators.domain.rollout import world as rollout_world

State = tuple[str, dict[str, Any]]
FAILED = KokError(ErrorCode.HostNoSudo, "m1: sudo asks for a password", "allow it")


def _clusters() -> Iterator[State]:
    for name, view, *_ in planes.TABLE:
        yield f"Cluster {name}", view.cluster.manifest() | {"status": status_of(view, next_plane_step(view), None)}


def _pools() -> Iterator[State]:
    for name, view, *_ in pools.TABLE:
        yield f"MachinePool {name}", _with(view.pool, pool_status_of(view, next_pool_step(view), ""))


def _machines() -> Iterator[State]:
    for name, view, *_ in machines.TABLE:
        if machine := view.business.machine:
            yield f"Machine {name}", _with(machine, machine_status_of(view, next_machine_step(view), ""))
            yield f"Machine {name}, and the act failed", _with(machine, machine_status_of(view, next_machine_step(view), FAILED))


def _budgets() -> Iterator[State]:
    budget, lost = budgets.budget(), KokError(ErrorCode.LedgerUnreadable, "the Ledger is lost", "kok meta rebuild-ledger")
    yield "OperationBudget in force", budget.manifest() | {"status": budget_status(budget, LedgerSpec(), {}, budgets.NOON)}
    yield "OperationBudget without a Ledger", budget.manifest() | {"status": budget_status(budget, lost, {}, budgets.NOON)}


def _rollouts() -> Iterator[State]:
    """Every state of a rollout, each as a running one shows it, and the answers that have no plan."""
    made = rollouts.rollout()
    for name, world in rollout_world.sampled():
        view = world.view()
        shown = running_status(made, {}, view, next_rollout_step(view), None)
        yield f"FleetRollout {name}", made.manifest() | {"status": shown}
    refused = stalled_status(
        made, {}, ErrorCode.CanarySick.value, "stage canary names Cluster prod/c0, which is not healthy", rollouts.START
    )
    yield "FleetRollout refused", made.manifest() | {"status": refused}
    asked = rollouts.rollout(mode="Plan")
    plan = Outlook(rollouts.frozen(asked), {f"prod/c{number}": Forecast("1.34.4 -> 1.35.4, one hop") for number in range(6)})
    yield "FleetRollout planned", asked.manifest() | {"status": planned_status(asked, {}, "6 clusters in 3 stages", plan, rollouts.START)}


def _with(resource: Resource, status: Any) -> dict[str, Any]:
    return resource.manifest() | {"status": status.model_dump(mode="json", by_alias=True, exclude_none=True)}


def _later(state: State) -> Iterator[State]:
    """The same object as it is, after an edit that nobody saw yet, while it is being deleted, and before its first status."""
    name, shown = state
    shown = copy.deepcopy(shown)
    shown["metadata"].setdefault("generation", 1)
    shown["metadata"]["generation"] = max(1, shown["metadata"]["generation"])
    shown["status"]["observedGeneration"] = shown["metadata"]["generation"]
    yield name, shown
    edited, leaving, new = (copy.deepcopy(shown) for _ in range(3))
    edited["metadata"]["generation"] += 1
    leaving["metadata"]["deletionTimestamp"] = "2026-03-01T12:00:00Z"
    new["status"] = {"observedGeneration": -1}  # the default of the schema
    yield f"{name}, edited", edited
    yield f"{name}, deleted", leaving
    yield f"{name}, new", new


def sample_states() -> list[State]:
    """All of them, with a name that says where each comes from."""
    return [state for first in (*_clusters(), *_pools(), *_machines(), *_budgets(), *_rollouts()) for state in _later(first)]
