"""Lists that tests remember are what the server would say, also when a state of etcd comes again."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from operators.ports.kube import Kind, Listing
from tests.integration.remembered_lists import RememberingKube, State

POD = Kind("v1", "Pod")


class Server:
    """One etcd with an API server before it: what there is at each revision. Something may happen right before the next list is answered."""

    def __init__(self) -> None:
        self.past: list[tuple[str, ...]] = [()]
        self.lists: dict[Any, tuple[State, Listing]] = {}
        self.reads, self.meanwhile = 0, None

    def be(self, *names: str) -> None:
        self.past.append(names)

    def states(self, kinds: Sequence[Kind], revision: str = "") -> dict[Kind, State]:
        at = int(revision) if revision else len(self.past) - 1
        names = self.past[at]
        written = [max(r for r in range(1, at + 1) if name in self.past[r] and name not in self.past[r - 1]) for name in names]
        return dict.fromkeys(kinds, (len(names), max(written, default=0)))

    async def list(self, kind: Kind, **_: object) -> Listing:
        self.reads += 1
        await asyncio.sleep(0)
        if self.meanwhile:
            self.be(*self.meanwhile)
            self.meanwhile = None
        return Listing(tuple({"metadata": {"name": name}} for name in self.past[-1]), str(len(self.past) - 1))


async def names(kube: RememberingKube) -> list[str]:
    return [each["metadata"]["name"] for each in (await kube.list(POD, namespace="ns")).items]


def remembering() -> tuple[Server, RememberingKube]:
    server = Server()
    return server, RememberingKube(server, server)  # type: ignore[arg-type]


async def test_should_read_a_list_once_while_nothing_changes() -> None:
    server, kube = remembering()
    server.be("a")
    assert [await names(kube) for _ in range(3)] == [["a"]] * 3
    assert server.reads == 1
    server.be("a", "b")
    assert await names(kube) == ["a", "b"]


async def test_should_not_show_what_was_made_while_it_read_and_is_deleted_since() -> None:
    server, kube = remembering()
    server.meanwhile = ("pod",)
    assert await names(kube) == ["pod"], "made between the look at etcd and the list"
    server.be()
    assert await names(kube) == [], "the state of the first look is there again"
