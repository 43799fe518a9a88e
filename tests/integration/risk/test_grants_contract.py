"""What whoever asks may rely on: the same of the real adapter (real API server, a risk centre beside it) and of its twin in memory."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from typing import Any

import pytest

from operators.adapters.grants_kube import GRANTS, KubeGrants
from operators.adapters.sim_grants import SimGrants
from operators.api.risk import Operation, Outcome
from operators.domain.risk.identity import EntryKey
from operators.errors import ErrorCode, KokError
from operators.ports.grants import Grant, GrantsPort, Waiting
from tests.integration.risk.risk_centres import Centre, Clock, request

pytestmark = pytest.mark.integration


@dataclass
class World:
    """One implementation of the port and what surrounds it."""

    grants: GrantsPort
    clock: Clock
    answer: Callable[[], Coroutine[Any, Any, None]]
    forget: Callable[[Grant], Coroutine[Any, Any, None]]
    namespace: str

    async def ask(self, host: str = "a", **changes: object) -> Grant | Waiting:
        """Ask, give the risk centre its time, look for the answer."""
        wanted = request(self.namespace, host, **changes)
        first = await self.grants.ask(wanted)
        await self.answer()
        return first if isinstance(first, Grant) else await self.grants.ask(wanted)

    async def granted(self, host: str = "a", **changes: object) -> Grant:
        answer = await self.ask(host, **changes)
        assert isinstance(answer, Grant), answer
        return answer

    async def denied(self, host: str, **changes: object) -> Waiting:
        answer = await self.ask(host, **changes)
        assert isinstance(answer, Waiting), answer
        assert answer.denied, answer
        return answer


@pytest.fixture(params=["real", "twin"])
def world(request: pytest.FixtureRequest, clock: Clock) -> World:
    if request.param == "real":
        centre, grants = request.getfixturevalue("centre"), request.getfixturevalue("grants")
        return World(grants, clock, centre.settle_down, lambda grant: _delete(centre, grant), centre.namespace)
    sim = SimGrants(now=clock.now)
    return World(sim, clock, lambda: _answer(sim), lambda grant: _drop(sim, grant), "demo")


async def _delete(centre: Centre, grant: Grant) -> None:
    assert await centre.kube.delete(GRANTS.ref(grant.op_id, grant.namespace))


async def _answer(sim: SimGrants) -> None:
    sim.answer_all()


async def _drop(sim: SimGrants, grant: Grant) -> None:
    del sim.grants[EntryKey(grant.namespace, grant.op_id)]


async def verify(world: World, grant: Grant) -> None:
    await world.grants.verify(grant, operation=Operation.Drain, target="a")


async def test_should_wait_for_an_answer_first(world: World) -> None:
    answer = await world.grants.ask(request(world.namespace))
    assert isinstance(answer, Waiting)
    assert not answer.denied
    assert answer.retry_after > 0


async def test_should_find_the_same_grant_again(world: World) -> None:
    grant = await world.granted()
    assert await world.ask() == grant
    assert (grant.operation, grant.target.name, grant.namespace) == (Operation.Drain, "a", world.namespace)
    await verify(world, grant)


async def test_should_deny_another_target_of_the_pool_and_say_who_holds_it(world: World) -> None:
    grant = await world.granted("a")
    answer = await world.denied("b")
    assert (
        f"in pool {world.namespace}/workers: 1 of at most 1 targets are out of service: Drain of Machine a by machine-operator/demo holds it"
        in (answer.message)
    )
    assert grant.op_id in answer.message
    assert 0 < answer.retry_after <= 10
    assert answer.attempt == 1


async def test_should_ask_anew_only_after_the_patience_it_was_asked_for(world: World) -> None:
    grant = await world.granted("a")
    first = await world.denied("b")
    await world.grants.settle(grant, Outcome.Succeeded)
    await world.answer()
    too_early = await world.ask("b")
    assert isinstance(too_early, Waiting)
    assert (too_early.message, too_early.attempt) == (first.message, 1)
    world.clock.ahead += first.retry_after + 1
    grant = await world.granted("b")
    assert grant.op_id.endswith("-1")


async def test_should_count_its_own_target_once(world: World) -> None:
    await world.granted("a")
    grant = await world.granted("a", operation=Operation.DeleteMachine, step="delete")
    assert grant.operation is Operation.DeleteMachine


async def test_should_deny_another_requester_of_the_same_target(world: World) -> None:
    await world.granted("a")
    answer = await world.denied("a", requester="cluster-operator", workflow="repair")
    assert "one requester at a time for Machine a" in answer.message


async def test_should_free_the_slot_when_the_end_is_reported_once(world: World) -> None:
    grant = await world.granted("a")
    await world.grants.settle(grant, Outcome.Failed)
    await world.grants.settle(grant, Outcome.Failed)
    await world.grants.settle(grant, Outcome.Succeeded)  # the first report stands
    await world.answer()
    assert isinstance(await world.ask("b"), Grant)


async def test_should_refuse_a_settled_grant(world: World) -> None:
    grant = await world.granted()
    await world.grants.settle(grant, Outcome.Succeeded)
    with pytest.raises(KokError, match="it is settled") as refused:
        await verify(world, grant)
    assert refused.value.code is ErrorCode.GrantInvalid
    again = await world.granted()
    assert again.op_id != grant.op_id


async def test_should_refuse_a_grant_for_another_act(world: World) -> None:
    grant = await world.granted()
    for operation, target in ((Operation.DeleteMachine, "a"), (Operation.Drain, "b")):
        with pytest.raises(KokError, match="it is for another act"):
            await world.grants.verify(grant, operation=operation, target=target)


async def test_should_refuse_a_made_up_grant(world: World) -> None:
    grant = await world.granted()
    with pytest.raises(KokError, match="another grant has its name now"):
        await verify(world, replace(grant, uid="made-up"))
    with pytest.raises(KokError, match="it was deleted"):
        await verify(world, replace(grant, op_id="made-up"))  # type: ignore[arg-type]


async def test_should_refuse_a_grant_whose_time_is_over_and_still_count_it(world: World) -> None:
    grant = await world.granted("a", ttl_seconds=60)
    world.clock.ahead += 61
    with pytest.raises(KokError, match="its time was over"):
        await verify(world, grant)
    await world.answer()
    with pytest.raises(KokError, match="it is Unknown"):
        await verify(world, grant)
    answer = await world.denied("b")
    assert "no outcome came by" in answer.message


async def test_should_take_over_its_own_slot_after_its_time_was_over(world: World) -> None:
    """The holder crashed, and is back: another attempt, the same slot, and no chance for anybody else in between."""
    first = await world.granted("a", ttl_seconds=60)
    world.clock.ahead += 61
    await world.answer()
    second = await world.granted("a", ttl_seconds=60)
    assert second.op_id != first.op_id
    await verify(world, second)
    with pytest.raises(KokError):
        await verify(world, first)
    assert (await world.denied("b")).message.count("holds it since") == 1
    await world.grants.settle(second, Outcome.Succeeded)
    await world.answer()
    world.clock.ahead += 11
    assert isinstance(await world.ask("b"), Grant)


async def test_should_refuse_a_deleted_grant(world: World) -> None:
    grant = await world.granted()
    await world.forget(grant)
    with pytest.raises(KokError, match="it was deleted"):
        await verify(world, grant)
    await world.grants.settle(grant, Outcome.Succeeded)  # nothing to report on


async def test_should_never_grant_what_could_not_be_asked(world: World) -> None:
    if isinstance(world.grants, SimGrants):
        world.grants.centre_is_up = False
        wanted = request(world.namespace)
    else:
        wanted = request("no-such-namespace")
    for _ in range(2):
        answer = await world.grants.ask(wanted)
        assert isinstance(answer, Waiting)
        assert not answer.denied


async def test_should_go_on_with_the_right_attempt_after_a_restart(world: World) -> None:
    """A new process knows only what is stored."""
    await world.granted("a")
    first = await world.denied("b")
    world.clock.ahead += first.retry_after + 1
    second = await world.denied("b")
    assert second.attempt == 2
    restarted = KubeGrants(world.grants._kube, now=world.clock.now) if isinstance(world.grants, KubeGrants) else world.grants
    answer = await restarted.ask(request(world.namespace, "b"))
    assert isinstance(answer, Waiting)
    assert (answer.attempt, answer.denied) == (2, True)
