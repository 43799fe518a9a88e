"""One failure domain of a plane at a time: the API server is not rolled while an etcd member is amiss, and nothing waits for itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from operators.domain.plane import ladder, steps
from operators.domain.plane.etcd_facts import Member
from operators.domain.plane.etcd_rungs import member_amiss
from operators.domain.plane.ladder import next_step
from operators.domain.plane.view import PlaneView, Workload
from tests.unit.operators.domain.plane import planes
from tests.unit.operators.domain.plane.etcd_model import Model
from tests.unit.operators.domain.plane.planes import right

OUTDATED = planes.with_changed("Deployment", "demo-apiserver", replicas=2)


def plane(model: Model, *, serving: int = 1) -> PlaneView:
    """All pods are ready, the API server's template differs; its etcd is as the model says."""
    workloads = {**right().workloads, "apiserver": Workload("apiserver", 1, serving, True)}
    return right(objects=OUTDATED, workloads=workloads, etcds={"etcd": model.view()})


def well() -> Model:
    return Model().begin()


def crashed() -> Model:
    """Its process is down, and its pod is still shown as ready."""
    model = well()
    model.crash(1)
    return model


def lagging() -> Model:
    model = well()
    model.etcd.lag[model.name(1)] = 5000
    return model


def joining() -> Model:
    """A member was lost and comes back as a learner that has not caught up."""
    model = well()
    model.etcd.members = {key: replace(each, is_learner=each.name == model.name(2)) for key, each in model.etcd.members.items()}
    model.etcd.lag[model.name(2)] = 90
    return model


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        (crashed, "demo-etcd-1 is not well, 2 of 3 members of etcd are"),
        (lagging, "demo-etcd-1 is not well, 2 of 3 members of etcd are"),
        (joining, "demo-etcd-2 is joining etcd and does not vote yet"),
    ],
)
def test_should_not_roll_the_apiserver_while_a_member_is_amiss(trouble: Callable[[], Model], words: str) -> None:
    step = next_step(plane(trouble()))
    assert isinstance(step, steps.Wait), step
    assert step.reason == f"apiserver is changed when what it stands on is whole: {words}"
    assert isinstance(next_step(plane(well())), steps.ApplyObjects), "the same plane on a whole etcd"


@pytest.mark.parametrize("trouble", [crashed, lagging, joining])
def test_should_roll_it_where_nobody_looks_at_members(monkeypatch: pytest.MonkeyPatch, trouble: Callable[[], Model]) -> None:
    """The control of the one above: by the pods alone the plane looks whole."""
    monkeypatch.setattr(ladder, "member_amiss", lambda _: "")
    assert isinstance(next_step(plane(trouble())), steps.ApplyObjects)


@pytest.mark.parametrize("trouble", [crashed, lagging, joining])
def test_should_mend_an_apiserver_that_serves_nobody_whatever_its_etcd_is_like(trouble: Callable[[], Model]) -> None:
    step = next_step(plane(trouble(), serving=0))
    assert isinstance(step, steps.ApplyObjects)
    assert step.stage == "apiserver"


def test_should_mend_the_etcd_first_and_then_go_on() -> None:
    """Nothing waits for itself: a lost member is replaced while the API server waits, and then it is its turn."""
    model = well()
    model.lose_disk(1)
    model.kubernetes()
    assert not isinstance(next_step(plane(model)), steps.ApplyObjects)
    assert model.settle()
    assert isinstance(next_step(plane(model)), steps.ApplyObjects)


def test_should_change_a_plane_of_one_member() -> None:
    assert isinstance(next_step(right(objects=OUTDATED)), steps.ApplyObjects), "it is not asked"
    assert isinstance(next_step(plane(Model(wanted=1, confirmed=True).begin())), steps.ApplyObjects)


def test_should_not_wait_for_what_is_mended_only_after_it() -> None:
    """A learner that is not wanted any more is taken out at the end of the ladder, a stranger by a person, and a silent etcd has pods."""
    unwanted = joining()
    unwanted.wanted = 2
    assert member_amiss(plane(unwanted)) == ""
    strange = well()
    strange.etcd.members[7] = Member(7, "strange", "https://elsewhere:2380", False)
    assert member_amiss(plane(strange)) == ""
    silent = well()
    for ordinal in (0, 1):
        silent.crash(ordinal)
    assert silent.view().silent
    assert member_amiss(plane(silent)) == ""
