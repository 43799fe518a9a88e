"""Orders of a person in every state of a rollout while the breaker is open: all are taken, back always works, and forward nobody moves until it closes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest

from meta_cluster.cli.main import run
from operators.adapters.kube import KubeClient
from operators.cluster_operator.rollout import kinds
from operators.ports.kube import Manifest
from tests.integration.api_server import ApiServer
from tests.integration.rollout.fleet import NEW, OLD, Fleet, RolloutOperator

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("crds")]
LONG = 900
QUICK = {("soaking", "abort"), ("failed", "resume"), ("going back", "pause")}
ENDED = ""
"""In place of a phase: the order is refused, since nothing is left to order."""


@dataclass
class Ground:
    """One rollout over two clusters, and a person's command line."""

    fleet: Fleet
    operator: RolloutOperator
    kok: Callable[..., Awaitable[int]]
    name: str

    async def made(self, *, soak: int = LONG, approval: bool = False, **spec: Any) -> None:
        """A canary, then the rest."""
        canary = {"name": "canary", "clusters": [self.fleet.clusters[0]], "soakSeconds": soak}
        rest = {"name": "rest", "rest": True, "soakSeconds": 0, "approval": approval}
        await self.fleet.kube.create(self.fleet.manifest(self.name, canary, rest, **spec))

    async def reaches(self, phase: str) -> Manifest:
        return await self.operator.until(self.name, phase)

    async def ordered(self, order: str, *more: str) -> int:
        """The exit code of `kok rollout ORDER`."""
        return await self.kok("rollout", order, self.name, *more, "--reason", "incident 42")

    def heal(self) -> None:
        """Whatever kept the rollout in its state is over, and its soak, too."""
        self.fleet.broken.clear()
        self.fleet.no_pods.clear()
        self.fleet.all_fail = False
        self.operator.ahead(LONG + 60)

    async def says(self, words: str) -> None:
        for _ in range(60):
            await self.fleet.planes_follow()
            await self.operator.one_round(self.name)
            shown = (await self.fleet.kube.get(kinds.ROLLOUT.ref(self.name)) or {}).get("status") or {}
            if words in shown.get("message", ""):
                return
        raise AssertionError(f"{words!r} was never said: {shown} {self.operator.failed}")


@pytest.fixture
async def ground(kube: KubeClient, api_server: ApiServer, monkeypatch: pytest.MonkeyPatch) -> Ground:
    monkeypatch.setenv("KUBECONFIG", str(api_server.admin_kubeconfig))

    async def kok(*words: str) -> int:
        return await asyncio.to_thread(run, list(words))

    fleet = await Fleet.of(kube, 2)
    await fleet.planes_follow()
    return Ground(fleet, RolloutOperator(fleet), kok, f"train-{uuid4().hex[:8]}")


async def changing(ground: Ground) -> None:
    """The canary is in hand and does not come up."""
    ground.fleet.broken.add(NEW)
    await ground.made(soak=1)
    await ground.says("in hand")


async def soaking(ground: Ground) -> None:
    await ground.made()
    await ground.reaches("Soaking")


async def holding(ground: Ground) -> None:
    await ground.made(soak=2)
    await ground.reaches("Soaking")
    ground.fleet.all_fail = True
    await ground.reaches("Holding")


async def awaiting_approval(ground: Ground) -> None:
    await ground.made(soak=0, approval=True)
    await ground.reaches("AwaitingApproval")


async def paused(ground: Ground) -> None:
    await soaking(ground)
    assert await ground.ordered("pause") == 0
    await ground.reaches("Paused")


async def failed(ground: Ground) -> None:
    await ground.made(onFail="Pause")
    await ground.reaches("Soaking")
    ground.fleet.no_pods.add(NEW)
    await ground.reaches("Failed")


async def going_back(ground: Ground) -> None:
    """By an abort, to what does not come up."""
    await soaking(ground)
    ground.fleet.broken.add(OLD)
    assert await ground.ordered("abort") == 0
    await ground.reaches("GoingBack")


async def good(ground: Ground) -> None:
    await ground.made(soak=0)
    await ground.reaches("Good")


STATES: Mapping[str, Callable[[Ground], Awaitable[None]]] = {
    "changing": changing,
    "soaking": soaking,
    "holding": holding,
    "awaiting approval": awaiting_approval,
    "paused": paused,
    "failed": failed,
    "going back": going_back,
    "good": good,
}
AFTER = {
    "pause": dict.fromkeys(STATES, "Paused") | {"failed": "Failed", "good": ENDED},
    "abort": dict.fromkeys(STATES, "Aborted") | {"good": ENDED},
    "undo": dict.fromkeys(STATES, "Undone") | {"going back": "Aborted"},
    "resume": dict.fromkeys(STATES, "Good") | {"going back": "Aborted", "good": ENDED},
}
"""Order -> state -> what the rollout comes to. Going back is never revoked, and a failure waits for its acceptance."""
CASES = [
    pytest.param(state, order, marks=() if (state, order) in QUICK else pytest.mark.slow, id=f"{order} while {state}")
    for order in AFTER
    for state in STATES
]


@pytest.mark.parametrize(("state", "order"), CASES)
async def test_should_take_orders_in_every_state_with_the_breaker_open(ground: Ground, state: str, order: str) -> None:
    await STATES[state](ground)
    await ground.fleet.set_breaker("Open")
    touched = await ground.fleet.touched()
    accept = ("--accept", "canary") if (state, order) == ("failed", "resume") else ()
    code, phase = await ground.ordered(order, *accept), AFTER[order][state]
    assert (code == 0) == (phase != ENDED)
    if phase == "Good":
        await _goes_on_when_it_closes(ground, state)
        return
    if phase != ENDED:
        await _comes_to(ground, phase, end="Aborted" if state == "going back" else "Undone")
    assert await ground.fleet.touched() == touched, "nobody new"


async def _comes_to(ground: Ground, phase: str, *, end: str) -> None:
    """That phase; and from what waits there an undo takes back what was changed."""
    if phase not in ("Paused", "Failed"):
        ground.heal()
    await ground.reaches(phase)
    if phase in ("Paused", "Failed"):
        assert await ground.ordered("undo") == 0
        ground.heal()
        await ground.reaches(end)
    assert await ground.fleet.versions() == dict.fromkeys(ground.fleet.clusters, OLD)


async def _goes_on_when_it_closes(ground: Ground, state: str) -> None:
    """Not before: the breaker is the only reason left."""
    ground.heal()
    if state == "awaiting approval":
        await ground.reaches("AwaitingApproval")
        assert await ground.ordered("approve") == 0
    await ground.says("says no by its breaker")
    assert await ground.fleet.touched() == ground.fleet.clusters[:1]
    await ground.fleet.set_breaker("Closed")
    await ground.reaches("Good")
    assert await ground.fleet.versions() == dict.fromkeys(ground.fleet.clusters, NEW)
