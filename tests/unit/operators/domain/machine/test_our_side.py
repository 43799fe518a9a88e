"""SSH to one host fails: that host has. To many whose nodes are well: it is us, and nothing is begun."""

from __future__ import annotations

from dataclasses import replace

import pytest

from operators.domain.machine.ladder import next_step
from operators.domain.machine.our_side import Sight, problem
from operators.domain.machine.status import verdict_of
from operators.domain.machine.steps import ApplyPackages, CleanHost, Done, Wait
from operators.domain.machine.view import Probe
from operators.errors import ErrorCode
from tests.unit.operators.domain.machine import builders as b

US = Sight(4, ("m1", "m2", "m3"))


@pytest.mark.parametrize(
    ("asked", "lost", "ours"),
    [
        (1, 1, False),
        (2, 1, False),
        (2, 2, True),
        (3, 2, False),
        (3, 3, True),
        (9, 3, True),
        (10, 3, False),
        (300, 99, False),
        (300, 100, True),
    ],
)
def test_should_tell_one_host_from_many(asked: int, lost: int, ours: bool) -> None:
    words = problem(Sight(asked, tuple(f"m{number}" for number in range(lost))))
    assert bool(words) == ours
    assert not words or words.startswith(f"SSH fails to {lost} of {asked} hosts although their nodes are Ready (m0, m1")


def test_should_blame_nobody_for_what_is_our_fault() -> None:
    silent = b.right(probe=Probe(b.NOW, None, b.refused()))
    blamed, step = next_step(silent), next_step(replace(silent, sight=US))
    assert isinstance(blamed, Wait)
    assert blamed.stalled is ErrorCode.HostRefused, "the control: one host that does not answer has failed"
    assert isinstance(step, Wait)
    assert (step.stalled, "nothing is begun on any of them" in step.reason) == (ErrorCode.ManyUnreachable, True)
    verdict = verdict_of(silent, step, "")
    assert (verdict.is_stalled, verdict.is_ours, verdict.message) == (False, True, step.reason)
    assert verdict_of(silent, blamed, "").is_stalled


@pytest.mark.parametrize("work", [ApplyPackages, CleanHost])
def test_should_begin_nothing_on_a_host_that_still_answers(work: type) -> None:
    if work is ApplyPackages:
        view = b.right(probe=b.probe(b.report(packages={})), node=None)
    else:
        view = b.leaving(node=None, grants=(b.grant(b.Operation.DeleteMachine, "decommission"),))
    assert isinstance(next_step(view), work), "the control"
    step = next_step(replace(view, sight=US))
    assert isinstance(step, Wait)
    assert step.stalled is ErrorCode.ManyUnreachable


def test_should_leave_a_machine_in_service_that_needs_nothing() -> None:
    assert isinstance(next_step(b.right(sight=US)), Done)
