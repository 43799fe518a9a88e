"""The contract of LeasePort, kept by the real one and by its twin."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from operators.adapters.lease_kube import KubeLease
from operators.adapters.sim_lease import SimLease
from operators.errors import KokError
from operators.ports.kube import AlreadyExists, Conflict, NotFound
from operators.ports.lease import LeasePort, LeaseRecord

pytestmark = pytest.mark.integration

NOON = datetime(2030, 1, 1, 12, 0, 0, 123456, tzinfo=UTC)
FIRST = LeaseRecord("one", NOON, NOON, 15, 0, 1893456000)


@pytest.fixture(params=["real", "sim"])
def lease(request: pytest.FixtureRequest) -> Callable[[], LeasePort]:
    """Two handles on one lock: call it twice."""
    if request.param == "sim":
        shared = SimLease()
        return lambda: shared
    kube, namespace = request.getfixturevalue("kube"), request.getfixturevalue("namespace")
    return lambda: KubeLease(kube, namespace=namespace, name="test")


async def test_should_be_nothing_at_first(lease):
    assert await lease().read() is None


async def test_should_read_back_what_was_created(lease):
    stored = await lease().create(FIRST)
    assert stored.version
    assert replace(stored, version="") == FIRST
    assert await lease().read() == stored


async def test_should_be_created_once(lease):
    await lease().create(FIRST)
    with pytest.raises(AlreadyExists):
        await lease().create(replace(FIRST, holder="two"))


async def test_should_move_holder_and_epoch_in_one_step(lease):
    stored = await lease().create(FIRST)
    moved = await lease().replace(replace(stored, holder="two", epoch=stored.epoch + 1, transitions=1))
    assert moved.version != stored.version
    assert await lease().read() == moved


async def test_should_refuse_who_read_before_somebody_else_wrote(lease):
    stored = await lease().create(FIRST)
    moved = await lease().replace(replace(stored, holder="two"))
    with pytest.raises(Conflict):
        await lease().replace(replace(stored, holder="three"))
    assert await lease().read() == moved


async def test_should_be_released_to_nobody(lease):
    stored = await lease().create(FIRST)
    assert (await lease().replace(replace(stored, holder=""))).holder == ""


async def test_should_refuse_a_write_that_compares_nothing(lease):
    await lease().create(FIRST)
    with pytest.raises(KokError, match="cannot be compared"):
        await lease().replace(FIRST)


async def test_should_not_replace_what_is_not_there(lease):
    with pytest.raises(NotFound):
        await lease().replace(replace(FIRST, version="5"))
