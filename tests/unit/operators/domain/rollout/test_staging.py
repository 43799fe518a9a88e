"""When images are pulled ahead."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from operators.api.rollout import Order
from operators.domain.rollout.staging import is_wanted, words_of
from operators.domain.rollout.state import next_step
from operators.domain.rollout.windows import WindowState
from tests.unit.operators.domain.rollout.builders import FAIL, NEW, START, rollout
from tests.unit.operators.domain.rollout.world import OPEN, World

CLOSED = WindowState(False, START + timedelta(hours=2))


def world() -> World:
    made = World.of(rollout())
    made.window = CLOSED
    made.run()
    return made


def test_should_pull_ahead_while_a_window_is_waited_for_and_say_how_far_it_is() -> None:
    view = replace(world().view(), staged="its images are on the meta nodes")
    assert is_wanted(view)
    assert next_step(view).reason == "outside the change windows; the next opens at 2026-03-01 14:00 UTC; its images are on the meta nodes"


@pytest.mark.parametrize("window", [OPEN, WindowState(False), WindowState(False, problem="cron 'x'")])
def test_should_pull_nothing_where_no_window_is_waited_for(window: WindowState) -> None:
    made = world()
    made.window = window
    assert not is_wanted(made.view())


@pytest.mark.parametrize("order", [Order.Pause, Order.Abort, Order.Undo])
def test_should_pull_nothing_where_a_person_stopped_it(order: Order) -> None:
    made = world()
    made.order = order
    assert not is_wanted(made.view())


def test_should_pull_nothing_on_the_way_back_nor_what_is_bad() -> None:
    made = world()
    assert not is_wanted(replace(made.view(), bad_versions=frozenset({NEW})))
    made.window = OPEN
    made.run()
    made.verdict = FAIL
    made.do(next_step(made.view()))
    made.window = CLOSED
    assert not is_wanted(made.view())


def test_should_say_how_far_it_is() -> None:
    assert words_of(None) == "its images are pulled ahead"
