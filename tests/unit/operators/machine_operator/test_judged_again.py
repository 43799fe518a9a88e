"""How work that was harmless only because no node had registered is judged again: by what the business API server says then."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from operators.errors import ErrorCode, KokError
from operators.machine_operator.gatekeeping import Gatekeeper
from operators.machine_operator.machine.act import Actor
from operators.machine_operator.machine.observe import Observer
from operators.machine_operator.meta import Meta
from operators.machine_operator.world import World
from operators.ports.kube import Manifest, Ref


class Nodes:
    """A business API server that knows these nodes, or does not answer."""

    def __init__(self, *names: str, error: KokError | None = None) -> None:
        self._names, self._error = names, error

    async def get(self, ref: Ref) -> Manifest | None:
        if self._error:
            raise self._error
        return {"metadata": {"name": ref.name}} if ref.name in self._names else None


def actor(business: Nodes) -> Actor:
    world: Any = SimpleNamespace(servers=SimpleNamespace(business=business))
    return Actor(cast(World, world), cast(Meta, None), cast(Observer, None), cast(Gatekeeper, None))


@pytest.mark.parametrize(("names", "hurts"), [((), False), (("m2",), False), (("m1",), True)])
async def test_should_hurt_a_node_that_has_registered_meanwhile(names: tuple[str, ...], hurts: bool) -> None:
    words = await actor(Nodes(*names))._hurts_by_now("m1")
    assert ("node m1 has registered meanwhile" in words) is hurts
    assert bool(words) is hurts


async def test_should_not_guess_when_nobody_answers() -> None:
    with pytest.raises(KokError):
        await actor(Nodes(error=KokError(ErrorCode.Unreachable, "no answer")))._hurts_by_now("m1")
