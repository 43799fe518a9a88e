"""Lets the operators' loops go on in the background while a test types commands: rollouts, probes, records, and planes that follow."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from operators.adapters.catalogue_files import FileCatalogue
from operators.cluster_operator.cluster import kinds as cluster_kinds
from operators.cluster_operator.cluster.world import World
from operators.cluster_operator.rollout import kinds
from operators.cluster_operator.rollout.records import CONTROLLER, RecordsController
from operators.engine.metrics import Metrics
from operators.engine.queue import WorkQueue
from operators.engine.reconcile import LoopTools, ReconcileLoop
from operators.engine.recorder import EventRecorder
from operators.ports.kube import Key, KubePort
from tests.integration.cluster_operator.world_of_planes import OneBusinessServer
from tests.integration.rollout.fleet import PAUSE, Fleet, RolloutOperator

SYSTEM = "kok-system"


class Recorder:
    """The records controller over the objects that an operator knows."""

    def __init__(self, operator: RolloutOperator) -> None:
        kube, fleet = operator.kube, operator.fleet
        world = World(kube, operator.cache, OneBusinessServer(kube), FileCatalogue(), own_namespace=fleet.system, now=operator.now)
        metrics = Metrics()
        tools = LoopTools(kube, EventRecorder(kube, "kok-cluster-operator", "test"), metrics)
        self.loop = ReconcileLoop(RecordsController(world), WorkQueue(CONTROLLER), tools)
        self._operator = operator

    async def one_round(self) -> None:
        """One pass over every cluster and rollout of the fleet."""
        for key in self._operator.fleet.clusters:
            namespace, name = key.split("/")
            await self.loop.reconcile(Key(CONTROLLER, namespace, name))
        for name in rollouts_of(self._operator):
            await self.loop.reconcile(Key(CONTROLLER, "", name))


def rollouts_of(operator: RolloutOperator) -> list[str]:
    """Names of the fleet's rollouts."""
    found = operator.cache.list(kinds.ROLLOUT)
    wanted = {"fleet": operator.fleet.name}
    return [each["metadata"]["name"] for each in found if each["spec"]["selector"].get("matchLabels") == wanted]


async def fleet_in_kok_system(kube: KubePort, count: int) -> Fleet:
    """A fleet whose operator keeps its journals where the commands look for them."""
    fleet = await Fleet.of(kube, count, system=SYSTEM)
    await fleet.planes_follow()
    return fleet


@asynccontextmanager
async def driven(fleet: Fleet) -> AsyncIterator[RolloutOperator]:
    """While it is entered, the operator works."""
    operator = RolloutOperator(fleet)
    recorder = Recorder(operator)

    async def work() -> None:
        while True:
            await fleet.planes_follow()
            await operator.one_round("nobody")
            for name in rollouts_of(operator):
                await operator.one_round(name)
            await recorder.one_round()
            await asyncio.sleep(PAUSE)

    task = asyncio.create_task(work())
    try:
        yield operator
    finally:
        task.cancel()
        await asyncio.wait({task})
        if not task.cancelled() and task.exception():
            raise task.exception() or AssertionError


async def current_of(kube: KubePort, key: str) -> dict[str, str]:
    """What a cluster's release authorises."""
    namespace, name = key.split("/")
    found = await kube.get(cluster_kinds.RELEASE.ref(name, namespace))
    assert found
    return dict(found["spec"]["current"])
