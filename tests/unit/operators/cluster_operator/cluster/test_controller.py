"""What the controller adds to the ladder: a step that does not help is not repeated at full speed."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

from operators.cluster_operator.cluster.controller import ClusterController
from operators.cluster_operator.cluster.world import World
from operators.engine.cache import ObjectCache
from operators.ports.catalogue import CataloguePort
from operators.ports.kube import KubeConnector, KubePort
from tests.unit.operators.domain.plane import planes
from tests.unit.operators.domain.plane.planes import right


def controller() -> ClusterController:
    return ClusterController(
        World(cast(KubePort, None), ObjectCache(lambda key: None), cast(KubeConnector, None), cast(CataloguePort, None))
    )


def test_should_slow_down_a_step_that_is_chosen_again_and_again() -> None:
    paced, broken = controller(), right(objects=planes.without(("Service", "demo-etcd")))
    waits = [paced.next_step(broken).after for _ in range(2000)]
    assert waits[:13] == [0.0] * 5 + [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]
    assert set(waits[13:]) == {60.0}, "for days, too"


def test_should_be_quick_again_when_something_else_is_to_do() -> None:
    paced, broken = controller(), right(objects=planes.without(("Service", "demo-etcd")))
    for _ in range(9):
        paced.next_step(broken)
    assert paced.next_step(right(leaves=planes.missing_leaf())).after == 0.0
    assert paced.next_step(broken).after == 0.0


def test_should_pace_each_cluster_by_itself() -> None:
    paced, broken = controller(), right(objects=planes.without(("Service", "demo-etcd")))
    for _ in range(9):
        paced.next_step(broken)
    assert paced.next_step(replace(broken, cluster=planes.cluster(metadata={"uid": "u-2"}))).after == 0.0
