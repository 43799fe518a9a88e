"""The stages of a hop: order, skew at every one of them, turning round anywhere; and a machine that walks and turns at random."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.api.cluster_release import Authorisation, AuthorisedBy, ClusterReleaseSpec, Direction, Hop, HopStage
from operators.domain.plane import hops
from operators.domain.plane.hops import (
    ACROSS_MINORS,
    WITHIN_A_MINOR,
    Part,
    Variant,
    entered,
    following,
    new_hop,
    turned,
    variant_of,
    wanted_direction,
)
from operators.domain.plane.paths import Package

NOW = "2026-03-01T12:00:00Z"
OLD, PATCH, NEW = Package("old", (1, 34, 4), (3, 6, 8)), Package("patch", (1, 35, 3), (3, 6, 8)), Package("new", (1, 35, 4), (3, 6, 8))
RANK = {Variant.Lower: 0, Variant.Emulating: 1, Variant.Upper: 2}
UP, DOWN = Direction.Up, Direction.Down


def release(reached: str, hop: Hop | None = None) -> ClusterReleaseSpec:
    current = Authorisation(package_version="new", by=AuthorisedBy.Spec, at=NOW)
    return ClusterReleaseSpec(current=current, reached=reached, hop=hop)


def walk(hop: Hop) -> list[HopStage]:
    """Every stage it comes to, to its end."""
    found = [hop.stage]
    while stage := following(hop):
        hop = entered(hop, stage, now=NOW)
        found.append(stage)
    return found


def test_should_emulate_only_across_minors() -> None:
    assert new_hop(OLD, NEW, now=NOW).emulated == "1.34"
    assert new_hop(NEW, OLD, now=NOW).emulated == "1.34"
    assert new_hop(PATCH, NEW, now=NOW).emulated == ""


def test_should_start_at_the_end_where_the_plane_is() -> None:
    up, down = new_hop(OLD, NEW, now=NOW), new_hop(NEW, OLD, now=NOW)
    assert (up.lower, up.upper, up.direction, up.stage) == ("old", "new", UP, HopStage.Prepare)
    assert (down.lower, down.upper, down.direction, down.stage) == ("old", "new", DOWN, HopStage.MachineOperator)
    assert hops.at_origin(release("old"), up)
    assert hops.at_origin(release("new"), down)


def test_should_walk_back_in_reverse_order() -> None:
    assert walk(new_hop(OLD, NEW, now=NOW)) == list(ACROSS_MINORS)
    assert walk(new_hop(NEW, OLD, now=NOW)) == list(reversed(ACROSS_MINORS))
    assert walk(new_hop(PATCH, NEW, now=NOW)) == list(WITHIN_A_MINOR)


@pytest.mark.parametrize("hop", [new_hop(OLD, NEW, now=NOW), new_hop(PATCH, NEW, now=NOW)])
def test_should_never_have_anything_newer_than_the_api_servers(hop: Hop) -> None:
    """API servers first, then controllers, add-ons, the Machine-Operator: at no stage is a later one ahead."""
    for stage in walk(hop):
        ranks = [RANK[variant_of(entered(hop, stage, now=NOW), part)] for part in Part]
        assert ranks == sorted(ranks, reverse=True), f"{stage}: {ranks}"


def test_should_move_one_part_at_a_time() -> None:
    for hop in (new_hop(OLD, NEW, now=NOW), new_hop(PATCH, NEW, now=NOW)):
        mixes = [[variant_of(entered(hop, stage, now=NOW), part) for part in Part] for stage in walk(hop)]
        assert mixes[0] == [Variant.Lower] * 4
        assert mixes[-1] == [Variant.Upper] * 4
        assert all(sum(a != b for a, b in zip(one, next_one, strict=True)) <= 1 for one, next_one in itertools.pairwise(mixes))


def test_should_be_at_the_upper_package_without_a_hop() -> None:
    assert {variant_of(None, part) for part in Part} == {Variant.Upper}


def test_should_leave_the_stage_that_is_stuck_when_it_turns_round() -> None:
    stuck = entered(new_hop(OLD, NEW, now=NOW), HopStage.Apiserver, now=NOW)
    back = turned(release("old"), stuck, now=NOW)
    assert (back.direction, back.stage) == (DOWN, HopStage.Prepare)


def test_should_not_skip_the_preparation_when_it_turns_round_where_it_came_from() -> None:
    down = new_hop(NEW, OLD, now=NOW)
    up_again = turned(release("new"), down, now=NOW)
    assert (up_again.direction, up_again.stage) == (UP, HopStage.MachineOperator)
    down_again = turned(release("new"), up_again, now=NOW)
    assert (down_again.direction, down_again.stage) == (DOWN, HopStage.MachineOperator)
    assert hops.at_origin(release("new"), down_again)


@pytest.mark.parametrize(
    ("target", "direction"),
    [
        (OLD, DOWN),
        (NEW, UP),
        (PATCH, UP),
        (Package("older", (1, 33, 13), (3, 6, 8)), DOWN),
        (Package("newer", (1, 36, 0), (3, 6, 8)), UP),
        (Package("old-r2", (1, 34, 4), (3, 6, 8)), DOWN),
    ],
)
def test_should_go_to_the_end_that_lies_towards_the_target(target: Package, direction: Direction) -> None:
    assert wanted_direction(new_hop(OLD, NEW, now=NOW), OLD, NEW, target) is direction


def test_should_let_machines_follow_after_the_plane_up_and_before_it_down() -> None:
    up, down = new_hop(OLD, NEW, now=NOW), new_hop(NEW, OLD, now=NOW)
    assert release("old", up).machines_package == "old"
    assert release("new").machines_package == "new"
    assert release("new", down).machines_package == "old"
    assert release("", None).machines_package == "new", "a release of before: where the plane is, is what is authorised"


@given(st.booleans(), st.lists(st.sampled_from(["on", "turn"]), max_size=30))
def test_should_always_find_an_end_whatever_turns_it_takes(minor: bool, moves: list[str]) -> None:
    lower = OLD if minor else PATCH
    start = lower.name
    hop = new_hop(lower, NEW, now=NOW)
    for move in moves:
        before = hop
        if move == "turn":
            hop = turned(release(start), hop, now=NOW)
        elif stage := following(hop):
            hop = entered(hop, stage, now=NOW)
        stages = hops.stages_of(hop)
        assert abs(stages.index(hop.stage) - stages.index(before.stage)) <= 1
        ranks = [RANK[variant_of(hop, part)] for part in Part]
        assert ranks == sorted(ranks, reverse=True)
    assert walk(hop)[-1] is (HopStage.MachineOperator if hop.direction is UP else HopStage.Prepare)
