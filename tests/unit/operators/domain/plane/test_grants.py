"""When a plane's grants are over: by what is seen of their target, never by time alone; what nobody used is given back."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from operators.api.cluster_release import ClusterRelease
from operators.api.risk import Operation, Outcome
from operators.domain.plane.grants import UNUSED_FOR, UP_WITHIN, finished_grants, leftover_grants
from operators.domain.plane.view import HeldGrant, PlaneView, Workload
from operators.domain.risk.identity import stamp
from tests.unit.operators.domain.plane.planes import NOW, cluster

HELD = HeldGrant("restartmaster-demo-etcd-0", Operation.RestartMaster, "Pod", "demo-etcd-0", NOW, acted=True, is_there=True)
ETCD = Workload("etcd", 3, 3, True)
LONG_AGO = NOW - UNUSED_FOR - timedelta(seconds=1)


def plane(held: HeldGrant, *unready: str) -> PlaneView:
    workload = replace(ETCD, ready=3 - len(unready), unready=unready)
    return PlaneView(now=NOW, cluster=cluster(), shown={}, workloads={"etcd": workload}, grants=(held,))


@pytest.mark.parametrize(
    ("why", "view", "outcome"),
    [
        ("the new pod is up", plane(HELD), Outcome.Succeeded),
        ("another one is not", plane(HELD, "demo-etcd-1"), Outcome.Succeeded),
        ("the new pod is not up", plane(HELD, "demo-etcd-0"), None),
        ("long ago, and the new pod is not up", plane(replace(HELD, granted_at=LONG_AGO), "demo-etcd-0"), None),
        ("the new pod does not exist", plane(replace(HELD, is_there=False, granted_at=LONG_AGO)), None),
        ("not acted yet", plane(replace(HELD, acted=False)), None),
        ("never acted", plane(replace(HELD, acted=False, granted_at=LONG_AGO)), Outcome.Cancelled),
        ("a Deployment is of its last spec", plane(replace(HELD, kind="Deployment", target="demo-etcd")), Outcome.Succeeded),
        ("a Deployment is not whole", plane(replace(HELD, kind="Deployment", target="demo-etcd"), "demo-etcd-1"), None),
        (
            "a Deployment that was never changed",
            plane(replace(HELD, kind="Deployment", acted=False, granted_at=LONG_AGO)),
            Outcome.Cancelled,
        ),
        ("of the plane as a whole", plane(replace(HELD, kind="Cluster", granted_at=LONG_AGO)), None),
    ],
)
def test_should_report_the_end_when(why: str, view: PlaneView, outcome: Outcome | None) -> None:
    step = finished_grants(view)
    assert (step.outcome if step else None) == outcome


@pytest.mark.parametrize(
    ("later", "outcome"),
    [(UP_WITHIN, Outcome.Failed), (UP_WITHIN - timedelta(seconds=1), Outcome.Cancelled), (timedelta(0), None)],
    ids=["had time to come up", "rolled again at once", "in one go"],
)
def test_should_tell_a_roll_that_never_came_up_from_the_one_that_did(later: timedelta, outcome: Outcome | None) -> None:
    """As a person does who mends the flags of an API server that does not start; a failure ratio over RestartMaster rests on it."""
    first = replace(HELD, granted_at=NOW - timedelta(hours=1))
    second = replace(first, name="again", granted_at=first.granted_at + later)
    elsewhere = replace(second, name="elsewhere", target="demo-etcd-1")
    view = replace(plane(first), grants=(first, second, elsewhere))
    step = finished_grants(view)
    assert step is not None
    turned = finished_grants(replace(view, grants=(elsewhere, second, first)))
    assert turned is not None
    assert (set(turned.grants), turned.outcome) == (set(step.grants), step.outcome), "in whatever order they are listed"
    if outcome is None:
        assert (step.grants, step.outcome) == ((first.name, "again", "elsewhere"), Outcome.Succeeded)
        return
    assert (step.grants, step.outcome) == ((first.name,), outcome)
    rest = finished_grants(replace(view, grants=(second, elsewhere)))
    assert rest is not None
    assert (rest.grants, rest.outcome) == (("again", "elsewhere"), Outcome.Succeeded)


def test_should_report_everything_when_nothing_is_left_to_do() -> None:
    view = plane(replace(HELD, kind="Cluster", target="demo"))
    step = leftover_grants(view)
    assert step is not None
    assert (step.grants, step.outcome) == (("restartmaster-demo-etcd-0",), Outcome.Succeeded)
    assert step.reason == "reports the end of RestartMaster: Cluster demo is as it should be"
    assert leftover_grants(replace(view, grants=())) is None


@pytest.mark.parametrize(
    ("by", "later", "outcome"),
    [
        ("Spec", -1, Outcome.Succeeded),
        ("Rollout", -1, Outcome.Succeeded),
        ("Undo", -1, Outcome.Succeeded),
        ("Undo", 60, Outcome.Failed),
        ("Spec", 60, Outcome.Cancelled),
    ],
    ids=["as wished", "by a rollout", "the way back itself", "taken back", "wished otherwise"],
)
def test_should_tell_a_change_that_was_taken_back_from_one_that_is_done(by: str, later: int, outcome: Outcome) -> None:
    """`later`: seconds from the grant to what is authorised now. A probe of a breaker that was taken back is no success."""
    current = {"packageVersion": "v1", "by": by, "at": stamp(NOW + timedelta(seconds=later))}
    release = ClusterRelease.parse({"metadata": {"name": "demo", "namespace": "demo"}, "spec": {"current": current}})
    upgrade = replace(HELD, name="upgradeplane-demo", operation=Operation.UpgradePlane, kind="Cluster", target="demo")
    step = leftover_grants(replace(plane(HELD), release=release, grants=(upgrade,)))
    assert step is not None
    assert (step.grants, step.outcome) == (("upgradeplane-demo",), outcome)
    both = leftover_grants(replace(plane(HELD), release=release, grants=(upgrade, HELD)))
    assert both is not None
    assert len(both.grants) == (2 if outcome is Outcome.Succeeded else 1), "each end is reported by itself"
