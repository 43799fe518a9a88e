"""What an older minor could not serve: found by the tables and the flags, told with the list, refused unless it is confirmed for that very version."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from operators.adapters.catalogue_files import FileCatalogue
from operators.api.cluster_release import Direction, HopStage
from operators.domain.plane import steps
from operators.domain.plane.ladder import next_step
from operators.domain.plane.release_steps import AuthoriseVersion, MoveHop, TurnHop
from operators.domain.plane.served import ServedApi, Stored, is_on, lost_to, parse_served, words_of_stored
from tests.unit.operators.domain.plane.test_upgrading import NEW, OLD, facts, going, hop, release, view

LIST = "2 volumeattributesclasses.storage.k8s.io (gold, silver)"
UNSERVED = facts(unserved={OLD: LIST})
CLASSES, BETA = (
    ServedApi("storage.k8s.io/v1", "volumeattributesclasses"),
    ServedApi("storage.k8s.io/v1beta1", "volumeattributesclasses", False),
)


def shipped(minor: str) -> tuple[ServedApi, ...]:
    return parse_served(FileCatalogue().served_apis(f"{minor}.0"))


def test_should_know_what_the_shipped_minors_do_not_have() -> None:
    assert [each.name for each in lost_to(shipped("1.33"), shipped("1.34"), "", "")] == [
        "deviceclasses.resource.k8s.io",
        "resourceclaims.resource.k8s.io",
        "resourceclaimtemplates.resource.k8s.io",
        "resourceslices.resource.k8s.io",
        "volumeattributesclasses.storage.k8s.io",
    ]
    assert lost_to(shipped("1.34"), shipped("1.35"), "", "") == ()
    assert shipped("1.20") == ()


@pytest.mark.parametrize(
    ("config", "on"),
    [
        ("", False),
        ("api/all=true", True),
        ("api/beta=true", True),
        ("api/alpha=true", False),
        ("storage.k8s.io/v1beta1=true", True),
        ("storage.k8s.io/v1beta1", True),
        ("api/all=true,storage.k8s.io/v1beta1=false", False),
        ("storage.k8s.io/v1beta1=true,storage.k8s.io/v1beta1/volumeattributesclasses=false", False),
    ],
)
def test_should_read_the_flag_that_turns_apis_on(config: str, on: bool) -> None:
    assert is_on(BETA, config) is on


def test_should_count_a_resource_as_served_at_any_version() -> None:
    assert lost_to([BETA], [CLASSES], "", "") == (CLASSES,)
    assert lost_to([BETA], [CLASSES], "api/beta=true", "") == ()


def test_should_name_some_and_count_all() -> None:
    assert words_of_stored(CLASSES, Stored(("silver", "gold"))) == LIST
    assert words_of_stored(CLASSES, Stored(("d", "c", "b", "a"), 5)) == "9 volumeattributesclasses.storage.k8s.io (a, b, c, ...)"
    assert words_of_stored(CLASSES, Stored(())) == ""


def test_should_refuse_with_the_list_before_anything_is_touched() -> None:
    step = next_step(view(OLD, release(NEW), upgrade=UNSERVED))
    assert isinstance(step, steps.Stall)
    assert step.code == "UpgradeRefused"
    assert step.reason == (
        f"spec.packageVersion: {OLD} cannot serve what is stored: {LIST}; delete them, or set spec.upgrade.confirmUnserved to {OLD}: "
        "they then lie in etcd unseen until a version that knows them serves again"
    )


@pytest.mark.parametrize(("confirmed", "step"), [(OLD, AuthoriseVersion), (NEW, steps.Stall), ("", steps.Stall)])
def test_should_take_a_confirmation_for_that_version_only(confirmed: str, step: type[Any]) -> None:
    seen = view(OLD, release(NEW), upgrade=UNSERVED, spec={"upgrade": {"confirmUnserved": confirmed}})
    assert isinstance(next_step(seen), step)


def test_should_go_back_when_all_can_be_served() -> None:
    assert isinstance(next_step(view(OLD, release(NEW))), AuthoriseVersion)


def test_should_wait_while_the_list_cannot_be_made() -> None:
    step = next_step(view(OLD, release(NEW), upgrade=facts(unserved_unknown={OLD: "503"})))
    assert isinstance(step, steps.Wait)
    assert f"whether {OLD} can serve all that is stored is not known: 503" in step.reason


def test_should_not_lower_what_was_stored_meanwhile_into_the_unseen() -> None:
    """Also when it came after the way back was authorised; a rollout's word is no confirmation either."""
    stopped = going(Direction.Down, HopStage.LiftApiserver)
    assert isinstance(next_step(stopped), MoveHop)
    step = next_step(replace(stopped, upgrade=UNSERVED))
    assert isinstance(step, steps.Wait)
    assert LIST in step.reason


@pytest.mark.parametrize(("stage", "step"), [(HopStage.LiftControllers, steps.Stall), (HopStage.Soak, TurnHop)])
def test_should_turn_round_freely_only_while_the_old_minor_is_emulated(stage: HopStage, step: type[Any]) -> None:
    at = release(OLD, reached=OLD, hop=hop(OLD, NEW, Direction.Up, stage))
    assert isinstance(next_step(view(OLD, at, upgrade=UNSERVED)), step)
