"""Leave for a plane's acts: who is asked for what, what is done without leave (nothing), and when a hop covers it. Grants are the simulated ones."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import Any, cast

import pytest

from operators.adapters.sim_grants import SimGrants
from operators.api.risk import Operation, Outcome
from operators.cluster_operator.cluster.act import Actor
from operators.cluster_operator.cluster.business import BusinessLook
from operators.cluster_operator.cluster.grants import Act, acquire, leave_to_roll, requester_of, settle
from operators.cluster_operator.cluster.node_ports import NodePortLook
from operators.cluster_operator.cluster.world import World
from operators.domain.plane.view import PlaneView, Workload
from operators.engine.cache import ObjectCache
from operators.engine.reconcile import Waits
from operators.errors import ErrorCode, KokError
from operators.ports.catalogue import CataloguePort
from operators.ports.grants import Grant, GrantsPort
from operators.ports.kube import Kind, KubeConnector, KubePort, Preconditions, Ref
from tests.unit.operators.domain.plane.planes import NOW, cluster, manifest

POD = Kind("v1", "Pod").ref("demo-etcd-0", "demo")
ROLL = Act(Operation.RestartMaster, "Pod", "demo-etcd-0", "uid-0", workflow="roll", step="member", reason="a test")
TEMPLATE: dict[str, Any] = {"spec": {"containers": [{"name": "apiserver", "image": "new"}]}}


class Deletes:
    """A KubePort of which only deletes are asked."""

    def __init__(self) -> None:
        self.deleted: list[tuple[Ref, str]] = []

    async def delete(self, ref: Ref, *, preconditions: Preconditions) -> bool:
        self.deleted.append((ref, preconditions.uid))
        return True


def world(grants: GrantsPort | None = None) -> tuple[World, Deletes]:
    kube = Deletes()
    made = World(cast(KubePort, kube), ObjectCache(lambda key: None), cast(KubeConnector, None), cast(CataloguePort, None))
    return (replace(made, grants=grants) if grants else made), kube


async def asked(of: World, act: Act = ROLL) -> Grant | Waits:
    """Twice: the simulated risk centre answers between."""
    await acquire(of, cluster(), act)
    return await acquire(of, cluster(), act)


async def test_should_do_nothing_without_a_risk_centre() -> None:
    of, kube = world()
    answer = await asked(of)
    assert isinstance(answer, Waits)
    assert answer.reason.startswith("waits for leave: no risk centre was given")
    assert kube.deleted == []


async def test_should_end_the_pod_that_was_seen_once_leave_is_given() -> None:
    sim = SimGrants()
    of, kube = world(sim)
    grant = await asked(of)
    assert isinstance(grant, Grant)
    (stored,) = sim.grants.values()
    assert (stored.spec.requester, stored.spec.workflow, stored.spec.reason) == (requester_of("demo"), "roll", "a test")
    await of.danger.end_pod(POD, "uid-0", "demo", grant)
    assert kube.deleted == [(POD, "uid-0")]


async def test_should_refuse_to_act_with_leave_that_is_over_or_for_another() -> None:
    sim = SimGrants()
    of, kube = world(sim)
    grant = await asked(of)
    assert isinstance(grant, Grant)
    with pytest.raises(KokError, match="it is for another act"):
        await of.danger.end_pod(Kind("v1", "Pod").ref("demo-etcd-1", "demo"), "uid-1", "demo", grant)
    await settle(of, grant, Outcome.Succeeded)
    with pytest.raises(KokError) as refusal:
        await of.danger.end_pod(POD, "uid-0", "demo", grant)
    assert refusal.value.code is ErrorCode.GrantInvalid
    drain = await asked(of, Act(Operation.Drain, "Machine", "w-1", "u", workflow="x", step="y", reason="z"))
    assert isinstance(drain, Waits), "no budget is about a Machine outside of pools"
    assert kube.deleted == []


async def test_should_wait_while_another_master_of_the_plane_is_in_hand() -> None:
    of, _ = world(SimGrants())
    assert isinstance(await asked(of), Grant)
    other = await asked(of, Act(Operation.RestartMaster, "Pod", "demo-etcd-1", "uid-1", workflow="roll", step="member", reason="a test"))
    assert isinstance(other, Waits)
    assert "OperationBudget one-master says no by its concurrency in cluster demo/demo" in other.reason


@pytest.mark.parametrize(
    ("why", "ready", "template", "asks"),
    [
        ("another image on a living plane", 1, {"spec": {"containers": [{"name": "apiserver", "image": "old"}]}}, True),
        ("the same template", 1, TEMPLATE, False),
        ("nobody is served", 0, {"spec": {"containers": [{"name": "apiserver", "image": "old"}]}}, False),
    ],
)
async def test_should_ask_before_a_deployment_exchanges_its_pods(why: str, ready: int, template: dict[str, Any], asks: bool) -> None:
    sim = SimGrants()
    of, _ = world(sim)
    wanted = manifest("Deployment", "demo-apiserver", "apiserver", template=TEMPLATE)
    live = deepcopy(wanted)
    live["spec"]["template"] = template
    live["metadata"] |= {"uid": "d-1", "generation": 3, "resourceVersion": "7"}
    of = replace(of, cache=cast(ObjectCache, Cached(live)))
    view = PlaneView(now=NOW, cluster=cluster(), shown={}, workloads={"apiserver": Workload("apiserver", 1, ready, True)})
    first = await leave_to_roll(of, view, [wanted], "it differs")
    assert isinstance(first, Waits) == asks
    assert len(sim.grants) == int(asks)
    leaves = await leave_to_roll(of, view, [wanted], "it differs")
    assert not isinstance(leaves, Waits), "it is granted now"
    assert [grant.operation for grant in leaves.values()] == [Operation.RestartMaster] * asks


async def test_should_not_roll_a_master_that_has_no_leave() -> None:
    """Also one that came to serve, or to differ, after leave was thought of."""
    of, _ = world(SimGrants())
    wanted = manifest("Deployment", "demo-apiserver", "apiserver", template=TEMPLATE)
    live = deepcopy(wanted)
    live["spec"]["template"] = {"spec": {"containers": [{"name": "apiserver", "image": "old"}]}}
    of = replace(of, cache=cast(ObjectCache, Cached(live)))
    view = PlaneView(now=NOW, cluster=cluster(), shown={}, workloads={"apiserver": Workload("apiserver", 1, 1, True)})
    actor = Actor(of, cast(BusinessLook, None), cast(NodePortLook, None))
    with pytest.raises(KokError, match="demo-apiserver is rolled only with leave"):
        await actor._apply_child(view, wanted, None)


class Cached:
    """A cache that holds one object."""

    def __init__(self, manifest: dict[str, Any]) -> None:
        self._manifest = manifest

    def get(self, ref: Ref) -> dict[str, Any] | None:
        return self._manifest if Ref.of(self._manifest) == ref else None
