"""Two operators and a person race for one slot, and two risk centres answer all of them: an eye of its own never counts two.

The controls: without the Ledger's compare-and-swap, and without the Ledger, the same eye counts two.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pytest

from operators.adapters.kube import KubeClient
from operators.adapters.kube_credentials import kubeconfig_credentials
from operators.api.risk import LedgerSpec
from operators.domain.risk.decide import Ask, Verdict, decide
from operators.domain.risk.facts import Facts
from operators.ports.kube import KubePort, Manifest, Ref
from operators.services.risk_facts import RiskFacts
from tests.integration.api_server import ApiServer
from tests.integration.cluster_operator.world_of_planes import OneBusinessServer
from tests.integration.risk.one_slot import (
    NAMESPACE,
    ClusterOperatorAsks,
    Contender,
    Eye,
    MachineOperatorAsks,
    PersonAsks,
    Target,
    answering,
    emptied,
    ground,
    until_free,
)
from tests.integration.risk.risk_centres import Centre, Clock
from tests.integration.risk.test_admission import IDENTITIES, POLICIES

pytestmark = pytest.mark.integration
ROUNDS, QUICK_ROUNDS, BROKEN_ROUNDS = 100, 10, 100
NUMBERS = itertools.count()
"""Of all rounds on the server, so that each asks for acts of its own."""


@pytest.fixture(scope="module")
def server() -> Iterator[ApiServer]:
    """One of its own: the policies would bind every other test."""
    with ApiServer() as server:
        server.install_kinds()
        items = list(ground(server))
        server.kubectl("create", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
        server.kubectl("apply", "--server-side", "-f", str(POLICIES))
        yield server


@dataclass
class Race:
    """Everybody with a connection and an identity of their own."""

    centres: tuple[Centre, Centre]
    contenders: tuple[Contender, ...]
    eye: Eye
    target: Target
    free: Callable[[KubePort], Awaitable[None]] = until_free
    """What makes the slot free before a round."""
    chance: random.Random = field(default_factory=lambda: random.Random(5))

    async def run(self, rounds: int, *, until: Callable[[], bool] = lambda: False) -> None:
        """So many rounds, or until. Every other one begins while the slot is still being given back."""
        async with AsyncExitStack() as stack:
            for each in (self.eye.open(), *map(answering, self.centres)):
                await stack.enter_async_context(each)
            for number in itertools.islice(NUMBERS, rounds):
                await self._round(number)
                if until():
                    return
            await self.free(self.eye.kube)

    async def _round(self, number: int) -> None:
        if number % 2:
            await self.free(self.eye.kube)
        async with asyncio.TaskGroup() as group:
            for contender in self.chance.sample(self.contenders, len(self.contenders)):
                group.create_task(self._compete(contender, number))

    async def _compete(self, contender: Contender, number: int) -> None:
        await asyncio.sleep(self.chance.uniform(0, 0.15))
        await contender.compete(number, self.chance.uniform(0, 0.1))


@pytest.fixture
async def race(server: ApiServer, capsys: pytest.CaptureFixture[str]) -> AsyncIterator[Race]:
    clients = {name: _client(server, *words) for name, words in {**IDENTITIES, "the eye": ("eye", "system:masters")}.items()}
    operator = clients["the Cluster-Operator"]
    another = _client(server, *IDENTITIES["the Cluster-Operator"])
    centres = tuple(Centre(kube, NAMESPACE, Clock(), facts=RiskFacts(kube, OneBusinessServer(kube))) for kube in (operator, another))
    target, asking = Target(), _client(server, *IDENTITIES["the Cluster-Operator"])
    contenders = (
        ClusterOperatorAsks(asking, target),
        MachineOperatorAsks(clients["its Machine-Operator"], target),
        PersonAsks(clients["an admin in need"], target, str(server.admin_kubeconfig)),
    )
    await emptied(operator)
    yield Race((centres[0], centres[1]), contenders, Eye(clients["the eye"]), target)
    for client in (*clients.values(), another, asking):
        await client.close()


def _client(server: ApiServer, user: str, *groups: str) -> KubeClient:
    return KubeClient(kubeconfig_credentials(server.kubeconfig(user, groups=groups)), field_manager="test")


def _never_two(race: Race, rounds: int) -> None:
    won = Counter(race.target.acted)
    print(f"{rounds} rounds: {dict(won)}")
    assert (race.eye.most, race.eye.most_slots, race.target.most) == (1, 1, 1), race.eye.worst
    assert won.total() >= rounds / 2, "hardly anybody got it: that was no race"
    assert len(won) > 1, "one of them always came first: that was no race"


async def test_should_never_let_two_act_in_ten_rounds(race: Race) -> None:
    await race.run(QUICK_ROUNDS)
    _never_two(race, QUICK_ROUNDS)


@pytest.mark.slow  # its short twin is above
async def test_should_never_let_two_act_in_a_hundred_rounds(race: Race) -> None:
    await race.run(ROUNDS)
    _never_two(race, ROUNDS)
    assert set(race.target.acted) == {each.name for each in race.contenders}, "everybody has a chance"


def _without_the_compare(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last writer of the Ledger wins. It takes its time over it, so that the others do not depend on luck to come between."""
    original = KubeClient.patch_json

    async def patch_json(self: KubeClient, ref: Ref, patch: Manifest, *, resource_version: str = "", **rest: Any) -> Manifest:
        if ref.kind != "Ledger":
            return await original(self, ref, patch, resource_version=resource_version, **rest)
        await asyncio.sleep(0.1)
        return await original(self, ref, patch, resource_version="", **rest)

    monkeypatch.setattr(KubeClient, "patch_json", patch_json)


def _without_the_ledger(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every request is weighed as if nobody held anything."""

    def blind(ask: Ask, ledger: LedgerSpec, facts: Facts, now: datetime) -> Verdict:
        return decide(ask, ledger.model_copy(update={"in_flight": ()}), facts, now)

    monkeypatch.setattr("operators.services.ledger.decide", blind)


@pytest.mark.parametrize("broken", [pytest.param(_without_the_compare, marks=pytest.mark.slow), _without_the_ledger])
async def test_should_count_two_where_the_limit_is_broken(
    race: Race, monkeypatch: pytest.MonkeyPatch, broken: Callable[[pytest.MonkeyPatch], None]
) -> None:
    """The positive controls: what the eye is there to see, it sees."""
    broken(monkeypatch)
    race.eye.kube, race.free = race.centres[0].kube, emptied  # who may write to the Ledger; what was lost there is given back by nobody
    await race.run(BROKEN_ROUNDS, until=lambda: race.eye.most > 1)
    assert race.eye.most > 1
