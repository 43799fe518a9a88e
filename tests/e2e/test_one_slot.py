"""Two actors and a person race for the one slot that a pool of two hosts has as shipped, before the lab's own risk centre, whose leader is killed meanwhile.

The race of the operators' own code, and of two centres at once, is told in tests/integration/risk/test_one_slot.py; here the Ledger lies in the lab's
etcd, the shipped policies and budgets bind, and what answers is what is deployed. Nobody is rebooted: what counts is who may act at a time.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import yaml

from meta_cluster.cli.main import run
from meta_cluster.demo import fleet as wish
from meta_cluster.demo.kubectl import wait_until
from operators.adapters.grants_kube import KubeGrants
from operators.adapters.kube import KubeClient
from operators.adapters.kube_credentials import kubeconfig_credentials
from operators.api.risk import Operation, Outcome, Target
from operators.ports.grants import Grant, GrantRequest
from operators.ports.kube import Manifest
from operators.services.ledger import ledger_ref
from tests.e2e.ground import Fleet, leader_of
from tests.integration.risk.one_slot import BREAK_GLASS, Eye
from tests.integration.risk.one_slot import Target as Acted

pytestmark = pytest.mark.slow
ROUNDS, KILLS, CONTROL_ROUNDS = 100, 4, 20
BUDGET = "machines-per-pool"
LOOK, PATIENCE = 0.1, 180.0
"""Seconds; a new leader takes office within the lease of the killed one."""
RACER = "race/"
NO = (f"OperationBudget {BUDGET} says no by its concurrency", "one requester at a time for Machine")
"""Either says it, as two of them are after the same host."""


@dataclass
class Racer:
    """One who asks for leave to reboot a host, acts while the leave holds, and reports the end; with the operators' adapter, or as a person does."""

    who: str
    host: str
    zone: str
    kube: KubeClient
    acted: Acted
    kubeconfig: str = ""
    """A person's: who has one ends with `kok budget settle`."""
    race: str = field(default_factory=lambda: uuid4().hex[:6])

    async def compete(self, number: int, seconds: float) -> None:
        """One round; denied is the end of it."""
        grants = KubeGrants(self.kube, now=self.kube.now)
        target = Target(kind="Machine", name=self.host, cluster=wish.CLUSTER, pool="workers", zone=self.zone)
        uid = f"{self.race}-{self.who}-{number}"
        request = GrantRequest(
            wish.NAMESPACE, Operation.Reboot, target, uid, RACER + self.who, "race", "", 0, f"round {number}", ttl_seconds=3600
        )

        async def answer() -> Any:
            said = await grants.ask(request)
            return said if isinstance(said, Grant) or said.denied else None

        said = await becomes(answer)
        if not isinstance(said, Grant):
            assert said.message.startswith(NO), said.message
            return
        await grants.verify(said, operation=Operation.Reboot, target=self.host)
        with self.acted.acted_on(self.who):
            await asyncio.sleep(seconds)
        if not self.kubeconfig:
            await grants.settle(said, Outcome.Succeeded)
            return
        words = ["budget", "settle", said.op_id, "-n", wish.NAMESPACE, "--outcome", "Succeeded", "--yes", "--kubeconfig", self.kubeconfig]
        assert await asyncio.to_thread(run, [*words, *BREAK_GLASS]) == 0


def is_of_the_race(spec: Manifest) -> bool:
    return str(spec.get("requester")).startswith(RACER)


async def becomes(look: Callable[[], Awaitable[Any]]) -> Any:
    """What is found, once it is anything."""
    for _ in range(int(PATIENCE / LOOK)):
        if found := await look():
            return found
        await asyncio.sleep(LOOK)
    raise AssertionError(f"nothing after {PATIENCE:.0f} s")


