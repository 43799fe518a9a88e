"""The private key: read once for all who look meanwhile, never longer than a few seconds old."""

from __future__ import annotations

import asyncio
import base64
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from operators.errors import ErrorCode, KokError
from operators.machine_operator.machine.access import KEY, RecentKeys

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


class FakeWorld:
    """One Secret per name, and a clock."""

    def __init__(self) -> None:
        self.secrets: dict[str, str] = {"keys": "one"}
        self.reads, self.at, self.busy_seconds = 0, BEGIN, 0.0
        self.servers, self.identity = SimpleNamespace(meta=self), SimpleNamespace(namespace="shop")

    async def get(self, ref: Any) -> dict[str, Any] | None:
        self.reads += 1
        await asyncio.sleep(self.busy_seconds)
        if self.busy_seconds:
            raise KokError(ErrorCode.Timeout, "no answer", "it is tried again")
        text = self.secrets.get(ref.name)
        return {"data": {KEY: base64.b64encode(text.encode()).decode()}} if text else None

    def now(self) -> datetime:
        return self.at


def cluster(secret: str = "keys") -> Any:
    access = SimpleNamespace(ssh_key_secret_name=secret)
    return SimpleNamespace(metadata=SimpleNamespace(name="shop"), spec=SimpleNamespace(machine_access=access))


def host(name: str = "h") -> Any:
    return SimpleNamespace(name=name, address="192.0.2.1", port=22, user="kok", host_keys=())


@pytest.fixture
def world() -> FakeWorld:
    return FakeWorld()


@pytest.fixture
def keys(world: FakeWorld) -> RecentKeys:
    return RecentKeys(world)  # type: ignore[arg-type]


async def test_should_read_once_for_all_hosts_that_ask_meanwhile(world: FakeWorld, keys: RecentKeys) -> None:
    found = await asyncio.gather(*(keys.target(cluster(), host(f"h{number}")) for number in range(200)))
    assert {target.private_key for target in found} == {"one"}
    assert [target.name for target in found] == [f"h{number}" for number in range(200)]
    assert world.reads == 1


@pytest.mark.parametrize("step", [timedelta(seconds=5), timedelta(hours=-1)])
async def test_should_read_anew_after_a_few_seconds_and_when_the_clock_is_set(world: FakeWorld, keys: RecentKeys, step: timedelta) -> None:
    await keys.target(cluster(), host())
    world.secrets["keys"] = "two"
    assert (await keys.target(cluster(), host())).private_key == "one"
    world.at += step
    assert (await keys.target(cluster(), host())).private_key == "two"


async def test_should_ask_for_what_could_not_be_read_each_time(world: FakeWorld, keys: RecentKeys) -> None:
    text = world.secrets.pop("keys")
    for _ in range(2):
        with pytest.raises(KokError) as refused:
            await keys.target(cluster(), host())
        assert refused.value.code is ErrorCode.SecretMissing
    world.secrets["keys"] = text
    assert (await keys.target(cluster(), host())).private_key == "one"
    assert world.reads == 3


async def test_should_not_let_those_who_ask_wait_for_each_other_while_the_server_is_silent(world: FakeWorld, keys: RecentKeys) -> None:
    world.busy_seconds = 0.2
    began = asyncio.get_running_loop().time()
    asked = [keys.target(cluster(), host(f"h{number}")) for number in range(64)]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert all(isinstance(answer, KokError) for answer in answers)
    assert (world.reads, asyncio.get_running_loop().time() - began < 2) == (1, True), "64 one after the other take 13 s"


async def test_should_read_on_for_others_when_who_asked_first_is_cancelled(world: FakeWorld, keys: RecentKeys) -> None:
    first = asyncio.create_task(keys.target(cluster(), host("first")))
    second = asyncio.create_task(keys.target(cluster(), host("second")))
    await asyncio.sleep(0)
    first.cancel()
    assert (await second).private_key == "one"
    assert world.reads == 1


async def test_should_not_give_one_secret_for_another(world: FakeWorld, keys: RecentKeys) -> None:
    await keys.target(cluster(), host())
    world.secrets["others"] = "other"
    assert (await keys.target(cluster("others"), host())).private_key == "other"
