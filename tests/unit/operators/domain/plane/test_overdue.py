"""A stage of a hop that does not end: said once it is past its deadline, with what is missing; nothing else changes by it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from operators.api.cluster_release import Direction, HopStage
from operators.domain.plane import steps
from operators.domain.plane.ladder import next_step
from operators.domain.plane.release_steps import AuthoriseVersion, MoveHop
from operators.domain.plane.status import status_of
from operators.domain.plane.view import PlaneView, Workload
from operators.domain.risk.identity import stamp
from tests.unit.operators.domain.plane.planes import NOW, right
from tests.unit.operators.domain.plane.test_upgrading import NEW, OLD, facts, hop, release, view

DEADLINE = {"upgrade": {"stageDeadlineSeconds": 900, "soakSeconds": 600}}


def sick(component: str) -> dict[str, Any]:
    """One pod of it does not come up."""
    down = Workload(component, wanted=1, ready=0, settled=True, trouble=f"pod demo-{component}-x waits: ImagePullBackOff")
    return {"workloads": {**right().workloads, component: down}}


def since(
    seconds: int, *, stage: HopStage = HopStage.Controllers, direction: Direction = Direction.Up, wish: str = "", **changes: Any
) -> PlaneView:
    """A plane whose hop entered its stage so many seconds ago."""
    target, reached = (NEW, OLD) if direction is Direction.Up else (OLD, NEW)
    entered = stamp(NOW - timedelta(seconds=seconds))
    at = release(target, reached=reached, hop=hop(OLD, NEW, direction, stage, startedAt=entered, stageSince=entered))
    return view(wish or target, at, spec=DEADLINE, **changes)


def test_should_only_wait_until_the_deadline() -> None:
    assert isinstance(next_step(since(899, **sick("scheduler"))), steps.Wait)


def test_should_say_what_did_not_become_ready_in_how_long_and_what_to_do() -> None:
    seen = since(900, **sick("scheduler"))
    step = next_step(seen)

    assert isinstance(step, steps.Stall)
    assert step.code == "UpgradeOverdue"
    assert step.reason == (
        f"{OLD} to {NEW}: stage Controllers was not done within 900 s (spec.upgrade.stageDeadlineSeconds): scheduler has 0 of 1 pods ready: "
        f"pod demo-scheduler-x waits: ImagePullBackOff; what serves stays as it is; mend this and it goes on by itself, or set "
        f"spec.packageVersion to {OLD} to turn round"
    )
    shown = {each["type"]: each for each in status_of(seen, step, None)["conditions"]}
    assert (shown["Stalled"]["status"], shown["Ready"]["message"]) == ("True", step.reason)
    assert step.after is not None
    assert step.after <= 5, "it is still looked at as often as before"


def test_should_go_on_by_itself_once_it_can() -> None:
    assert isinstance(next_step(since(9000)), MoveHop)


def test_should_turn_round_past_the_deadline() -> None:
    assert isinstance(next_step(since(9000, wish=OLD, **sick("scheduler"))), AuthoriseVersion)


def test_should_count_a_deadline_on_the_way_back_too() -> None:
    step = next_step(since(900, stage=HopStage.Apiserver, direction=Direction.Down, **sick("scheduler")))

    assert isinstance(step, steps.Stall)
    assert f"{NEW} back to {OLD}: stage Apiserver" in step.reason
    assert f"set spec.packageVersion to {NEW} to turn round" in step.reason


def test_should_name_the_rollout_that_authorised_it() -> None:
    seen = since(900, **sick("scheduler"))
    assert seen.release
    current = seen.release.spec.current.model_copy(update={"by": "Rollout", "name": "to-1-35"})  # type: ignore[union-attr]
    spec = seen.release.spec.model_copy(update={"current": current})  # type: ignore[union-attr]
    step = next_step(replace(seen, release=seen.release.model_copy(update={"spec": spec})))  # type: ignore[union-attr]

    assert "turn round by FleetRollout to-1-35" in step.reason


@pytest.mark.parametrize("seconds", [900, 1499])
def test_should_not_count_the_soak(seconds: int) -> None:
    assert isinstance(next_step(since(seconds, stage=HopStage.Soak, **sick("scheduler"))), steps.Wait)


def test_should_count_from_the_end_of_the_soak() -> None:
    assert isinstance(next_step(since(1500, stage=HopStage.Soak, **sick("scheduler"))), steps.Stall)


def test_should_not_hurry_a_soak_nor_machines_that_follow_their_pool() -> None:
    soaking = since(500, stage=HopStage.Soak)
    long = {**DEADLINE, "upgrade": {"stageDeadlineSeconds": 30, "soakSeconds": 7200}}
    step = next_step(replace(soaking, cluster=view(NEW, release(OLD), spec=long).cluster))
    assert isinstance(step, steps.Wait)
    assert step.is_patient


def test_should_say_nothing_of_a_plane_that_is_not_on_its_way() -> None:
    assert isinstance(next_step(view(NEW, release(NEW), **sick("scheduler"))), steps.Wait)


def test_should_stop_waiting_for_preparations() -> None:
    at = hop(OLD, NEW, Direction.Up, HopStage.Prepare, stageSince=stamp(NOW - timedelta(seconds=900)))
    unprepared = facts(unprepared="its images are pulled: pod demo-prepull-1 waits: ImagePullBackOff")
    step = next_step(view(NEW, release(NEW, reached=OLD, hop=at), spec=DEADLINE, upgrade=unprepared))

    assert isinstance(step, steps.Stall)
    assert "stage Prepare was not done within 900 s" in step.reason
    assert "demo-prepull-1 waits: ImagePullBackOff" in step.reason
