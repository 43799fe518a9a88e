"""Nothing is written by a process that does not surely lead."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from operators.engine.fenced import FencedConnector, FencedKube
from operators.engine.leadership import Leadership
from operators.errors import ErrorCode, KokError
from operators.ports.kube import Kind, KubePort, Subresource

MAP = Kind("v1", "ConfigMap")
REF = MAP.ref("a", "n")
WRITES: dict[str, tuple[Any, ...]] = {
    "create": ({},), "apply": ({},), "patch_status": (REF, {}), "patch_json": (REF, {}), "create_subresource": (REF, Subresource.Token, {}), "delete": (REF,),
}  # fmt: skip
READS: dict[str, tuple[Any, ...]] = {"get": (REF,), "list": (MAP,), "read_path": ("/readyz",), "close": ()}


class Noted:
    """A KubePort that notes what reaches it."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        async def call(*_: Any, **__: Any) -> None:
            self.calls.append(name)

        return call

    def connect(self, name: str, kubeconfig: str) -> Noted:
        return self


def leading(seconds: float) -> Leadership:
    return Leadership(lambda: 100.0, epoch=3, until=100.0 + seconds)


@pytest.mark.parametrize("verb", sorted(WRITES))
async def test_should_write_only_while_it_leads(verb: str) -> None:
    kube = Noted()
    await getattr(FencedKube(kube, leading(5.0)), verb)(*WRITES[verb])  # type: ignore[arg-type]
    assert kube.calls == [verb]
    for late in (leading(0.0), leading(-60.0), Leadership(lambda: 100.0)):
        with pytest.raises(KokError) as refused:
            await getattr(FencedKube(kube, late), verb)(*WRITES[verb])  # type: ignore[arg-type]
        assert refused.value.code is ErrorCode.LeaseLost
    assert kube.calls == [verb], "nothing was sent"


@pytest.mark.parametrize("verb", sorted(READS))
async def test_should_read_also_when_it_does_not(verb: str) -> None:
    kube = Noted()
    await getattr(FencedKube(kube, leading(-1.0)), verb)(*READS[verb])  # type: ignore[arg-type]
    assert kube.calls == [verb]


def test_should_know_every_verb_of_the_port() -> None:
    verbs = {name for name, _ in inspect.getmembers(KubePort, inspect.isfunction) if not name.startswith("_")}
    assert verbs == {*WRITES, *READS, "watch"}


async def test_should_fence_what_a_connector_gives() -> None:
    kube = Noted()
    port = FencedConnector(kube, leading(-1.0)).connect("demo", "")  # type: ignore[arg-type]
    with pytest.raises(KokError):
        await port.delete(REF)
    assert kube.calls == []
