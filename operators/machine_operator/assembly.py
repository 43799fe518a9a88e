"""Puts the two controllers into a process, over whatever ports it is given. Used by main with the real adapters, by tests with twins."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial

from operators.engine.clock import utc_now
from operators.engine.process import Process
from operators.engine.queue import WorkQueue
from operators.engine.reconcile import LoopTools
from operators.engine.recorder import EventRecorder
from operators.machine_operator import kinds
from operators.machine_operator.board import Board
from operators.machine_operator.jobs import STAGING, Jobs
from operators.machine_operator.machine.controller import MachineController
from operators.machine_operator.metrics import expose
from operators.machine_operator.pool.controller import PoolController
from operators.machine_operator.probes import Probes
from operators.machine_operator.settings import Settings
from operators.machine_operator.world import FIELD_MANAGER, Hands, Identity, Servers, World
from operators.ports.ansible import AnsiblePort
from operators.ports.catalogue import CataloguePort
from operators.ports.danger import NodeDanger
from operators.ports.grants import GrantsPort
from operators.ports.ssh import SshPort

POOL_WORKERS = 2


@dataclass(frozen=True, slots=True)
class Outside:
    """What is outside of the two API servers, leave to hurt, and the package data that travels with this process."""

    ssh: SshPort
    ansible: AnsiblePort
    grants: GrantsPort
    danger: NodeDanger
    catalogue: CataloguePort


@dataclass(frozen=True, slots=True)
class Assembly:
    """What was built. `serve` runs beside `process.run`."""

    process: Process
    jobs: Jobs
    world: World

    async def serve(self) -> None:
        """For ever: jobs on hosts, and what is staged on them ahead."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.jobs.serve())
            group.create_task(self.world.hands.stagings.serve())


def assemble(process: Process, identity: Identity, servers: Servers, *, outside: Outside, settings: Settings) -> Assembly:
    """The controllers in the process, not started."""
    queues: dict[str, WorkQueue] = {}

    def wake_machine(host: str) -> None:
        queues[kinds.MACHINE].add(kinds.machine_key(host))

    def wake_pool(pool: str) -> None:
        queues[kinds.POOL].add(kinds.pool_key(identity.namespace, pool))

    jobs = Jobs(outside.ansible, wake_machine, now=utc_now)
    stagings = Jobs(outside.ansible, wake_machine, now=utc_now, limits=STAGING)
    hands = Hands(Probes(outside.ssh, now=utc_now), jobs, stagings, outside.grants, outside.danger, outside.catalogue)
    leadership = process.leadership
    world = World(identity, servers, process.cache, hands, Board(wake_pool), leadership, utc_now, settings.times)
    for controller, server, workers in (
        (PoolController(world), "meta", POOL_WORKERS),
        (MachineController(world), kinds.BUSINESS, settings.workers),
    ):
        kube = servers.business if server == kinds.BUSINESS else servers.meta
        recorder = EventRecorder(kube, FIELD_MANAGER, settings.instance)
        tools = LoopTools(kube, recorder, process.metrics, keep=partial(process.cache.put, server=server))
        queues[controller.name] = process.add(controller, tools, workers=workers)
    expose(process.metrics.registry, world)
    return Assembly(process, jobs, world)