@dataclass
class Race:
    """Everybody, and the eye that counts them."""

    fleet: Fleet
    kube: KubeClient
    eye: Eye
    racers: tuple[Racer, ...]
    acted: Acted
    chance: random.Random = field(default_factory=lambda: random.Random(7))

    async def run(self, rounds: int, *, kills: int = 0) -> int:
        """So many rounds; every other one begins while the slot is still being given back. How often the leader was killed."""
        killed = 0
        async with self.eye.open():
            for number in range(rounds):
                if number % 2:
                    await self.until_free()
                async with asyncio.TaskGroup() as group:
                    for racer in self.chance.sample(self.racers, len(self.racers)):
                        group.create_task(self._compete(racer, number))
                    if kills and number % (rounds // kills) == rounds // kills - 1:
                        group.create_task(self._kill())
                        killed += 1
            await self.until_free()
        return killed

    async def _compete(self, racer: Racer, number: int) -> None:
        await asyncio.sleep(self.chance.uniform(0, 0.15))
        await racer.compete(number, self.chance.uniform(0, 0.1))

    async def _kill(self) -> None:
        """In the middle of a round, or of giving back."""
        await asyncio.sleep(self.chance.uniform(0, 0.3))
        meta = self.fleet.meta
        await asyncio.to_thread(wait_until, "somebody leads", lambda: leader_of(meta), timeout=120)
        await asyncio.to_thread(meta.run, "delete", "pod", leader_of(meta), "-n", "kok-system", "--grace-period=0", "--force")

    async def until_free(self) -> None:
        async def is_free() -> bool:
            ledger = await self.kube.get(ledger_ref()) or {}
            return not [each for each in ledger["spec"].get("inFlight") or () if is_of_the_race(each)]

        await becomes(is_free)


@asynccontextmanager
async def racing(fleet: Fleet) -> AsyncIterator[Race]:
    names = ("one", "two", "jane", "eye")
    clients = [KubeClient(kubeconfig_credentials(in_need(fleet, name)), field_manager="test") for name in names]
    acted = Acted()
    racers = (
        Racer("one", wish.HOSTS[0], "z1", clients[0], acted),
        Racer("two", wish.HOSTS[1], "z2", clients[1], acted),
        Racer("jane", wish.HOSTS[1], "z2", clients[2], acted, kubeconfig=str(fleet.lab["kubeconfig"])),
    )
    eye = Eye(clients[3], ledger=ledger_ref(), counted=is_of_the_race)
    try:
        yield Race(fleet, clients[3], eye, racers, acted)
    finally:
        for client in clients:
            await client.close()


def in_need(fleet: Fleet, user: str) -> str:
    """The lab's kubeconfig, acting as somebody whom admission lets ask for anything."""
    config = yaml.safe_load(Path(fleet.lab["kubeconfig"]).read_text())
    config["users"][0]["user"] |= {"as": user, "as-groups": ["system:masters", "kok:break-glass"]}
    return yaml.safe_dump(config)


@contextmanager
def allowing(fleet: Fleet, **changes: Any) -> Iterator[None]:
    """The shipped budget of a pool's machines with other limits meanwhile: a hundred rounds are more than an hour's rate."""
    before = (fleet.meta.get("operationbudgets.kok.dev", BUDGET) or {})["spec"]
    fleet.meta.run("patch", "operationbudgets.kok.dev", BUDGET, "--type=merge", "-p", json.dumps({"spec": changes}))
    try:
        yield
    finally:
        back = {name: before[name] for name in changes}
        fleet.meta.run("patch", "operationbudgets.kok.dev", BUDGET, "--type=merge", "-p", json.dumps({"spec": back}))


MORE = {"count": 1000, "windowSeconds": 3600}


async def test_should_never_let_two_have_the_slot_while_the_leader_is_killed_again_and_again(fleet: Fleet) -> None:
    with allowing(fleet, rate=MORE):
        async with racing(fleet) as race:
            killed = await race.run(ROUNDS, kills=KILLS)
    won = Counter(race.acted.acted)
    print(f"{ROUNDS} rounds, {killed} leaders killed: {dict(won)}")
    assert (race.eye.most, race.eye.most_slots, race.acted.most) == (1, 1, 1), race.eye.worst
    assert killed == KILLS
    assert won.total() >= ROUNDS / 2, "hardly anybody got it: that was no race"
    assert len(won) == len(race.racers), "everybody has a chance"


async def test_should_count_two_where_the_budget_allows_two(fleet: Fleet) -> None:
    """The positive control: what the eye is there to see, it sees."""
    with allowing(fleet, rate=MORE, concurrency={"percent": 100, "floor": 2, "count": 20}):
        await asyncio.sleep(5)  # until the centre has seen it
        async with racing(fleet) as race:
            await race.run(CONTROL_ROUNDS)
    assert race.eye.most > 1
    assert race.eye.most_slots > 1
    assert race.acted.most > 1
