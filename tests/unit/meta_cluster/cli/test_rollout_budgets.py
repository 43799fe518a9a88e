"""A plan tells what is free where its own members count, not where others do."""

from __future__ import annotations

from typing import Any

import pytest

from meta_cluster.cli.rollout_budgets import scopes_of
from operators.api.budgets import Per
from operators.api.risk import Target
from operators.domain.risk.scopes import MACHINE, ClusterId, Place, scope_of

MINE, OTHER = ClusterId("demo", "demo"), ClusterId("shop", "shop")


def pool(cluster: ClusterId, name: str) -> dict[str, Any]:
    return {"metadata": {"namespace": cluster.namespace, "name": name}, "spec": {"clusterName": cluster.name}}


@pytest.mark.parametrize("per", list(Per))
def test_should_know_the_scopes_of_members_and_of_nobody_else(per: Per) -> None:
    theirs = scopes_of([MINE], [pool(MINE, "workers"), pool(OTHER, "bench")])

    def counted(cluster: ClusterId, name: str) -> str:
        target = Target(kind=MACHINE, name="m1", cluster=cluster.name, pool=name, zone="a")
        return scope_of(per, Place("Drain", cluster, target)).rpartition(" of ")[2]

    assert counted(MINE, "workers") in theirs
    assert (counted(OTHER, "bench") in theirs) is (per is Per.Fleet)
